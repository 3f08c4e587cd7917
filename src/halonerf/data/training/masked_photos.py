"""Training data from the photos of a scene source with complete masks.

Complete: a photo without a mask of a concept does not show it. That holds where every pixel is labelled
(`halonerf.data.sources.indexed_masks`) and for procedural landmarks, not for masks of a few photos or concepts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated
from zlib import crc32

import numpy as np
from annotated_types import Len

from halonerf.artifacts import fingerprint
from halonerf.config.option_types import Pixels, PositiveFraction, PositiveInt
from halonerf.data.augmentation import crop_window
from halonerf.data.collection import Collection
from halonerf.data.photo_io import read_photo
from halonerf.data.training.procedural import WHOLE
from halonerf.errors import BadInput
from halonerf.files import write_json
from halonerf.geometry import resize_pixels
from halonerf.masks import MaskFolder
from halonerf.picture_files import UnreadablePicture
from halonerf.protocols import SceneSource

STORE_VERSION = 2  # raise it when the stored arrays change


class MaskedPhotos:
    """A `SegmentationDataset` from a scene source: the last photos, whole and a crop of each, are test photos.

    Args:
        source: the scene source; its photos need not show one building.
        words: concept to its text prompts; None: the names of the masks.
        negative_words: prompts for what no photo shows.
        test_photos: number of test photos, the last sorted by name.
        size: px, long side to which photos are shrunk first; smaller ones are kept.
        close: smallest and largest side of the square crop of a test photo, share of its short side.
    """

    def __init__(
        self,
        source: SceneSource,
        words: Mapping[str, Sequence[str]] | None = None,
        negative_words: Sequence[str] = (),
        test_photos: PositiveInt = 40,
        size: Pixels = 320,
        close: Annotated[Sequence[PositiveFraction], Len(2, 2)] = (0.2, 0.375),
    ) -> None:
        if close[0] > close[1]:
            raise BadInput(f"expected training_data.close=[smallest,largest], got {list(close)}.")
        self.source, self.words, self.negative_words = source, words, negative_words
        self.test_photos, self.size, self.close = test_photos, size, close

    def vocabulary(self, cache: Path) -> Mapping[str, Sequence[str]]:
        """Concept to its text prompts.

        Raises: BadInput for a concept without masks, which would be trained as absent everywhere.
        """
        concepts = list(self._stored(cache)[0].planes)
        words = {concept: [concept] for concept in concepts} if self.words is None else self.words
        unknown = sorted(set(words) - set(concepts))
        if unknown:
            raise BadInput(
                f"expected training_data.words for concepts that '{self.source.name}' has masks of "
                f"({', '.join(concepts)}), got {', '.join(unknown)}."
            )
        return words

    def train(self, cache: Path) -> list[StoredSample]:
        return self._stored(cache)[: -self.test_photos]

    def test(self, cache: Path) -> list[StoredSample]:
        """Each test photo whole, and a crop of it, a function of the photo's name."""
        tests = self._stored(cache)[-self.test_photos :]
        return [sample for test in tests for sample in (test, self._close_up(test))]

    @cached_property
    def _key(self) -> str:
        """Computed once: it reads every file of the source."""
        return fingerprint({"source": self.source.identity(), "size": self.size, "version": STORE_VERSION})

    def _close_up(self, sample: StoredSample) -> StoredSample:
        height, width = sample.image().shape[:2]
        random = np.random.default_rng(crc32(sample.name.encode()))
        window = crop_window(height, width, self.close[0], self.close[1], 0.0, random)
        return StoredSample(sample.file, sample.name, sample.planes, window)

    def _stored(self, cache: Path) -> list[StoredSample]:
        """Every photo, sorted by name, shrunk once into `<cache>/photos/<fingerprint>/`.

        Raises: BadInput where the source has no masks, or no more photos than the test photos.
        """
        folder = cache / "photos" / self._key
        if not folder.is_dir():
            store_photos(self.source, self.size, folder)
        index = json.loads((folder / "index.json").read_text())
        planes = {concept: plane for plane, concept in enumerate(index["concepts"])}
        names = index["names"]
        if len(names) <= self.test_photos:
            raise BadInput(
                f"expected more photos than the {self.test_photos} test photos, got {len(names)} from "
                f"'{self.source.name}'.\nTake fewer test photos with: training_data.test_photos=N"
            )
        return [StoredSample(folder / f"{i:06d}.npy", name, planes) for i, name in enumerate(names)]


