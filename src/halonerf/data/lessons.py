"""Photos of procedural landmarks with exact masks, rendered once and kept: what a segmenter learns from."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from halonerf.data.procedural.building import GENERATOR_VERSION
from halonerf.data.procedural.closeups import close_ups
from halonerf.errors import BadInput

WHOLE = "whole"  # what the camera was aimed at, where it was the whole building


@dataclass(frozen=True)
class Lesson:
    """A photo, what it was aimed at, and the mask of each concept it shows."""

    photo: Path
    aim: str
    masks: dict[str, Path]

    def image(self) -> np.ndarray:
        """[H, W, 3] uint8."""
        with Image.open(self.photo) as picture:
            return np.asarray(picture.convert("RGB"))

    def mask(self, concept: str, height: int, width: int) -> np.ndarray:
        """[height, width] bool; nothing where the photo does not show the concept."""
        if concept not in self.masks:
            return np.zeros((height, width), dtype=bool)
        with Image.open(self.masks[concept]) as picture:
            return np.asarray(picture.convert("L")) >= 128


@dataclass(frozen=True)
class Course:
    """How the photos of a building are made.

    photos: a building. whole: share of them that show all of it. width: px, long side. samples: light paths a pixel.
    """

    photos: int
    whole: float
    width: int
    samples: int

    def folder(self, root: Path, kind: str, seed: int) -> Path:
        """Where a building's photos are, or will be, whole: <version and options>/<kind>_<seed>."""
        options = f"v{GENERATOR_VERSION}_{self.photos}x{self.width}px_{self.samples}spp_{round(100 * self.whole)}whole"
        return root / options / f"{kind}_{seed}"


def render_lessons(
    root: Path, course: Course, kinds: Sequence[str], seeds: Sequence[int], workers: int
) -> list[Lesson]:
    """Every photo of a building of each kind and seed; buildings that are there already are kept.

    Args:
        workers: processes; a bar on the standard error output says how long it takes.
    """
    folders = [(kind, seed, course.folder(root, kind, seed)) for seed in seeds for kind in kinds]
    wanted = [(kind, seed, folder) for kind, seed, folder in folders if not folder.is_dir()]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(max(1, workers), mp_context=get_context("spawn")) as pool,
    ):
        bar = progress.add_task("Rendering buildings to learn from", total=len(folders))
        progress.advance(bar, len(folders) - len(wanted))
        work = [pool.submit(render_building, kind, seed, course, folder) for kind, seed, folder in wanted]
        for finished in as_completed(work):
            finished.result()
            progress.advance(bar)
    return [lesson for _, _, folder in folders for lesson in find_lessons(folder)]


def render_building(kind: str, seed: int, course: Course, folder: Path) -> None:
    """Write `photos/<number>_<aim>.jpg` and `masks/<concept>/<same>.png`, 0 or 255, for each concept in sight.

    Written beside `folder` and renamed, so that a folder that exists is whole.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "photos").mkdir(parents=True)
    shots = close_ups(kind, seed, course.photos, width=course.width, samples=course.samples, overviews=course.whole)
    for index, shot in enumerate(shots):
        name = f"{index:03d}_{(shot.aim or WHOLE).replace(' ', '-')}"
        Image.fromarray(shot.picture).save(partial / "photos" / f"{name}.jpg", quality=92)
        for concept, mask in shot.masks.items():
            if mask.any():
                (partial / "masks" / concept).mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(partial / "masks" / concept / f"{name}.png")
    partial.rename(folder)


def find_lessons(folder: Path) -> list[Lesson]:
    """Every photo in the folder of a building, in the order of names.

    Raises: BadInput where there is none.
    """
    masks: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / "masks").glob("*/*.png")):
        masks.setdefault(path.stem, {})[path.parent.name] = path
    lessons = [
        Lesson(photo, photo.stem.rpartition("_")[2].replace("-", " "), masks.get(photo.stem, {}))
        for photo in sorted((folder / "photos").glob("*.jpg"))
    ]
    if not lessons:
        raise BadInput(f"expected photos/<name>.jpg and masks/<concept>/<name>.png in {folder}, found no photo.")
    return lessons
