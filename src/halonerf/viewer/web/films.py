"""Films that windows order, rendered one after another while the windows stay usable."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from halonerf.camera_paths.path import CameraPath
from halonerf.errors import BadInput, UserError
from halonerf.viewer.engine import Engine
from halonerf.viewer.film import FilmCancelled, check_lights, render_film
from halonerf.viewer.saved_files import keep_numbered, temporary_file
from halonerf.viewer.web.film_models import Film, FilmOrder

log = logging.getLogger("halonerf")

MAX_FRAMES = 20_000  # of a film
MAX_WAITING = 8  # films that are not finished, of all windows
MAX_LISTED = 32  # films that are remembered; the files of all are kept
CLOSE_S = 5.0  # that a frame may still take when the viewer ends


@dataclass
class _Job:
    """A film, and whether it is to be given up."""

    film: Film
    order: FilmOrder
    path: CameraPath
    cancelled: threading.Event = field(default_factory=threading.Event)


class FilmStudio:
    """Renders films in a thread, in the order in which they were ordered. Its methods may be called from any thread.

    Args:
        engine: the opened scene.
        folder: where finished films are kept, numbered.
        max_size: px, long side of a film at most.
        publish: called with a film whenever it changes.
    """

    def __init__(self, engine: Engine, folder: Path, max_size: int, publish: Callable[[Film], None]) -> None:
        self.engine, self.folder, self.max_size, self.publish = engine, folder, max_size, publish
        self._jobs: dict[int, _Job] = {}
        self._count, self._lock = 0, threading.Lock()
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()  # None: the end
        self._thread = threading.Thread(target=self._work, name="films", daemon=True)
        self._thread.start()

    def order(self, wanted: FilmOrder, path: CameraPath) -> Film:
        """Put a film into the queue. path: that of the order.

        Raises: BadInput for a film that is too large, for lights that the scene lacks, or while too many are waiting.
        """
        if max(wanted.width, wanted.height) > self.max_size:
            raise BadInput(
                f"expected a film of at most {self.max_size} px (viewer.picture_size), got {wanted.width} x "
                f"{wanted.height}"
            )
        frames = max(1, round(path.duration * wanted.fps))
        if frames > MAX_FRAMES:
            raise BadInput(f"expected a film of at most {MAX_FRAMES:,} frames, got {frames:,}: shorten it")
        check_lights(path, self.engine)
        with self._lock:
            if sum(job.film.state in ("waiting", "rendering") for job in self._jobs.values()) >= MAX_WAITING:
                raise BadInput(f"expected at most {MAX_WAITING} films at a time: wait for one, or cancel one")
            self._count += 1
            film = Film(
                film=self._count, state="waiting", frames=frames, width=wanted.width, height=wanted.height,
                kind=wanted.kind,
            )  # fmt: skip
            self._jobs[film.film] = job = _Job(film, wanted, path)
            self._forget_old()
        self.publish(film)
        self._waiting.put(job)
        return film

    def films(self) -> list[Film]:
        """The films that were ordered, the last ones first."""
        with self._lock:
            return [job.film for job in reversed(self._jobs.values())]

    def __contains__(self, number: int) -> bool:
        return number in self._jobs

    def file(self, number: int) -> Path | None:
        """The file of a film; None while it is not finished, or where somebody removed it. Raises: KeyError."""
        name = self._jobs[number].film.file
        return self.folder / name if name is not None and (self.folder / name).is_file() else None

    def cancel(self, number: int) -> Film:
        """Give up a film that is not finished; a finished one stays. Raises: KeyError."""
        job = self._jobs[number]
        job.cancelled.set()
        with self._lock:
            waiting = job.film.state == "waiting"
        return self._change(job, state="cancelled") if waiting else job.film

    def close(self) -> None:
        """Give up all films that are not finished; returns when the frame is rendered, or after `CLOSE_S`."""
        with self._lock:
            for job in self._jobs.values():
                job.cancelled.set()
        self._waiting.put(None)
        self._thread.join(CLOSE_S)

    def _forget_old(self) -> None:
        finished = [number for number, job in self._jobs.items() if job.film.state not in ("waiting", "rendering")]
        for number in finished[: max(0, len(self._jobs) - MAX_LISTED)]:
            del self._jobs[number]

    def _change(self, job: _Job, **changes: object) -> Film:
        with self._lock:
            job.film = job.film.model_copy(update=changes)
        self.publish(job.film)
        return job.film

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            self._make(job)

    def _make(self, job: _Job) -> None:
        """Render a film and keep its file; whatever happens is told, and ends no thread."""
        if job.cancelled.is_set():
            self._change(job, state="cancelled")
            return

        def progress(share: float) -> bool:
            self._change(job, state="rendering", share=share)
            return not job.cancelled.is_set()

        order, size = job.order, (job.order.width, job.order.height)
        try:
            with temporary_file(self.folder, f".{order.kind}") as file:
                render_film(file, job.path, self.engine, size, order.fps, progress)
                kept = keep_numbered(file, self.folder, f"film.{order.kind}")
            self._change(job, state="done", share=1.0, file=kept.name)
        except FilmCancelled:
            self._change(job, state="cancelled")
        except UserError as error:
            self._change(job, state="failed", problem=str(error))
        except Exception:
            log.exception("a film failed")
            self._change(job, state="failed", problem="that failed; the log of stage=explore says why")
