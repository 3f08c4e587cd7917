"""Ground-truth masks in files `<root>/<concept>/<image_id without ending>.png`, drawn on the upright original photo.

The folder of a concept holds pictures, in subfolders like the photos'; the photo's ending may be kept
(`front.jpg.png`). White, or opaque in a picture with an alpha channel, is the concept. Other files (a README, a
`.DS_Store`) are ignored.

HolyScenes (HaLo-NeRF, 2024) has another layout, recognised by its file names: `<root>/<concept>/0012-gt.jpg`, dark on
white, beside the photo `0012-img.jpg`; the number is the photo's id in a COLMAP model. Its masks are found once the
numbers are assigned to photos (`MaskFolder.paired`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from halonerf.errors import BadInput

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
ASPECT_TOLERANCE = 0.02  # relative; a mask scaled to whole pixels from a photo of 100 px is off by at most 1 %
NUMBERED = re.compile(r"(\d+)-gt")  # stem of a HolyScenes mask


@dataclass(frozen=True)
class MaskFolder:
    """The masks under `root`, listed by `MaskFolder.open`."""

    root: Path
    files: dict[str, dict[str, Path]] = field(repr=False)  # concept -> key of the photo -> file
    numbered: bool = False  # HolyScenes' layout: dark is the concept, keys are `<number>-gt` until `paired`

    @classmethod
    def open(cls, root: str | Path) -> MaskFolder:
        """List the masks under `root`.

        Raises: BadInput for a missing folder, or one in which no concept's folder holds a picture.
        """
        root = Path(root).expanduser()
        if not root.is_dir():
            raise BadInput(
                f"expected a folder of masks, <concept>/<photo>.png, at {root}, which "
                f"{'is a file' if root.exists() else 'does not exist'}.\n"
                "Give the folder that holds one folder per concept with segmenter.path=DIR or evaluate.masks=DIR."
            )
        files = {}
        for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            found = {
                path.relative_to(folder).with_suffix("").as_posix(): path
                for path in sorted(folder.rglob("*"))
                if path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")
            }
            if found:
                files[folder.name] = found
        pictures = [Path(key).name for found in files.values() for key in found]
        numbered = sum(NUMBERED.fullmatch(key) is not None for key in pictures)
        if numbered and 2 * numbered >= sum(not key.endswith("-img") for key in pictures):
            files = {
                concept: {key: path for key, path in found.items() if NUMBERED.fullmatch(Path(key).name)}
                for concept, found in files.items()
            }
            return cls(root, {concept: found for concept, found in files.items() if found}, numbered=True)
        if not files:
            loose = sum(path.suffix.lower() in ENDINGS for path in root.iterdir())
            got = f"{loose} pictures directly in it" if loose else "no picture one level down"
            raise BadInput(
                f"expected folders named by concept with masks in them, as {root}/window/<photo>.png, got {got}.\n"
                "Move each concept's masks into a folder of the concept's name."
            )
        return cls(root, files)

    def numbers(self) -> list[str]:
        """The distinct numbers of a numbered folder as written ("0012"), sorted; none for other folders."""
        keys = {Path(key).name for found in self.files.values() for key in found} if self.numbered else set()
        return sorted({match[1] for key in keys if (match := NUMBERED.fullmatch(key))})

    def paired(self, photos: Mapping[str, str]) -> MaskFolder:
        """The masks of a numbered folder assigned to photos.

        Args:
            photos: number as written -> image id; masks of other numbers keep their keys and stay unmatched.
        """
        names = {f"{number}-gt": _keys(image_id)[1] for number, image_id in photos.items()}
        files = {
            concept: {names.get(Path(key).name, key): path for key, path in found.items()}
            for concept, found in self.files.items()
        }
        return replace(self, files=files)

    @property
    def concepts(self) -> list[str]:
        """Names of the folders with masks, sorted."""
        return list(self.files)

    def find(self, concept: str, image_id: str) -> Path | None:
        """The file of the mask of `concept` in a photo; None without one."""
        masks = self.files.get(concept, {})
        return next((masks[key] for key in _keys(image_id) if key in masks), None)

    def photos(self, concept: str, image_ids: Iterable[str]) -> list[str]:
        """Those of `image_ids` with a mask of `concept`, in their order."""
        return [image_id for image_id in image_ids if self.find(concept, image_id) is not None]

    def unmatched(self, image_ids: Sequence[str]) -> list[str]:
        """Masks of none of these photos, as `<concept>/<file>`, sorted."""
        wanted = {key for image_id in image_ids for key in _keys(image_id)}
        return sorted(
            path.relative_to(self.root).as_posix()
            for masks in self.files.values()
            for key, path in masks.items()
            if key not in wanted
        )

    def read(self, concept: str, image_id: str, photo_size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
        """A mask, bool [h, w], at the size of its file.

        Args:
            photo_size: (width, height) of the upright photo; the mask must have its aspect, at any resolution.

        Raises: BadInput for a missing mask, an unreadable picture, or another aspect.
        """
        path = self.find(concept, image_id)
        if path is None:
            raise BadInput(f"expected a mask of '{concept}' for photo '{image_id}' in {self.root}, found none.")
        return read_mask(path, photo_size, dark=self.numbered)


def read_mask(path: Path, photo_size: tuple[int, int] | None = None, dark: bool = False) -> NDArray[np.bool_]:
    """The mask in a picture file, bool [h, w]: grey value, or opacity of a transparent picture, at least half.

    Args:
        photo_size: (width, height) of the photo; None: any aspect.
        dark: whether dark on white is the concept: 1 - L / 255 > 0.5, as in HaLo-NeRF's evaluation; transparent pixels
            are white.

    Raises: BadInput for an unreadable picture, or an aspect other than that of `photo_size`.
    """
    try:
        with Image.open(path) as picture:
            if dark:
                paper = Image.new("RGBA", picture.size, "white")
                grey = 255 - np.asarray(Image.alpha_composite(paper, picture.convert("RGBA")).convert("L"))
            elif "A" in picture.getbands() or "transparency" in picture.info:
                rgba = np.asarray(picture.convert("RGBA"))
                alpha = rgba[..., 3]
                grey = np.asarray(picture.convert("RGBA").convert("L"))
                # An alpha channel that is opaque everywhere is no mask, nor is the grey of transparent pixels.
                grey = grey if alpha.min() == 255 else np.where(alpha >= 128, _opaque_grey(grey, alpha), 0)
            else:
                grey = np.asarray(picture.convert("L"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise BadInput(f"expected a picture of a mask at {path}, but it cannot be read: {error}.") from error
    if photo_size is not None:
        height, width = grey.shape
        if abs(width * photo_size[1] / (height * photo_size[0]) - 1.0) > ASPECT_TOLERANCE:
            raise BadInput(
                f"expected a mask drawn on the upright photo of {photo_size[0]} x {photo_size[1]} px (any size of that "
                f"aspect), got {width} x {height} px in {path}.\nExport the mask again, turned as the photo is shown."
            )
    return grey >= 128


def resized_mask(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """A mask [h, w] resized to [height, width] by nearest neighbour."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    return mask[rows[:, None], columns]


