"""Scene source: a finished COLMAP reconstruction (plain projects, Phototourism and HolyScenes folders)."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from halonerf.config.option_types import Text
from halonerf.data.collection import write_collection
from halonerf.data.sfm.colmap_model import find_models, match_names, model_files, read_model, registered_names
from halonerf.data.sources.photo_folder import ENDINGS, landmark_name, scene_folder
from halonerf.data.sources.split_table import choose_table, read_split, split_photos
from halonerf.errors import BadInput
from halonerf.files import files_digest, write_csv
from halonerf.types import ImageRecord

log = logging.getLogger(__name__)

SPLIT = "split.csv"  # image_id, split: beside the collection's files, where the folder has a table of a split


@dataclass(frozen=True)
class _Found:
    model: Path
    photos: Path
    names: dict[str, str]  # name in the model to path below `photos`
    missing: list[str]


class ColmapFolder:
    """A `SceneSource`: a COLMAP model and its photos, anywhere below `path`.

    Of several models the one with most photos on disk is used. A table (`*.tsv` with `filename`, `id`, `split`),
    as Phototourism and HolyScenes have it, selects the photos and splits them.

    Args:
        path: a folder with a model (.bin or .txt) in it or below it.
        images: folder that the model's photo names are relative to; empty: searched around the model.
        name: the scene's name; empty takes the folder's.
        concepts: to be segmented; empty: the stage `segment` decides.
        building_type: such as "cathedral"; empty where unknown.
    """

    version = 2

    def __init__(
        self, path: Text, images: str = "", name: str = "", concepts: Sequence[Text] = (), building_type: str = ""
    ) -> None:
        self.path = scene_folder(path)
        self.images = Path(images).expanduser() if images else None
        self.concepts, self.building_type = tuple(concepts), building_type
        self.name = name or landmark_name(self.path)

    def identity(self) -> str:
        """Digest of the model, its photos, the table of the split, and the options."""
        found = self._find()
        photos = files_digest(found.photos, [found.photos / file for file in found.names.values()])
        model = files_digest(found.model, model_files(found.model))
        tables = files_digest(self.path, self._tables())
        parts = [photos, model, tables, self.name, self.building_type, *self.concepts]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def collect(self, folder: Path) -> None:
        """Write the collection, and `split.csv` where there is a table.

        Raises: BadInput where there is no model, or none of its photos, or where its table cannot be used.
        """
        found = self._find()
        if found.missing:
            log.warning(
                "%d of the model's %d photos are missing under %s (the first is %s) and left out",
                len(found.missing),
                len(found.missing) + len(found.names),
                found.photos,
                found.missing[0],
            )
        tables = self._tables()
        table = choose_table(tables)
        split = read_split(table) if table else {}
        records = [
            ImageRecord(image_id=file, landmark=self.name, filename=Path(file).name, building_type=self.building_type)
            for file in sorted(found.names.values())
        ]
        if table and split:
            sides = split_photos(split, [r.image_id for r in records], table)
            rows = [{"image_id": image_id, "split": side} for image_id, side in sides.items()]
            write_csv(folder / SPLIT, ("image_id", "split"), rows)
        write_collection(
            folder,
            name=self.name,
            photos=found.photos.resolve(),
            records=records,
            model=found.model.resolve(),
            concepts=self.concepts,
            building_type=self.building_type,
            passed_over=dict.fromkeys(found.missing, f"named by the model, missing under {found.photos}"),
        )

    def _tables(self) -> list[Path]:
        return sorted(p for p in self.path.glob("*.tsv") if not p.name.startswith("."))

    def _find(self) -> _Found:
        """Raises: BadInput."""
        if not self.path.is_dir():
            raise BadInput(
                f"expected a folder with a COLMAP model at {self.path}, found nothing.\n"
                "Give it with: scene=colmap scene.path=DIR"
            )
        models = find_models(self.path)
        if not models:
            raise BadInput(
                f"expected a COLMAP model (cameras, images, points3D as .bin or .txt) under {self.path}, found none.\n"
                "To reconstruct photos instead: scene=photos scene.path=DIR"
            )
        best: _Found | None = None
        for model_path in models:
            names = list(registered_names(read_model(model_path)))
            for photos in self._photo_folders(model_path):
                matched = match_names(names, _below(photos))
                if best is None or len(matched) > len(best.names):
                    best = _Found(model_path, photos, matched, [n for n in names if n not in matched])
        if best is None or not best.names:
            names = list(registered_names(read_model(models[0])))
            where = sorted({str(folder) for model_path in models for folder in self._photo_folders(model_path)})
            first = f"; the first is '{names[0]}'" if names else ""
            raise BadInput(
                f"the COLMAP model in {models[0]} names {len(names)} photos, none of which was found{first}.\n"
                f"Searched: {', '.join(where)}.\nGive their folder with: scene.images=DIR"
            )
        return best

    def _photo_folders(self, model: Path) -> Iterator[Path]:
        """Candidate folders of a model's photos, most likely first: `images` beside it or beside a folder above it."""
        if self.images is not None:
            yield self.images
            return
        places = [model]
        while places[-1] != self.path and places[-1].parent != places[-1]:
            places.append(places[-1].parent)
        outside = [self.path.parent] if (self.path / model.name) == model or model == self.path else []
        for place in [*places, *outside]:
            for name in ("images", "photos", "rgb"):
                if (place / name).is_dir():
                    yield place / name
        for place in places:
            yield place


def _below(folder: Path) -> list[str]:
    files = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        if len(Path(parent).relative_to(folder).parts) >= 6:
            folders.clear()
        files += [
            (Path(parent) / name).relative_to(folder).as_posix()
            for name in names
            if Path(name).suffix.lower() in ENDINGS and not name.startswith(".")
        ]
    return sorted(files)
