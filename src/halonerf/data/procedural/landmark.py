"""Scene source: a procedural landmark with photos, masks, depth, cameras, records and true labels."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
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
from halonerf.config.option_types import Fraction, NonNegativeFloat, NonNegativeInt, Pixels, PositiveInt, Seed
from halonerf.data.collection import write_collection
from halonerf.data.procedural.building import GENERATOR_VERSION, build
from halonerf.data.procedural.capture import CapturePlan, Kind, PhotoSession
from halonerf.data.procedural.metadata import landmark, record
from halonerf.errors import require
from halonerf.files import write_atomic, write_json
from halonerf.process.signals import follow_parent


class ProceduralLandmark:
    """A `ResumableSource`: unconstrained photos of a procedural building, with exact ground truth.

    Writes `photos/*.jpg`, `masks/<concept>/*.png` (0 or 255 at pixel centres), `depth/*.png` (16 bit, centimetres along
    the optical axis, 0 for sky) and `cameras.json` (pinhole intrinsics in pixels, camera-to-world in metres, hour and
    aim of each photo; `notes/` has the same per photo, written last, so that a killed run resumes). A rose window is
    also a window; a window in a tower belongs to both; a spire on a tower is not part of it. Masks exclude what
    passers-by and cars occlude. Three of four photos have the focal length in their EXIF data.

    Args:
        kind: cathedral, mosque or synagogue.
        seed: of design, surroundings, cameras, light and metadata.
        photos: number of photos.
        width: px, long side of a photo; its aspect is 4:3.
        samples: light paths per pixel.
        close_ups: share of photos of one part.
        passers_by: mean number of people per photo; vehicles and parasols are a fifth of that.
        workers: processes; 0: one per core. Does not change the photos.
    """

    resumes = True

    def __init__(
        self,
        kind: Kind,
        seed: Seed = 0,
        photos: PositiveInt = 64,
        width: Pixels = 400,
        samples: PositiveInt = 16,
        close_ups: Fraction = 0.45,
        passers_by: NonNegativeFloat = 10.0,
        workers: NonNegativeInt = 0,
    ) -> None:
        self.plan = CapturePlan(kind, seed, photos, width, samples, close_ups, passers_by)
        self.workers = workers
        self.name = f"{kind}_seed{seed}"

    def identity(self) -> str:
        """Digest of the options that affect the photos, and of the generator's version."""
        return fingerprint({"version": GENERATOR_VERSION, **vars(self.plan)})

    def collect(self, folder: Path) -> None:
        """Render the photos that are not in `folder` yet, then write the collection's tables.

        Raises: MissingExtra without Mitsuba.
        """
        require("mitsuba", "procedural")
        building = build(self.plan.kind, self.plan.seed)
        for name in ("photos", "depth", "notes", *(f"masks/{concept}" for concept in building.concepts)):
            (folder / name).mkdir(parents=True, exist_ok=True)
        missing = [k for k in range(self.plan.photos) if not (folder / f"notes/{k:04d}.json").is_file()]
        with _progress(self.name) as progress:
            task = progress.add_task("photos", total=self.plan.photos, completed=self.plan.photos - len(missing))
            for _ in _render_photos(self.plan, folder, missing, self.workers or os.cpu_count() or 1):
                progress.advance(task)
        _write_tables(self.plan, folder, self.name, building.concepts)


def photo_name(index: int) -> str:
    """Image id of a photo."""
    return f"{index:04d}.jpg"


def _render_photos(plan: CapturePlan, folder: Path, indices: list[int], workers: int) -> Iterator[None]:
    """Render photos, in parallel processes if there are several; yields once per photo."""
    workers = min(workers, len(indices))
    if workers <= 1:
        session = PhotoSession(plan) if indices else None
        for index in indices:
            assert session is not None
            _save(session, folder, index)
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


_session: PhotoSession | None = None  # of a worker process


def _start(plan: CapturePlan, threads: int) -> None:
    global _session
    follow_parent()
    _session = PhotoSession(plan, threads)


def _work(folder: Path, index: int) -> None:
    assert _session is not None
    _save(_session, folder, index)


def _save(session: PhotoSession, folder: Path, index: int) -> None:
    """Write one photo with its ground truth; its note comes last and marks it as complete."""
    photo = session.photo(index)
    name = photo_name(index)
    camera = photo.shot.camera
    write_atomic(folder / "photos" / name, _encode(photo.picture, "JPEG", quality=92, exif=_exif(photo.exif_focal)))
    for concept in session.building.concepts:
        mask = photo.passes.mask(concept).astype(np.uint8) * 255
        write_atomic(folder / "masks" / concept / f"{index:04d}.png", _encode(mask, "PNG"))
    depth = np.minimum(np.rint(photo.passes.depth * 100), 65535).astype(np.uint16)
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
    """EXIF data with the 35 mm equivalent focal length, unless it is None."""
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
    """Photos per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f}/s" if task.speed else "")
