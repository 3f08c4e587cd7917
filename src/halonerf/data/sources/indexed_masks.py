"""Scene source: photos with a class number per pixel, such as the CMP facades.

R. Tylecek and R. Sara, "Spatial Pattern Templates for Recognition of Objects with Regular Structure", GCPR 2013.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from annotated_types import MinLen
from PIL import Image

from halonerf.config.option_types import NonNegativeInt, PositiveInt, Text
from halonerf.data.collection import write_collection
from halonerf.data.sources.photo_folder import landmark_name, list_photos, scene_folder
from halonerf.errors import BadInput
from halonerf.files import files_digest
from halonerf.picture_files import UnreadablePicture, load_picture, oriented, shown_size
from halonerf.types import ImageRecord

log = logging.getLogger(__name__)


class IndexedMasks:
    """A `SceneSource`: photos with an index image each, `<photo without its ending>.png`, one class number per pixel.

    Each class becomes a concept with a mask for every photo, an empty one where the photo does not show it: absence is
    known here. The photos are not copied. Each photo is a separate landmark.

    Args:
        path: folder of the photos, of any depth.
        classes: concept to its class number or numbers. A pixel has one number, so the class of a surface with parts on
            it (CMP's `facade`) excludes those parts, unless their numbers are listed too.
        masks: folder of the index images, nested as the photos are; empty: beside the photos.
        first, last: positions, from 1, of the photos to use, sorted by name; last 0: to the end.
        name: the scene's name; empty takes the folder's.
        building_type: such as "house"; empty where unknown.
    """

    def __init__(
        self,
        path: Text,
        classes: Annotated[Mapping[str, NonNegativeInt | Sequence[NonNegativeInt]], MinLen(1)],
        masks: str = "",
        first: PositiveInt = 1,
        last: NonNegativeInt = 0,
        name: str = "",
        building_type: str = "",
    ) -> None:
        if last and last < first:
            raise BadInput(f"expected scene.first <= scene.last (or scene.last=0), got {first} and {last}.")
        self.path = scene_folder(path)
        self.masks = Path(masks).expanduser() if masks else self.path
        self.classes = {str(c): [n] if isinstance(n, int) else [int(i) for i in n] for c, n in classes.items()}
        self.first, self.last, self.building_type = first, last, building_type
        self.name = name or landmark_name(self.path)

    def identity(self) -> str:
        """Digest of the photos, their index images and the options.

        Raises: BadInput as `collect` does where files are missing.
        """
        pairs = self._pairs()
        photos = files_digest(self.path, [self.path / photo for photo, _ in pairs])
        numbers = files_digest(self.masks, [self.masks / drawn for _, drawn in pairs])
        options = json.dumps([self.name, self.building_type, self.classes])
        return hashlib.sha256("\0".join([photos, numbers, options]).encode()).hexdigest()

    def collect(self, folder: Path) -> None:
        """Write the collection, with a mask for each photo and class.

        Raises: BadInput where an image cannot be read, photo and index image differ in shape, or no class occurs.
        """
        pairs = self._pairs()
        seen: set[int] = set()
        for photo, drawn in pairs:
            numbers = read_index_image(self.masks / drawn)
            _check_shape(self.path / photo, numbers)
            seen |= set(np.unique(numbers).tolist())
            for concept, wanted in self.classes.items():
                target = folder / "masks" / concept / PurePosixPath(photo).with_suffix(".png")
                target.parent.mkdir(parents=True, exist_ok=True)
                mask = np.isin(numbers, wanted).astype(np.uint8) * 255
                Image.fromarray(mask).save(target, compress_level=1)  # three times as fast, and mostly flat areas
        absent = [concept for concept, wanted in self.classes.items() if not seen & set(wanted)]
        if len(absent) == len(self.classes):
            raise BadInput(
                f"expected pixels with the numbers of scene.classes={self.classes}, but the {len(pairs)} index images "
                f"below {self.masks} hold only {sorted(seen)[:20]}.\nGive your data's numbers in scene.classes."
            )
        if absent:
            log.warning("no photo of %s shows %s", self.name, ", ".join(absent))
        write_collection(
            folder,
            name=self.name,
            photos=self.path.resolve(),
            records=[
                ImageRecord(
                    image_id=photo,
                    landmark=PurePosixPath(photo).stem,
                    filename=PurePosixPath(photo).name,
                    building_type=self.building_type,
                )
                for photo, _ in pairs
            ],
            masks="masks",
            concepts=tuple(self.classes),
            building_type=self.building_type,
        )

    def _pairs(self) -> list[tuple[str, str]]:
        """Photos, sorted by name, and their index images, as paths below `path` and `masks`.

        Raises: BadInput where no photo has one, or fewer than `first` have.
        """
        beside = self.masks.resolve() == self.path.resolve()
        found = []
        for photo in list_photos(self.path):
            drawn = PurePosixPath(photo).with_suffix(".png").as_posix()
            if not (beside and drawn == photo) and (self.masks / drawn).is_file():
                found.append((photo, drawn))
        if not found:
            raise BadInput(
                f"expected photos below {self.path}, each with an index image <photo without its ending>.png "
                f"below {self.masks}, found no such pair.\nGive the folders with scene.path=DIR and scene.masks=DIR."
            )
        chosen = found[self.first - 1 : self.last or None]
        if not chosen:
            raise BadInput(
                f"expected scene.first of at most {len(found)}, the photos with index images; got {self.first}."
            )
        return chosen


def read_index_image(path: Path) -> np.ndarray:
    """Class number of each pixel, integers [H, W], of an upright image with a palette or one channel.

    Raises: BadInput where it cannot be read, or has colours or fractions instead of numbers.
    """
    try:
        picture, orientation = load_picture(path)
    except (UnreadablePicture, OSError) as error:
        raise BadInput(f"expected an index image at {path}, but it cannot be read: {error}.") from error
    numbers = np.asarray(picture)
    if numbers.ndim != 2:
        raise BadInput(
            f"expected one number per pixel (a palette or grey values) in {path}, got {numbers.shape[2]} channels.\n"
            "Save the class numbers, not the colours that display them."
        )
    if numbers.dtype.kind == "f":
        if not (np.isfinite(numbers) & (np.abs(numbers) < 2**31) & (numbers == np.rint(numbers))).all():
            raise BadInput(f"expected whole class numbers in {path}, got fractions.\nSave the numbers as integers.")
        numbers = numbers.astype(np.int64)
    return oriented(numbers, orientation)


def _check_shape(photo: Path, numbers: np.ndarray) -> None:
    """Raises: BadInput where the upright photo and its index image differ in shape, or the photo cannot be read."""
    try:
        width, height = shown_size(photo)
    except (UnreadablePicture, OSError) as error:
        raise BadInput(f"expected a photo at {photo}, but it cannot be read: {error}.") from error
    if numbers.shape != (height, width):
        raise BadInput(
            f"expected class numbers for each of the {width} x {height} px of the upright photo {photo}, got "
            f"{numbers.shape[1]} x {numbers.shape[0]} px.\nExport both at one size."
        )