def concept_key(name: str) -> str:
    """A normalised concept name: equal for spellings that differ in case, spaces, underscores or English plurals."""
    words = re.sub(r"[\s_\-]+", " ", name).strip().casefold().split(" ")
    return " ".join([*words[:-1], _singular(words[-1])])


def match_concepts(wanted: Sequence[str], present: Sequence[str]) -> dict[str, int]:
    """Index in `present` of each concept of `wanted`, by spelling, else by `concept_key`; absent ones are left out."""
    exact = {name: index for index, name in reversed(list(enumerate(present)))}
    loose = {concept_key(name): index for index, name in reversed(list(enumerate(present)))}
    found = {name: exact.get(name, loose.get(concept_key(name))) for name in wanted}
    return {name: index for name, index in found.items() if index is not None}


def _singular(word: str) -> str:
    """The singular of a regular English plural; other words are unchanged."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and re.search(r"(s|x|z|ch|sh)es$", word):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _keys(image_id: str) -> tuple[str, str]:
    """The names that a photo's mask may have, without the ending of the mask's file."""
    path = PurePosixPath(image_id)
    return path.with_suffix("").as_posix(), path.as_posix()


def _opaque_grey(grey: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey values of a partly transparent picture; 255 where all opaque pixels have one tone: opacity is the mask."""
    opaque = grey[alpha >= 128]
    if opaque.size and int(opaque.max()) - int(opaque.min()) < 128:
        return np.full_like(grey, 255)
    return grey
