"""Scene source: a folder of photos, which is neither copied nor changed."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from halonerf.config.option_types import Text
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
        path: the folder; photos may lie in subfolders, linked ones too, with any names and endings in any case.
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
        path: Text,
        name: str = "",
        metadata: str = "",
        concepts: Sequence[Text] = (),
        building_type: str = "",
    ) -> None:
        self.path = scene_folder(path)
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
        names, passed_over = find_photos(self.path)
        for name, reason in passed_over.items():
            log.warning("passed over %s: %s", name, reason)
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
            passed_over=passed_over,
        )


def landmark_name(path: Path) -> str:
    """Name of a landmark from its folder: the folder's, or its parent's where that is generic, such as "photos"."""
    path = path.resolve()
    generic = {"photos", "images", "pictures", "dense", "sparse", "img", "imgs", "0"}
    while path.name.lower() in generic and path.parent != path:
        path = path.parent
    return path.name or "scene"


def scene_folder(path: object, option: str = "scene.path") -> Path:
    """The folder of an option that must be given.

    Raises: BadInput where it is empty, which would be the current folder.
    """
    if path is None or not str(path).strip():
        raise BadInput(f"expected a folder, got nothing for {option}.\nGive it with: {option}=DIR")
    return Path(str(path)).expanduser()


def list_photos(folder: Path) -> list[str]:
    """Photos below `folder` that `find_photos` finds; it raises the same."""
    return find_photos(folder)[0]


def find_photos(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Paths below `folder`, with forward slashes, of all files with a photo's ending, sorted; without hidden ones.

    Links to files and folders are followed; a folder that is linked several times, or into itself, is searched once.

    Returns: the photos; and what was passed over although it looks like a photo or a folder, with the reason.

    Raises: BadInput where the folder is missing or there are no photos.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise BadInput(
            f"expected a folder of photos at {folder}, found {what}.\nGive it with: scene=photos scene.path=DIR"
        )
    names: list[str] = []
    passed: dict[str, str] = {}
    others = 0
    seen: set[tuple[int, int]] = set()
    waiting, linked = [folder], list[Path]()  # links last, so that photos get the names of the folders they lie in
    while waiting or linked:
        parent = waiting.pop() if waiting else linked.pop(0)
        place = parent.relative_to(folder).as_posix()
        status = parent.stat()
        if (status.st_dev, status.st_ino) in seen:
            passed[place] = "a link to a folder that is searched already"
            continue
        seen.add((status.st_dev, status.st_ino))
        try:
            entries = sorted(parent.iterdir())
        except OSError as error:
            passed[place] = f"a folder that cannot be read: {error.strerror}"
            continue
        for path in (entry for entry in entries if not entry.name.startswith(".")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir():
                (linked if path.is_symlink() else waiting).append(path)
            elif path.suffix.lower() not in ENDINGS:
                others += 1
            elif reason := _unusable(path, name):
                passed[name.encode(errors="backslashreplace").decode()] = reason
            else:
                names.append(name)
    if not names:
        found = f"{others} files of other kinds" if others else "nothing"
        reasons = "".join(f"; passed over {name}: {reason}" for name, reason in sorted(passed.items())[:3])
        raise BadInput(
            f"expected photos ({', '.join(sorted(ENDINGS))}) under {folder}, found {found}{reasons}.\n"
            "Give the folder with: scene=photos scene.path=DIR"
        )
    return sorted(names), passed


def _unusable(path: Path, name: str) -> str:
    """Why a file with a photo's ending cannot be listed; empty where it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not valid UTF-8; rename it to use it"
    if not path.exists():
        return "a link to nothing" if path.is_symlink() else "missing"
    if not path.is_file():
        return "not a file"
    return "" if os.access(path, os.R_OK) else "permission denied"


def _metadata_digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(
            f"expected a CSV of metadata at {path}, but it cannot be read: {error.strerror}.\n"
            "Give another with: scene.metadata=FILE, or omit it."
        ) from error
