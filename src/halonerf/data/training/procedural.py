"""Photos of which every part is known, for a segmenter to learn from; among them made-up buildings, rendered once."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from halonerf.data.procedural.building import GENERATOR_VERSION
from halonerf.data.procedural.closeups import close_ups
from halonerf.errors import BadInput, require

WHOLE = "whole"  # what the camera was aimed at, where it was the whole building


class MaskedSample(Protocol):
    """A photo and where it shows what. What has no mask is not in the photo."""

    @property
    def subject(self) -> str:
        """What the photo was aimed at; `WHOLE` where it shows the whole building."""

    def image(self) -> np.ndarray:
        """[H, W, 3] uint8."""

    def mask(self, concept: str, height: int, width: int) -> np.ndarray:
        """[height, width] bool; nothing where the photo does not show the concept."""


class SegmentationDataset(Protocol):
    """Where lessons come from. Everything is the same on every call; no photo, or building, is in both lists.

    cache: a folder that outlives the run, for what is slow to make.
    """

    @property
    def negative_words(self) -> Sequence[str]:
        """Words for what no photo shows."""

    def vocabulary(self, cache: Path) -> Mapping[str, Sequence[str]]:
        """How each concept may be called."""

    def train(self, cache: Path) -> Sequence[MaskedSample]:
        """What is learnt from."""

    def test(self, cache: Path) -> Sequence[MaskedSample]:
        """What is scored on: some photos of the whole, the rest close-ups."""


class ProceduralDataset:
    """Photos of made-up buildings with exact masks, rendered once into `<cache>/renders`.

    Args:
        words: how each concept may be called. negative_words: words for what no photo shows.
        kinds: types of buildings.
        first_seed: seed of the first building; evaluations of the whole road use seeds below 1000.
        buildings: of each kind, to learn from. test_buildings: of each kind, after those, to score on.
        photos: a building. whole: share of them that show all of it.
        width: px, long side of the photos. samples: light paths a pixel.
        workers: processes that render.
    """

    runtime_options = ("workers",)

    def __init__(
        self,
        words: Mapping[str, Sequence[str]],
        negative_words: Sequence[str],
        kinds: Sequence[str] = ("cathedral", "mosque", "synagogue"),
        first_seed: int = 1000,
        buildings: int = 14,
        test_buildings: int = 2,
        photos: int = 24,
        whole: float = 0.25,
        width: int = 224,
        samples: int = 8,
        workers: int = 2,
    ) -> None:
        self.words, self.negative_words = words, negative_words
        self.kinds, self.first_seed, self.workers = kinds, first_seed, workers
        self.buildings, self.test_buildings = buildings, test_buildings
        self.course = RenderSettings(photos, whole, width, samples)

    def vocabulary(self, cache: Path) -> Mapping[str, Sequence[str]]:
        return self.words

    def train(self, cache: Path) -> list[RenderedSample]:
        return self._rendered(cache, self.first_seed, self.buildings)

    def test(self, cache: Path) -> list[RenderedSample]:
        return self._rendered(cache, self.first_seed + self.buildings, self.test_buildings)

    def _rendered(self, cache: Path, first: int, count: int) -> list[RenderedSample]:
        """Photos of `count` buildings of each kind from seed `first` on."""
        return render_samples(cache / "renders", self.course, self.kinds, range(first, first + count), self.workers)


@dataclass(frozen=True)
class RenderedSample:
    """A rendered photo on disk, and the masks of what it shows."""

    photo: Path
    subject: str
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
class RenderSettings:
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


def render_samples(
    root: Path, course: RenderSettings, kinds: Sequence[str], seeds: Sequence[int], workers: int
) -> list[RenderedSample]:
    """Every photo of a building of each kind and seed; buildings that are there already are kept.

    Args:
        workers: processes; a bar on the standard error output says how long it takes.
    """
    folders = [(kind, seed, course.folder(root, kind, seed)) for seed in seeds for kind in kinds]
    wanted = [(kind, seed, folder) for kind, seed, folder in folders if not folder.is_dir()]
    if wanted:
        require("mitsuba", "procedural")
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
    return [lesson for _, _, folder in folders for lesson in find_samples(folder)]


def render_building(kind: str, seed: int, course: RenderSettings, folder: Path) -> None:
    """Write `photos/<number>_<aim>.jpg` and `masks/<concept>/<same>.png`, 0 or 255, for each concept in sight.

    Written beside `folder` and renamed, so that a folder that exists is whole.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "photos").mkdir(parents=True)
    shots = close_ups(kind, seed, course.photos, width=course.width, samples=course.samples, overviews=course.whole)
    for index, shot in enumerate(shots):
        name = f"{index:03d}_{(shot.subject or WHOLE).replace(' ', '-')}"
        Image.fromarray(shot.picture).save(partial / "photos" / f"{name}.jpg", quality=92)
        for concept, mask in shot.masks.items():
            if mask.any():
                (partial / "masks" / concept).mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(partial / "masks" / concept / f"{name}.png")
    partial.rename(folder)


def find_samples(folder: Path) -> list[RenderedSample]:
    """Every photo in the folder of a building, in the order of names.

    Raises: BadInput where there is none.
    """
    masks: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / "masks").glob("*/*.png")):
        masks.setdefault(path.stem, {})[path.parent.name] = path
    lessons = [
        RenderedSample(photo, photo.stem.rpartition("_")[2].replace("-", " "), masks.get(photo.stem, {}))
        for photo in sorted((folder / "photos").glob("*.jpg"))
    ]
    if not lessons:
        raise BadInput(f"expected photos/<name>.jpg and masks/<concept>/<name>.png in {folder}, found no photo.")
    return lessons
