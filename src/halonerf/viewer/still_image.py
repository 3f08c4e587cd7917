"""The field's own picture, laid over the browser's Gaussians whenever the camera rests."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("halonerf")


class StillRenderer:
    """A thread that draws once nothing has moved for a while, and hides what it drew as soon as something does.

    Args:
        draw: makes the picture and shows it; asked with a function that says whether it is still wanted.
        hide: takes it away.
        rest_s: how long nothing may move.
    """

    def __init__(self, draw: Callable[[Callable[[], bool]], None], hide: Callable[[], None], rest_s: float) -> None:
        self._draw, self._hide, self._rest_s = draw, hide, rest_s
        self._moved, self._version, self._drawn = time.monotonic(), 0, -1
        self._change, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="still", daemon=True)
        self._thread.start()

    def invalidate(self) -> None:
        """Something moved: what was drawn no longer holds."""
        with self._change:
            shown = self._drawn == self._version
            self._version += 1
            self._moved = time.monotonic()
            self._change.notify()
        if shown:
            self._hide()

    def close(self) -> None:
        """Draw no more."""
        with self._change:
            self._closed = True
            self._change.notify()

    @property
    def settled(self) -> bool:
        """Whether what is shown is the field's own picture."""
        return self._drawn == self._version

    def _wanted(self, version: int) -> bool:
        return not self._closed and version == self._version

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._closed and self._drawn == self._version:
                    self._change.wait()
                if self._closed:
                    return
                version, wait = self._version, self._moved + self._rest_s - time.monotonic()
                if wait > 0:
                    self._change.wait(wait)
                    continue
            try:
                self._draw(functools.partial(self._wanted, version))
            except Exception as error:  # a window that has gone, or a picture that fails, must not end the others
                log.debug("no still picture: %s", error)
            with self._change:
                late = version != self._version
                if not late:
                    self._drawn = version
            if late and not self._closed:
                self._hide()  # something moved while it was being shown
