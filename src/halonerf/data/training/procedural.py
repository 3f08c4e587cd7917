"""Training data with complete masks: its protocols, and rendered photos of procedural buildings."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
from annotated_types import MinLen
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from halonerf.config.option_types import Fraction, NonNegativeInt, Pixels, PositiveInt, Seed
from halonerf.data.procedural.building import GENERATOR_VERSION
from halonerf.data.procedural.capture import Kind
from halonerf.data.procedural.closeups import close_ups
from halonerf.errors import BadInput, require
from halonerf.process.signals import follow_parent

WHOLE = "whole"  # subject of a photo of the whole building


class MaskedSample(Protocol):
    """A photo with complete masks: a concept without a mask is not in the photo."""

    @property
    def subject(self) -> str:
        """Concept that the photo is a close-up of; `WHOLE` where it shows the whole building."""

    def image(self) -> np.ndarray:
        """RGB pixels, uint8 [H, W, 3]."""

    def mask(self, concept: str, height: int, width: int) -> np.ndarray:
        """Mask of the concept, bool [height, width]; empty where the photo does not show it."""


class SegmentationDataset(Protocol):
    """Training and test photos with complete masks, the same on every call; no photo or building is in both.

    cache: a folder that is kept between runs, for slow computations.
    """

    @property
    def negative_words(self) -> Sequence[str]:
        """Text prompts for what no photo shows."""

    def vocabulary(self, cache: Path) -> Mapping[str, Sequence[str]]:
        """Concept to its text prompts."""

    def train(self, cache: Path) -> Sequence[MaskedSample]:
        """Training photos."""

    def test(self, cache: Path) -> Sequence[MaskedSample]:
        """Test photos: some of the whole building, the rest close-ups."""


class ProceduralDataset:
    """A `SegmentationDataset` of procedural buildings, rendered once into `<cache>/renders`.

    Args:
        words: concept to its text prompts. negative_words: prompts for what no photo shows.
        kinds: types of buildings.
        first_seed: seed of the first building; evaluations of the whole pipeline use seeds below 1000.
        buildings: of each kind, for training. test_buildings: of each kind, of the seeds after those.
        photos: per building. whole: share of them that show the whole building.
        width: px, long side of the photos. samples: light paths per pixel.
        workers: rendering processes.
    """

    runtime_options = ("workers",)

    def __init__(
        self,
        words: Mapping[str, Sequence[str]],
        negative_words: Sequence[str],
        kinds: Annotated[Sequence[Kind], MinLen(1)] = ("cathedral", "mosque", "synagogue"),
        first_seed: Seed = 1000,
        buildings: PositiveInt = 14,
        test_buildings: PositiveInt = 2,
        photos: PositiveInt = 24,
        whole: Fraction = 0.25,
        width: Pixels = 224,
        samples: PositiveInt = 8,
        workers: NonNegativeInt = 2,
    ) -> None:
        self.words, self.negative_words = words, negative_words
        self.kinds, self.first_seed, self.workers = kinds, first_seed, workers
        self.buildings, self.test_buildings = buildings, test_buildings
        self.settings = RenderSettings(photos, whole, width, samples)

    def vocabulary(self, cache: Path) -> Mapping[str, Sequence[str]]:
        return self.words

    def train(self, cache: Path) -> list[RenderedSample]:
        return self._rendered(cache, self.first_seed, self.buildings)

    def test(self, cache: Path) -> list[RenderedSample]:
        return self._rendered(cache, self.first_seed + self.buildings, self.test_buildings)

    def _rendered(self, cache: Path, first: int, count: int) -> list[RenderedSample]:
        """Photos of `count` buildings of each kind, of the seeds from `first` on."""
        return render_samples(cache / "renders", self.settings, self.kinds, range(first, first + count), self.workers)


@dataclass(frozen=True)
class RenderedSample:
    """A `MaskedSample`: a rendered photo and its masks, image files."""

    photo: Path
    subject: str
    masks: dict[str, Path]

    def image(self) -> np.ndarray:
        """RGB pixels, uint8 [H, W, 3]."""
        with Image.open(self.photo) as picture:
            return np.asarray(picture.convert("RGB"))

    def mask(self, concept: str, height: int, width: int) -> np.ndarray:
        """Mask of the concept, bool [height, width]; empty where the photo does not show it."""
        if concept not in self.masks:
            return np.zeros((height, width), dtype=bool)
        with Image.open(self.masks[concept]) as picture:
            return np.asarray(picture.convert("L")) >= 128


@dataclass(frozen=True)
class RenderSettings:
    """Rendering options of a building's photos.

    photos: per building. whole: share of them that show all of it. width: px, long side. samples: light paths a pixel.
    """

    photos: int
    whole: float
    width: int
    samples: int

    def folder(self, root: Path, kind: str, seed: int) -> Path:
        """Folder of a building's photos: <root>/<version and options>/<kind>_<seed>."""
        options = f"v{GENERATOR_VERSION}_{self.photos}x{self.width}px_{self.samples}spp_{round(100 * self.whole)}whole"
        return root / options / f"{kind}_{seed}"


def render_samples(
    root: Path, settings: RenderSettings, kinds: Sequence[str], seeds: Sequence[int], workers: int
) -> list[RenderedSample]:
    """Photos of a building of each kind and seed; buildings that are missing are rendered.

    Args:
        workers: processes. A progress bar is shown on standard error.
    """
    folders = [(kind, seed, settings.folder(root, kind, seed)) for seed in seeds for kind in kinds]
    wanted = [(kind, seed, folder) for kind, seed, folder in folders if not folder.is_dir()]
    if wanted:
        require("mitsuba", "procedural")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress,
        ProcessPoolExecutor(max(1, workers), get_context("spawn"), follow_parent) as pool,
    ):
        bar = progress.add_task("Rendering buildings", total=len(folders))
        progress.advance(bar, len(folders) - len(wanted))
        work = [pool.submit(render_building, kind, seed, settings, folder) for kind, seed, folder in wanted]
        for finished in as_completed(work):
            finished.result()
            progress.advance(bar)
    return [sample for _, _, folder in folders for sample in find_samples(folder)]


def render_building(kind: str, seed: int, settings: RenderSettings, folder: Path) -> None:
    """Render a building: `photos/<number>_<subject>.jpg` and `masks/<concept>/<same>.png`, 0 or 255, where visible.

    Written beside `folder` and then renamed, so that a folder that exists is complete.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "photos").mkdir(parents=True)
    shots = close_ups(
        kind, seed, settings.photos, width=settings.width, samples=settings.samples, overviews=settings.whole
    )
    for index, shot in enumerate(shots):
        name = f"{index:03d}_{(shot.subject or WHOLE).replace(' ', '-')}"
        Image.fromarray(shot.picture).save(partial / "photos" / f"{name}.jpg", quality=92)
        for concept, mask in shot.masks.items():
            if mask.any():
                (partial / "masks" / concept).mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(partial / "masks" / concept / f"{name}.png")
    partial.rename(folder)


def find_samples(folder: Path) -> list[RenderedSample]:
    """Photos in the folder of a building, sorted by name.

    Raises: BadInput where there is none.
    """
    masks: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / "masks").glob("*/*.png")):
        masks.setdefault(path.stem, {})[path.parent.name] = path
    samples = [
        RenderedSample(photo, photo.stem.rpartition("_")[2].replace("-", " "), masks.get(photo.stem, {}))
        for photo in sorted((folder / "photos").glob("*.jpg"))
    ]
    if not samples:
        raise BadInput(f"expected photos/<name>.jpg and masks/<concept>/<name>.png in {folder}, found no photo.")
    return samples
