"""Files that windows save, numbered and atomically, in the artifact folder only; limits on uploads."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from halonerf.files import safe_name, write_atomic

if TYPE_CHECKING:
    from viser import ClientHandle


def save_numbered(folder: Path, name: str, content: bytes) -> Path:
    """Atomically write a file into `folder` with the next free number; concurrent calls replace nothing.

    name: "picture.png" gives "picture_0001.png", or the next free number. Returns: the path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    safe, number = Path(safe_name(name)), 1
    with FileLock(folder / ".lock"):
        while (path := folder / f"{safe.stem}_{number:04d}{safe.suffix}").exists():
            number += 1
        write_atomic(path, content)
    return path


@contextmanager
def temporary_file(folder: Path, ending: str) -> Iterator[Path]:
    """A hidden path in `folder` for a file that is being made; it is removed at the end. ending: such as ".mp4"."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{uuid.uuid4().hex}{ending}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def refuse_large_uploads(client: ClientHandle, max_mb: float) -> None:
    """Drop uploads of a window as soon as their declared or received size exceeds `max_mb`.

    viser keeps the parts of a file in memory until the last one has come, and has no public limit on their size; so
    entries of its table of transfers are removed here after each of its messages.
    """
    from viser import _messages

    gui, max_bytes = client.gui, int(max_mb * 1e6)

    def check(client_id: int, message: Any) -> None:
        transfers = gui._current_file_upload_states
        state = transfers.get(message.transfer_uuid)
        if state and max(state["total_bytes"], state["transferred_bytes"]) > max_bytes:
            transfers.pop(message.transfer_uuid, None)
            client.add_notification(
                "File too large",
                f"Files of at most {max_mb:g} MB are accepted.",
                auto_close_seconds=8.0,
                color="orange",
            )

    gui._websock_interface.register_handler(_messages.FileTransferStartUpload, check)
    gui._websock_interface.register_handler(_messages.FileTransferPart, check)
