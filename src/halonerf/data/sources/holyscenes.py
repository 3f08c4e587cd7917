"""Scene source: HolyScenes, a finished reconstruction with annotated masks numbered by its photos' ids.

Dudai et al., "HaLo-NeRF: Learning Geometry-Guided Semantics for Exploring Unconstrained Photo Collections",
Eurographics 2024. Masks: `<type>/<scene>/<concept>/NNNN-gt.jpg`, dark on white, beside the photo `NNNN-img.jpg`;
NNNN is the photo's id in the COLMAP model, which need not be the number in its file's name.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from halonerf.config.option_types import Text
from halonerf.data.collection import Collection, write_collection
from halonerf.data.sfm.colmap_model import match_names, read_model, registered_names
from halonerf.data.sources.colmap_folder import ColmapFolder
from halonerf.data.sources.photo_folder import scene_folder
from halonerf.errors import BadInput, first_line
from halonerf.files import files_digest, write_csv
from halonerf.geometry import resize_pixels
from halonerf.masks import ENDINGS, MaskFolder, read_mask

log = logging.getLogger(__name__)

LEFT_OUT = "masks_left_out.csv"  # mask, reason: beside the collection's files
THUMBNAIL_SIZE = 32  # px; enough to distinguish two photos of one building
# correlation of two thumbnails: a photo and its copy as JPEG have 0.99, two views of one facade up to 0.9
MIN_CORRELATION = 0.5


class HolyScenes:
    """A `SceneSource`: one scene of the benchmark, with its masks and their concepts.

    The masks are copied into the collection, white on black and named as the photos. Those that belong to no photo are
    listed in `masks_left_out.csv`.

    Args:
        path: the reconstruction: a folder with `dense/sparse`, `dense/images` and perhaps a table `*.tsv`.
        masks: the scene's folder of masks, one folder per concept; or, with `landmark`, a folder it is in or below.
        landmark: the name of the scene's folder below `masks`, as `<landmark>` or `<type>/<landmark>`; case, spaces
            and punctuation are ignored.
        images: folder that the model's photo names are relative to; empty: searched around the model.
        name: the scene's name; empty takes `landmark`, else the reconstruction's folder's.
        building_type: such as "cathedral"; empty takes `<type>`, where masks are found by `landmark`.
    """

    version = 2

    def __init__(
        self, path: Text, masks: Text, landmark: str = "", images: str = "", name: str = "", building_type: str = ""
    ) -> None:
        self.masks, self.landmark = scene_folder(masks, "scene.masks"), landmark
        self.building_type = building_type
        self.reconstruction = ColmapFolder(path, images, name or self.landmark)
        self.name = self.reconstruction.name

    def identity(self) -> str:
        """Digest of the reconstruction, the masks and the options.

        Raises: BadInput as `collect` does.
        """
        folder, building_type = self._folder()
        drawn = files_digest(folder, sorted(p for p in folder.rglob("*") if p.is_file()))
        parts = [self.reconstruction.identity(), drawn, building_type]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def collect(self, folder: Path) -> None:
        """Write the collection, its masks, and a list of those left out with the reason.

        Raises: BadInput where there is no reconstruction, or no mask of any of its photos.
        """
        place, building_type = self._folder()
        masks = MaskFolder.open(place)
        if not masks.numbered:
            raise BadInput(
                f"expected masks of HolyScenes, <concept>/NNNN-gt.jpg, in {place}, got "
                f"'{next(iter(next(iter(masks.files.values())).values())).name}'.\n"
                f"For white on black masks named as the photos: scene=colmap evaluate.masks={place}"
            )
        self.reconstruction.collect(folder)
        found = Collection.read(folder)
        records, photos = found.records(), found.photos
        ids = photo_ids(found)
        pairs, left_out = pair_masks(masks, ids, photos)
        left_out += [(file, "no mask: neither NNNN-gt nor NNNN-img") for file in _unrelated_images(masks)]
        concepts: dict[str, int] = {}
        for folder_name, drawn in masks.files.items():
            for key, file in drawn.items():
                photo = pairs.get(Path(key).name.removesuffix("-gt"))
                if photo is None:
                    continue
                try:
                    with Image.open(photos / photo) as opened:
                        size = opened.size  # a model's photos are used as they are stored
                except (OSError, ValueError, SyntaxError) as error:
                    reason = f"its photo, {photo}, cannot be read: {first_line(error)}"
                    left_out.append((file.relative_to(masks.root).as_posix(), reason))
                    continue
                try:
                    mask = read_mask(file, size, dark=True)
                except BadInput as error:
                    left_out.append((file.relative_to(masks.root).as_posix(), str(error).splitlines()[0]))
                    continue
                concept = folder_name.replace("_", " ")
                target = (folder / "masks" / concept / PurePosixPath(photo)).with_suffix(".png")
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(target, compress_level=1)
                concepts[concept] = concepts.get(concept, 0) + 1
        rows = [{"mask": mask, "reason": reason} for mask, reason in sorted(left_out)]
        write_csv(folder / LEFT_OUT, ("mask", "reason"), rows)
        if not concepts:
            raise BadInput(
                f"expected masks of the model's {len(ids)} photos, whose ids are {_few(ids)}, in {masks.root}; got "
                f"{len(masks.numbers())} numbers, {_few(masks.numbers())}, and none fits; the first: "
                f"{rows[0]['mask']}: {rows[0]['reason']}.\nGive the masks of this very scene with: scene.masks=DIR"
            )
        if rows:
            log.warning("holyscenes: %d masks or files left out, listed in %s", len(rows), folder / LEFT_OUT)
        write_collection(
            folder,
            name=self.name,
            photos=photos,
            records=records,
            masks="masks",
            model=found.model,
            concepts=list(concepts),
            building_type=building_type,
            passed_over=found.passed_over,
        )

    def _folder(self) -> tuple[Path, str]:
        """The scene's folder of masks, and the type of its building.

        Raises: BadInput where there is no such folder.
        """
        if not self.landmark:
            return self.masks, self.building_type
        wanted = _letters(self.landmark)
        near = sorted(p for pattern in ("*", "*/*") for p in self.masks.glob(pattern) if p.is_dir())
        for place in near:
            if _letters(place.name) == wanted:
                inferred = "" if place.parent == self.masks else place.parent.name.replace("_", " ")
                return place, self.building_type or inferred
        raise BadInput(
            f"expected a folder '{self.landmark}' with a scene's masks in {self.masks} or one level down, found: "
            f"{', '.join(p.relative_to(self.masks).as_posix() for p in near[:12]) or 'no folder'}.\n"
            "Name it with scene.landmark=NAME, or give the scene's own folder with: scene.masks=DIR scene.landmark=''"
        )


def photo_ids(collection: Collection) -> dict[int, str]:
    """Id in the collection's COLMAP model to image id."""
    assert collection.model is not None
    ids = registered_names(read_model(collection.model))
    files = match_names(list(ids), [record.image_id for record in collection.records()])
    return {ids[name]: file for name, file in files.items()}