@dataclass(frozen=True)
class StoredSample:
    """A `MaskedSample` in a memory-mapped array, uint8 [H, W, 3 + ceil(K / 8)]: RGB, then K masks, highest bit first.

    planes: concept to the index of its mask. window: top, left, rows and columns of a crop, px; None: the whole photo.
    """

    file: Path
    name: str
    planes: Mapping[str, int]
    window: tuple[int, int, int, int] | None = None

    @property
    def subject(self) -> str:
        return WHOLE if self.window is None else "part"

    def image(self) -> np.ndarray:
        """RGB pixels, uint8 [H, W, 3]."""
        return self._array()[..., :3]

    def mask(self, concept: str, height: int, width: int) -> np.ndarray:
        """Mask of the concept, bool [height, width]; empty for concepts without masks."""
        if concept not in self.planes:
            return np.zeros((height, width), dtype=bool)
        byte, bit = divmod(self.planes[concept], 8)
        return (self._array()[..., 3 + byte] & (128 >> bit)) > 0

    def _array(self) -> np.ndarray:
        array = np.load(self.file, mmap_mode="r")
        if self.window is None:
            return array
        top, left, rows, columns = self.window
        return array[top : top + rows, left : left + columns]


def store_photos(source: SceneSource, size: int, folder: Path) -> None:
    """Write every photo of `source` with its masks as `<number>.npy`, and `index.json`: names and concepts.

    A pixel of a mask is set where at least half of it shows the concept. Written beside `folder` and then renamed.

    Raises: BadInput where the source has no masks.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    collected = partial / "collected"
    collected.mkdir(parents=True)
    source.collect(collected)
    collection = Collection.read(collected)
    if collection.masks is None:
        raise BadInput(
            f"expected a scene source with complete masks, but '{source.name}' has none.\n"
            "Photos of which every pixel is labelled are read with: scene=facades scene.path=DIR"
        )
    masks = MaskFolder.open(collection.masks, complete=True)
    names = sorted(record.image_id for record in collection.records())
    for number, name in enumerate(names):
        np.save(partial / f"{number:06d}.npy", _shrunk(collection.photos / name, masks, name, size))
    shutil.rmtree(collected)
    write_json(partial / "index.json", {"names": names, "concepts": masks.concepts})
    partial.rename(folder)


def _shrunk(path: Path, masks: MaskFolder, name: str, size: int) -> np.ndarray:
    """A photo and its masks as an array of `StoredSample`, with a long side of at most `size` px.

    Raises: BadInput where the photo cannot be read, or a mask's shape is not the photo's.
    """
    try:
        pixels = read_photo(path)
    except (OSError, UnreadablePicture) as error:
        raise BadInput(
            f"expected a photo at {path}, but it cannot be read: {error}.\nReplace it, or remove it with its masks."
        ) from error
    height, width = pixels.shape[:2]
    scale = min(1.0, size / max(height, width))
    rows, columns = (max(1, round(length * scale)) for length in (height, width))
    planes = np.zeros((rows, columns, len(masks.concepts)), dtype=bool)
    for plane, concept in enumerate(masks.concepts):
        if masks.find(concept, name) is not None:
            drawn = masks.read(concept, name, (width, height)).astype(np.uint8) * 255
            planes[..., plane] = resize_pixels(drawn, columns, rows) >= 128
    return np.concatenate([resize_pixels(pixels, columns, rows), np.packbits(planes, axis=-1)], axis=-1)
