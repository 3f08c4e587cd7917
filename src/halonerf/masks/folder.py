"""Ground-truth masks in files `<root>/<concept>/<image_id without ending>.png`, drawn on the upright original photo.

The folder of a concept holds pictures, in subfolders like the photos'; the photo's ending may be kept
(`front.jpg.png`). White, opaque or coloured is the concept (all kinds: `halonerf.masks.pictures`). Other files (a
README, a `.DS_Store`) are ignored.

HolyScenes (HaLo-NeRF, 2024) has another layout, recognised by its file names: `<root>/<concept>/0012-gt.jpg`, dark on
white, beside the photo `0012-img.jpg`; the number is the photo's id in a COLMAP model. Its masks are found once the
numbers are assigned to photos (`MaskFolder.paired`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from halonerf.errors import BadInput
from halonerf.masks.pictures import read_mask

log = logging.getLogger(__name__)

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
MAX_WARNINGS = 8  # of blank masks in one folder
NUMBERED = re.compile(r"(\d+)-gt")  # stem of a HolyScenes mask


@dataclass(frozen=True)
class MaskFolder:
    """The masks under `root`, listed by `MaskFolder.open`."""

    root: Path
    files: dict[str, dict[str, Path]] = field(repr=False)  # concept -> key of the photo -> file
    numbered: bool = False  # HolyScenes' layout: dark is the concept, keys are `<number>-gt` until `paired`
    complete: bool = False  # whether blank masks are meant, as in collections where every photo has every mask
    blank: set[Path] = field(default_factory=set, repr=False, compare=False)  # files read in which nothing is marked

    @classmethod
    def open(cls, root: str | Path, complete: bool = False) -> MaskFolder:
        """List the masks under `root`.

        Args:
            complete: blank masks are meant: no warning of them.

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
            return cls(
                root, {concept: found for concept, found in files.items() if found}, numbered=True, complete=complete
            )
        if not files:
            loose = sum(path.suffix.lower() in ENDINGS for path in root.iterdir())
            got = f"{loose} pictures directly in it" if loose else "no picture one level down"
            raise BadInput(
                f"expected folders named by concept with masks in them, as {root}/window/<photo>.png, got {got}.\n"
                "Move each concept's masks into a folder of the concept's name."
            )
        return cls(root, files, complete=complete)

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

    def read(
        self, concept: str, image_id: str, photo_size: tuple[int, int] | None = None, photo_orientation: int = 1
    ) -> NDArray[np.bool_]:
        """A mask, bool [h, w], at the size of its file. One in which nothing is marked says that the concept is absent.

        Args:
            photo_size: (width, height) of the photo as the scene uses it; the mask must have its aspect, at any
                resolution.
            photo_orientation: EXIF orientation of a photo that the scene uses as it is stored, as COLMAP does: masks
                drawn on the upright photo are turned like the stored one. HolyScenes' are drawn on stored photos.

        Raises: BadInput for a missing mask, an unreadable picture, one of more than two classes, or another aspect.
        """
        path = self.find(concept, image_id)
        if path is None:
            raise BadInput(f"expected a mask of '{concept}' for photo '{image_id}' in {self.root}, found none.")
        mask = read_mask(path, photo_size, self.numbered, 1 if self.numbered else photo_orientation)
        if not self.complete and not mask.any() and path not in self.blank:
            self.blank.add(path)
            if len(self.blank) <= MAX_WARNINGS:
                log.warning(
                    "nothing is marked in the mask %s: '%s' counts as absent from that photo; delete the mask if it "
                    "was left blank by mistake%s",
                    path,
                    concept,
                    " (further blank masks are not named)" if len(self.blank) == MAX_WARNINGS else "",
                )
        return mask


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
