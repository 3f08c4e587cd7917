"""The photo collection of a procedural landmark: photos, masks, depth, cameras, records, truth."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from halonerf.artifacts import fingerprint
from halonerf.data.collection import write_collection
from halonerf.data.procedural.building import GENERATOR_VERSION, build
from halonerf.data.procedural.capture import CapturePlan, PhotoSession
from halonerf.data.procedural.metadata import landmark, record
from halonerf.errors import require
from halonerf.files import write_atomic, write_json


class ProceduralLandmark:
    """A collection of unconstrained photos of a building that never stood, with exact ground truth.

    Writes `photos/*.jpg`, `masks/<concept>/*.png` (0 or 255 at pixel centres), `depth/*.png` (16 bit, centimetres along
    the optical axis, 0 for sky) and `cameras.json` (pinhole intrinsics in pixels, camera-to-world in metres, light and
    aim of each photo; `notes/` has the same per photo, written last, so that a killed run goes on). A rose window is a
    window, too; a window in a tower belongs to both; a spire on a tower is no tower. What passers-by and cars hide is
    not in the masks. Three photos in four carry the focal length in their EXIF.

    Args:
        kind: cathedral, mosque or synagogue.
        seed: of design, surroundings, cameras, light and metadata.
        photos: how many.
        width: px of a photo's longer side; sides are 4:3.
        samples: light paths a pixel.
        close_ups: share of the photos that aim at one part.
        passers_by: people on the square in a photo, on average; vehicles and parasols are a fifth of that.
        workers: processes; 0 for one a core. Does not change the photos.
    """

    def __init__(
        self,
        kind: str,
        seed: int = 0,
        photos: int = 64,
        width: int = 400,
        samples: int = 16,
        close_ups: float = 0.45,
        passers_by: float = 10.0,
        workers: int = 0,
    ) -> None:
        self.plan = CapturePlan(kind, seed, photos, width, samples, close_ups, passers_by)
        self.workers = workers
        self.name = f"{kind}_seed{seed}"

    def identity(self) -> str:
        """Digest of the options that shape the photos, and of the generator's version."""
        return fingerprint({"version": GENERATOR_VERSION, **vars(self.plan)})

    def collect(self, folder: Path) -> None:
        """Photograph what is not in `folder` yet, then write the collection's tables."""
        require("mitsuba", "procedural")
        building = build(self.plan.kind, self.plan.seed)
        for name in ("photos", "depth", "notes", *(f"masks/{concept}" for concept in building.concepts)):
            (folder / name).mkdir(parents=True, exist_ok=True)
        missing = [k for k in range(self.plan.photos) if not (folder / f"notes/{k:04d}.json").is_file()]
        with _progress(self.name) as progress:
            task = progress.add_task("photos", total=self.plan.photos, completed=self.plan.photos - len(missing))
            for _ in _shoot(self.plan, folder, missing, self.workers or os.cpu_count() or 1):
                progress.advance(task)
        _write_tables(self.plan, folder, self.name, building.concepts)


def photo_name(index: int) -> str:
    """A photo's image id."""
    return f"{index:04d}.jpg"


def _shoot(plan: CapturePlan, folder: Path, indices: list[int], workers: int) -> Iterator[None]:
    """Make the photos, in processes where there are several; yields once for each."""
    workers = min(workers, len(indices))
    if workers <= 1:
        visit = PhotoSession(plan) if indices else None
        for index in indices:
            assert visit is not None
            _save(visit, folder, index)
            yield
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (plan, 1)) as pool:
        futures = [pool.submit(_work, folder, index) for index in indices]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_visit: PhotoSession | None = None  # of a worker process


def _start(plan: CapturePlan, threads: int) -> None:
    global _visit
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _visit = PhotoSession(plan, threads)


def _leave_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(folder: Path, index: int) -> None:
    assert _visit is not None
    _save(_visit, folder, index)


def _save(visit: PhotoSession, folder: Path, index: int) -> None:
    """Write one photo with everything known about it; its note comes last and says that the rest is there."""
    photo = visit.photo(index)
    name = photo_name(index)
    camera = photo.shot.camera
    write_atomic(folder / "photos" / name, _encode(photo.picture, "JPEG", quality=92, exif=_exif(photo.exif_focal)))
    for concept in visit.building.concepts:
        mask = photo.exposure.mask(concept).astype(np.uint8) * 255
        write_atomic(folder / "masks" / concept / f"{index:04d}.png", _encode(mask, "PNG"))
    depth = np.minimum(np.rint(photo.exposure.depth * 100), 65535).astype(np.uint16)
    write_atomic(folder / "depth" / f"{index:04d}.png", _encode(depth, "PNG"))
    pose = np.concatenate([camera.rotation, camera.position[:, None]], axis=1)
    write_json(
        folder / "notes" / f"{index:04d}.json",
        {
            "width": camera.width,
            "height": camera.height,
            "fx": camera.focal,
            "fy": camera.focal,
            "cx": camera.width / 2,
            "cy": camera.height / 2,
            "camera_to_world": pose.tolist(),
            "hour": photo.light.hour,
            "aim": photo.shot.part.name if photo.shot.part else "",
        },
    )


def _write_tables(plan: CapturePlan, folder: Path, name: str, concepts: tuple[str, ...]) -> None:
    notes: dict[str, dict[str, Any]] = {
        photo_name(k): json.loads((folder / f"notes/{k:04d}.json").read_text()) for k in range(plan.photos)
    }
    write_json(folder / "cameras.json", notes)
    place = landmark(plan.kind, plan.seed)
    truth = {image_id: note["aim"] for image_id, note in notes.items()}
    records = [record(i, place, plan.seed, k, label, concepts) for k, (i, label) in enumerate(truth.items())]
    write_collection(
        folder, name, "photos", records, masks="masks", concepts=concepts, building_type=plan.kind, truth=truth
    )


def _encode(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def _exif(focal: int | None) -> bytes:
    """EXIF with the focal length for 35 mm film, where the camera wrote one."""
    exif = Image.Exif()
    if focal is not None:
        exif.get_ifd(0x8769)[0xA405] = focal
    return exif.tobytes()


def _progress(name: str) -> Progress:
    return Progress(
        TextColumn(f"{name}: {{task.description}}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


class _Rate(ProgressColumn):
    """Photos a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f}/s" if task.speed else "")
