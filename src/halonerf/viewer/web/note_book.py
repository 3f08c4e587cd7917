"""The notes of a scene in one JSON file, saved atomically at every change."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from halonerf.errors import BadInput
from halonerf.files import write_json
from halonerf.viewer.web.note_models import MAX_ENTRIES, Distance, NewEntry, Note, Notes, SavedView, Scale

NOTES = "notes.json"
KIND, VERSION = "halonerf notes", 1
MIN_LENGTH = 1e-6  # world units, of a distance
CLASSES = {"note": Note, "distance": Distance, "view": SavedView}


class NoteBook:
    """Notes, distances and saved views. The file is read anew for every call, so that several servers share it.

    Args:
        folder: where `notes.json` is kept.

    Raises: BadInput for a file that is there and cannot be read; it is left as it is.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NOTES
        self.read()

    def read(self) -> Notes:
        """All entries."""
        if not self.path.is_file():
            return Notes(entries=[])
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            if (stored.pop("kind"), stored.pop("version")) != (KIND, VERSION):
                raise ValueError("another kind of file, or another version")
            return Notes.model_validate(stored)
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise BadInput(
                f"expected the notes of stage=explore in {self.path}, got something else ({str(error)[:200]}).\n"
                "Move the file away, or mend it: it is not overwritten"
            ) from error

    def add(self, entry: NewEntry) -> Notes:
        """Add an entry; all of them. Raises: BadInput for a distance of no length, or where there are too many."""
        if entry.kind == "distance" and math.dist(*entry.points) < MIN_LENGTH:
            raise BadInput("expected two different points, got the same one twice")
        with self._changing() as notes:
            if len(notes.entries) >= MAX_ENTRIES:
                raise BadInput(f"expected at most {MAX_ENTRIES} notes, distances and views: remove one first")
            number = max((one.number for one in notes.entries), default=0) + 1
            notes.entries.append(CLASSES[entry.kind](**entry.model_dump(), number=number))
        return notes

    def remove(self, number: int) -> Notes:
        """Remove an entry, and the scale that comes from it; the others. Raises: KeyError."""
        with self._changing() as notes:
            left = [one for one in notes.entries if one.number != number]
            if len(left) == len(notes.entries):
                raise KeyError(number)
            notes.entries = left
            if notes.scale is not None and notes.scale.number == number:
                notes.scale = None
        return notes

    def set_scale(self, scale: Scale | None) -> Notes:
        """Set, or forget, the distance whose length is known. Raises: BadInput where it is none of the scene's."""
        with self._changing() as notes:
            distances = [one.number for one in notes.entries if one.kind == "distance"]
            if scale is not None and scale.number not in distances:
                raise BadInput(f"expected the number of a distance, one of {distances}, got {scale.number}")
            notes.scale = scale
        return notes

    @contextmanager
    def _changing(self) -> Iterator[Notes]:
        """All entries, which are stored at the end where nothing is raised."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(".notes.lock")):
            notes = self.read()
            yield notes
            stored = notes.model_dump(
                mode="json", exclude={"metres_per_unit": True, "entries": {"__all__": {"length"}}}
            )
            write_json(self.path, {"kind": KIND, "version": VERSION, **stored})
