"""The `metadata.csv` of the original HaLo-NeRF: `name, fn, img_fn, caption, cats, building_type, spl`.

`cats` is the landmark's key and its sub-categories, separated by semicolons; `fn` is the photo's path.
"""

from __future__ import annotations

from collections.abc import Iterator

from halonerf.data.corpus_table import Table
from halonerf.types import ImageRecord

COLUMNS = {
    "image_id": "fn",
    "landmark": "name",
    "filename": "img_fn",
    "caption": "caption",
    "categories": "cats",
    "building_type": "building_type",
}


class OriginalCsv:
    """A `Corpus`; `image_id` is `fn` as the table has it.

    Args:
        path: the CSV file.
        split: only rows with this `spl` (train, val, test); None: all.
        name: of the corpus, under which its labels are kept; None: the file's.
    """

    def __init__(self, path: str, split: str | None = None, name: str | None = None) -> None:
        self.table = Table(path, COLUMNS, ";", None if split is None else {"spl": split}, name)
        self.name = self.table.name

    def identity(self) -> str:
        return self.table.identity()

    def records(self) -> Iterator[ImageRecord]:
        return self.table.records()
