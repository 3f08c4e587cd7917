"""Waiting for the signals that end a service."""

from __future__ import annotations

import signal
from queue import SimpleQueue
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)


def wait_for_end() -> None:
    """Block until SIGINT (Ctrl-C) or SIGTERM; in the main thread only. The handlers before are restored.

    A `threading.Event` would not do: a second signal that comes while the handler of the first sets it waits for a lock
    that its own thread holds, for ever. `SimpleQueue.put` may be interrupted by itself.
    """
    came: SimpleQueue[int] = SimpleQueue()

    def note(number: int, frame: FrameType | None) -> None:
        came.put(number)

    before = {number: signal.signal(number, note) for number in ENDING}
    try:
        came.get()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
