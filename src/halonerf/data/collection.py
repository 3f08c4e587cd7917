"""A collection: photos, their metadata and, where it is known, the truth. Written by `collect`, read by the rest.

    collection.json   where photos, masks and a finished reconstruction are (relative to the file, or absolute)
    records.csv       image_id, landmark, filename, caption, categories (one a line), building_type
    truth.csv         image_id, label: what the photo really shows, for scoring alone (optional)

A photo's `image_id` is its path below the photo folder, with forward slashes. Its mask for a concept is
`<masks>/<concept>/<image_id without its ending>.png`, 0 or 255, drawn on the upright photo.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from halonerf.files import write_csv, write_json
from halonerf.types import ImageRecord

FIELDS = ("image_id", "landmark", "filename", "caption", "categories", "building_type")
LONGEST = 100_000  # characters of one field; the csv module reads no more than 131,072


@dataclass(frozen=True)
class Collection:
    """A finished `collect` folder."""

    folder: Path
    name: str
    photos: Path
    masks: Path | None = None
    model: Path | None = None  # folder of a finished COLMAP model
    concepts: tuple[str, ...] = ()  # what to look for; empty: decided by `segment`
    building_type: str = ""

    @classmethod
    def read(cls, folder: Path) -> Collection:
        """The collection in a finished `collect` folder."""
        entry = json.loads((folder / "collection.json").read_text())

        def place(value: str | None) -> Path | None:
            return None if value is None else (folder / value).resolve()

        return cls(
            folder=folder,
            name=entry["name"],
            photos=folder / entry["photos"],
            masks=place(entry["masks"]),
            model=place(entry["model"]),
            concepts=tuple(entry["concepts"]),
            building_type=entry["building_type"],
        )

    def records(self) -> list[ImageRecord]:
        """Every photo's metadata, in the order of `records.csv`."""
        with open(self.folder / "records.csv", newline="", encoding="utf-8") as stream:
            return [
                ImageRecord(
                    image_id=row["image_id"],
                    landmark=row["landmark"],
                    filename=row["filename"],
                    caption=row["caption"],
                    categories=tuple(row["categories"].splitlines()),
                    building_type=row["building_type"],
                )
                for row in csv.DictReader(stream)
            ]

    def truth(self) -> dict[str, str]:
        """What each photo really shows, by image id; empty where nobody knows."""
        path = self.folder / "truth.csv"
        if not path.is_file():
            return {}
        with open(path, newline="", encoding="utf-8") as stream:
            return {row["image_id"]: row["label"] for row in csv.DictReader(stream)}


def write_collection(
    folder: Path,
    name: str,
    photos: str | Path,
    records: Sequence[ImageRecord],
    masks: str | Path | None = None,
    model: str | Path | None = None,
    concepts: Sequence[str] = (),
    building_type: str = "",
    truth: Mapping[str, str] | None = None,
) -> None:
    """Write a collection's files into `folder`; `photos`, `masks`, `model` relative to it or absolute."""
    rows = [
        {
            "image_id": r.image_id,
            "landmark": r.landmark,
            "filename": r.filename,
            "caption": r.caption[:LONGEST],
            "categories": "\n".join(r.categories)[:LONGEST],
            "building_type": r.building_type,
        }
        for r in records
    ]
    write_csv(folder / "records.csv", FIELDS, rows)
    if truth is not None:
        write_csv(folder / "truth.csv", ("image_id", "label"), [{"image_id": i, "label": t} for i, t in truth.items()])
    write_json(
        folder / "collection.json",
        {
            "name": name,
            "photos": str(photos),
            "masks": None if masks is None else str(masks),
            "model": None if model is None else str(model),
            "concepts": list(concepts),
            "building_type": building_type,
        },
    )
