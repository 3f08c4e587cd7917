"""Renders the field's picture, shown instead of the browser's Gaussians, whenever the camera rests."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("halonerf")


class StillRenderer:
    """A thread that renders after a period without changes, and hides the picture at the next change.

    Args:
        render: makes the picture and shows it; it is given a function that tells whether the picture is still current.
        hide: removes the picture.
        rest_s: s without a change until a picture is rendered.
    """

    def __init__(self, render: Callable[[Callable[[], bool]], None], hide: Callable[[], None], rest_s: float) -> None:
        self._render, self._hide, self._rest_s = render, hide, rest_s
        self._changed_at, self._version, self._rendered = time.monotonic(), 0, -1
        self._change, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name="still", daemon=True)
        self._thread.start()

    def invalidate(self) -> None:
        """Note a change of camera or state: the picture is no longer current."""
        with self._change:
            visible = self._rendered == self._version
            self._version += 1
            self._changed_at = time.monotonic()
            self._change.notify()
        if visible:
            self._hide()

    def close(self) -> None:
        """Stop the thread."""
        with self._change:
            self._closed = True
            self._change.notify()

    @property
    def is_current(self) -> bool:
        """Whether the field's picture of the present state is shown."""
        return self._rendered == self._version

    def _matches(self, version: int) -> bool:
        return not self._closed and version == self._version

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._closed and self._rendered == self._version:
                    self._change.wait()
                if self._closed:
                    return
                version, wait = self._version, self._changed_at + self._rest_s - time.monotonic()
                if wait > 0:
                    self._change.wait(wait)
                    continue
            try:
                self._render(functools.partial(self._matches, version))
            except Exception as error:  # a closed window or a failed rendering must not end this thread
                log.debug("no still picture: %s", error)
            with self._change:
                late = version != self._version
                if not late:
                    self._rendered = version
            if late and not self._closed:
                self._hide()  # a change came while it was being shown
