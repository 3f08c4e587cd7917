"""Files that windows leave behind: numbered, whole, in the artifact's folder and nowhere else."""

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
    """Write a file into `folder` under `name` with the next free number; nothing is replaced, whoever else writes.

    "picture.png" becomes "picture_0001.png", or a number not in use.
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
    """A place in `folder` for a file that is still being made; what is there at the end is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{uuid.uuid4().hex}{ending}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def refuse_large_uploads(client: ClientHandle, most_mb: float) -> None:
    """Drop an upload of a window as soon as it says, or shows, that it is larger than that.

    viser keeps the parts of a file in memory until all are there, whatever their size; it has no public limit, so its
    own table of files in transfer is kept clean here, after each of its messages.
    """
    from viser import _messages

    gui, most = client.gui, int(most_mb * 1e6)

    def check(client_id: int, message: Any) -> None:
        transfers = gui._current_file_upload_states
        state = transfers.get(message.transfer_uuid)
        if state and max(state["total_bytes"], state["transferred_bytes"]) > most:
            transfers.pop(message.transfer_uuid, None)
            client.add_notification(
                "File too large", f"Files of at most {most_mb:g} MB are taken.", auto_close_seconds=8.0, color="orange"
            )

    gui._websock_interface.register_handler(_messages.FileTransferStartUpload, check)
    gui._websock_interface.register_handler(_messages.FileTransferPart, check)
