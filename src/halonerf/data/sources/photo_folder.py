"""Scene source: a folder of photos, which is neither copied nor changed."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from halonerf.data.collection import write_collection
from halonerf.data.formats.names import UNUSED_METADATA
from halonerf.data.photo_io import can_open
from halonerf.data.sources.photo_metadata import PhotoMetadata, UnusedRow, read_metadata
from halonerf.errors import BadInput
from halonerf.files import files_digest, write_csv
from halonerf.types import ImageRecord

log = logging.getLogger(__name__)

ENDINGS = frozenset(
    [".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".heif", ".avif", ".ppm", ".pgm"]
)


class PhotoFolder:
    """A `SceneSource`: every photo below a folder.

    Args:
        path: the folder; photos may lie in subfolders, with any names and endings in any case.
        name: the scene's name; empty takes the folder's.
        metadata: CSV with a column `filename` (path below the folder, or the bare file name) and any of `caption`,
            `categories` (separated by line breaks, "|" or ";"), `landmark`, `building_type`; empty: file names only.
            Rows that match no photo are listed in `unused_metadata.csv`, beside the collection's files.
        concepts: to be segmented; empty: the stage `segment` decides.
        building_type: such as "cathedral"; empty where unknown.
    """

    version = 2

    def __init__(
        self,
        path: str,
        name: str = "",
        metadata: str = "",
        concepts: Sequence[str] = (),
        building_type: str = "",
    ) -> None:
        self.path = Path(path).expanduser()
        self.metadata = Path(metadata).expanduser() if metadata else None
        self.concepts, self.building_type = tuple(concepts), building_type
        self.name = name or landmark_name(self.path)

    def identity(self) -> str:
        """Digest of every photo's name and content, the metadata and the options.

        Raises: BadInput where the folder is missing or holds no photo.
        """
        photos = files_digest(self.path, [self.path / i for i in list_photos(self.path)])
        metadata = _metadata_digest(self.metadata) if self.metadata else ""
        parts = [photos, self.name, self.building_type, *self.concepts, metadata]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def collect(self, folder: Path) -> None:
        """Write the collection.

        Raises: BadInput where there is no readable photo, or the metadata cannot be used.
        """
        names = list_photos(self.path)
        if not any(can_open(self.path / name) for name in names):
            raise BadInput(
                f"expected photos under {self.path}, but none of its {len(names)} files with a photo's ending can be "
                f"read (the first is {names[0]}).\nCheck the folder, and give it with: scene=photos scene.path=DIR"
            )
        metadata = read_metadata(self.metadata, names) if self.metadata else PhotoMetadata({}, [])
        known = metadata.records
        records = [
            known.get(name)
            or ImageRecord(
                image_id=name, landmark=self.name, filename=Path(name).name, building_type=self.building_type
            )
            for name in names
        ]
        records = [
            ImageRecord(
                image_id=r.image_id,
                landmark=r.landmark or self.name,
                filename=r.filename,
                caption=r.caption,
                categories=r.categories,
                building_type=r.building_type or self.building_type,
            )
            for r in records
        ]
        if metadata.unused:
            rows = [row._asdict() for row in metadata.unused]
            write_csv(folder / UNUSED_METADATA, UnusedRow._fields, rows, escape=True)
        write_collection(
            folder,
            name=self.name,
            photos=self.path.resolve(),
            records=records,
            concepts=self.concepts,
            building_type=self.building_type,
        )


def landmark_name(path: Path) -> str:
    """Name of a landmark from its folder: the folder's, or its parent's where that is generic, such as "photos"."""
    path = path.resolve()
    generic = {"photos", "images", "pictures", "dense", "sparse", "img", "imgs", "0"}
    while path.name.lower() in generic and path.parent != path:
        path = path.parent
    return path.name or "scene"


def list_photos(folder: Path) -> list[str]:
    """Paths below `folder`, with forward slashes, of all files with a photo's ending, sorted; without hidden ones.

    Raises: BadInput where the folder is missing or there are none.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise BadInput(
            f"expected a folder of photos at {folder}, found {what}.\nGive it with: scene=photos scene.path=DIR"
        )
    names, others = [], 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for file in files:
            if file.startswith("."):
                continue
            if Path(file).suffix.lower() not in ENDINGS:
                others += 1
                continue
            name = (Path(parent) / file).relative_to(folder).as_posix()
            if name.isprintable():
                names.append(name)
            else:
                log.warning("left out %r: its name is not valid Unicode text; rename it to use it", name)
    if not names:
        found = f"{others} files of other kinds" if others else "nothing"
        raise BadInput(
            f"expected photos ({', '.join(sorted(ENDINGS))}) under {folder}, found {found}.\n"
            "Give the folder with: scene=photos scene.path=DIR"
        )
    return sorted(names)


def _metadata_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(
            f"expected a CSV of metadata at {path}, but it cannot be read: {error.strerror}.\n"
            "Give another with: scene.metadata=FILE, or omit it."
        ) from error
