"""Progress of queries and films, and changes of notes and marks, told to every open window."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

MAX_WAITING = 64  # messages kept for a window that does not fetch them; then the oldest are dropped


class ProgressBoard:
    """Passes messages from the threads that answer queries and render films to the windows' sockets."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[BaseModel], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Queue[BaseModel]]:
        """A queue that gets all messages while it is open; to be called in an event loop."""
        queue: asyncio.Queue[BaseModel] = asyncio.Queue(MAX_WAITING)
        with self._lock:
            self._queues[queue] = asyncio.get_running_loop()
        try:
            yield queue
        finally:
            with self._lock:
                del self._queues[queue]

    def publish(self, message: BaseModel) -> None:
        """Pass a message on, from any thread."""
        with self._lock:
            targets = list(self._queues.items())
        for queue, loop in targets:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_put, queue, message)


def _put(queue: asyncio.Queue[BaseModel], message: BaseModel) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(message)
