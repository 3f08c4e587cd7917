"""Files that people send: how large they may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viser import ClientHandle


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
