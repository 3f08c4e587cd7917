"""The files of a collection, which `collect` writes: photos, their metadata and, where it is known, the ground truth.

    collection.json   paths of photos, masks and a finished reconstruction (relative to the file, or absolute); what was
                      passed over, with the reason
    records.csv       image_id, landmark, filename, caption, categories (one per line), building_type
    truth.csv         image_id, label: what the photo shows, for scoring only (optional)

Cells of the tables that a spreadsheet would run as formulas are escaped (`halonerf.files.escape_cell`).

A photo's `image_id` is its path below the photo folder, with forward slashes. Its mask for a concept is
`<masks>/<concept>/<image_id without its ending>.png`, 0 or 255, drawn on the upright photo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from halonerf.files import read_csv, write_csv, write_json
from halonerf.types import ImageRecord

COLLECTION = "collection.json"
RECORDS, TRUTH = "records.csv", "truth.csv"
FIELDS = ("image_id", "landmark", "filename", "caption", "categories", "building_type")


@dataclass(frozen=True)
class Collection:
    """A finished `collect` folder, opened."""

    folder: Path
    name: str
    photos: Path
    masks: Path | None = None
    model: Path | None = None  # folder of a finished COLMAP model
    concepts: tuple[str, ...] = ()  # to be segmented; empty: `segment` decides
    building_type: str = ""
    passed_over: Mapping[str, str] = field(default_factory=dict)  # files and folders that are not used: the reason

    @classmethod
    def read(cls, folder: Path) -> Collection:
        """The collection in a finished `collect` folder."""
        entry = json.loads((folder / COLLECTION).read_text(encoding="utf-8"))

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
            passed_over=entry.get("passed_over", {}),
        )

    def records(self) -> list[ImageRecord]:
        """Metadata of every photo, in the order of `records.csv`."""
        return [
            ImageRecord(
                image_id=row["image_id"],
                landmark=row["landmark"],
                filename=row["filename"],
                caption=row["caption"],
                categories=tuple(filter(None, row["categories"].split("\n"))),
                building_type=row["building_type"],
            )
            for row in read_csv(self.folder / RECORDS, escaped=True)
        ]

    def truth(self) -> dict[str, str]:
        """True label of each photo by image id; empty where it is not known."""
        path = self.folder / TRUTH
        if not path.is_file():
            return {}
        return {row["image_id"]: row["label"] for row in read_csv(path, escaped=True)}


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
    passed_over: Mapping[str, str] | None = None,
) -> None:
    """Write a collection's files into `folder`.

    Args:
        photos, masks, model: paths relative to `folder`, or absolute.
        truth: true label by image id.
        passed_over: what looks like a photo or a folder of photos and is not used, with the reason.
    """
    rows = [
        {
            "image_id": r.image_id,
            "landmark": r.landmark,
            "filename": r.filename,
            "caption": r.caption,
            "categories": "\n".join(" ".join(category.splitlines()) for category in r.categories),
            "building_type": r.building_type,
        }
        for r in records
    ]
    write_csv(folder / RECORDS, FIELDS, rows, escape=True)
    if truth is not None:
        truths = [{"image_id": image_id, "label": label} for image_id, label in truth.items()]
        write_csv(folder / TRUTH, ("image_id", "label"), truths, escape=True)
    write_json(
        folder / COLLECTION,
        {
            "name": name,
            "photos": str(photos),
            "masks": None if masks is None else str(masks),
            "model": None if model is None else str(model),
            "concepts": list(concepts),
            "building_type": building_type,
            "passed_over": dict(passed_over or {}),
        },
    )