def pair_masks(masks: MaskFolder, ids: Mapping[int, str], photos: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Photo of each number of a numbered mask folder.

    It is the photo with that id, or else the one whose file name is that number, if no other number has it. Where these
    differ, and wherever a copy of the photo lies beside the mask (`NNNN-img`), their correlation decides.

    Args:
        ids: COLMAP image id to image id, a path below `photos`.
    Returns: number as it is written to image id; and (mask, reason) of all others.
    """
    by_stem = {PurePosixPath(image_id).stem: image_id for image_id in ids.values()}
    pairs: dict[str, str] = {}
    owner: dict[str, str] = {}
    left_out: list[tuple[str, str]] = []
    for number in sorted(masks.numbers(), key=lambda n: (int(n) not in ids, n)):
        drawn = [path for found in masks.files.values() for path in found.values() if path.stem == f"{number}-gt"]
        candidates = [c for c in (ids.get(int(number)), by_stem.get(number)) if c is not None]
        photo, reason = _likeliest(list(dict.fromkeys(candidates)), photos, drawn)
        if photo is not None and photo not in owner:
            pairs[number], owner[photo] = photo, number
            continue
        if photo is not None:
            reason = f"its photo, {photo}, has the masks of number {owner[photo]} already"
        reason = reason or f"the model has no photo of id {int(number)}"
        left_out += [(path.relative_to(masks.root).as_posix(), reason) for path in drawn]
    return pairs, left_out


def _likeliest(candidates: list[str], photos: Path, drawn: list[Path]) -> tuple[str | None, str]:
    """Of `candidates`, paths below `photos`, the one whose copy lies beside the masks `drawn`; without one the first.

    Returns: None where there is no candidate, or none correlates with the copy; and the reason for the latter.
    """
    copy = next((picture for path in drawn if (picture := _photo_beside(path)) is not None), None)
    thumbnail = None if copy is None else _thumbnail(copy)
    if not candidates or copy is None or thumbnail is None:
        return (candidates[0] if candidates else None), ""
    correlation = [_correlation(thumbnail, _thumbnail(photos / candidate)) for candidate in candidates]
    best = int(np.argmax(correlation))
    if correlation[best] >= MIN_CORRELATION:
        return candidates[best], ""
    return None, f"{copy.name} is not the photo of that id (correlation {correlation[best]:.2f})"


def _photo_beside(mask: Path) -> Path | None:
    """The copy of its photo beside a mask."""
    stem = mask.stem.removesuffix("-gt") + "-img"
    return next((p for ending in ENDINGS for p in mask.parent.glob(f"{stem}.*") if p.suffix.lower() == ending), None)


def _thumbnail(path: Path) -> np.ndarray | None:
    try:
        with Image.open(path) as picture:
            return resize_pixels(np.asarray(picture.convert("L"), np.float32), THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None


def _correlation(one: np.ndarray, other: np.ndarray | None) -> float:
    if other is None or one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _unrelated_images(masks: MaskFolder) -> list[str]:
    """Images in the concepts' folders that are neither masks nor photos."""
    known = {path for found in masks.files.values() for path in found.values()}
    return sorted(
        path.relative_to(masks.root).as_posix()
        for path in masks.root.rglob("*")
        if path.is_file() and path.suffix.lower() in ENDINGS and path not in known and not path.stem.endswith("-img")
    )


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _few(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:3]) + (", …" if len(listed) > 3 else "")
