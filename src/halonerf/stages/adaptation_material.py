"""What a segmenter is adapted with, gathered from the folders of one or several landmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from halonerf.data.collection import Collection
from halonerf.data.studies import Study
from halonerf.data.targets import Target, read_original, read_targets
from halonerf.errors import BadInput
from halonerf.stages.distill_table import labels_by_photo


def plain_studies(
    inputs: Mapping[str, Path], landmarks: Iterable[str], words: Sequence[str] | None, min_confidence: float
) -> list[Study]:
    """Labelled photos of the landmarks, or, where `words` are given, all photos.

    Args:
        inputs: the finished folders, "<landmark>/<stage>"; "<stage>" for the landmark "", the scene itself.
        min_confidence: of a label.
    """
    studies = []
    for landmark in landmarks:
        collection = Collection.read(_folder(inputs, landmark, "collect"))
        labels = labels_by_photo(_folder(inputs, landmark, "distill") / "labels.csv", min_confidence)
        studies += [
            Study(collection.photos / record.image_id, tuple(labels.get(record.image_id, ())))
            for record in collection.records()
            if record.image_id in labels or words
        ]
    return studies


def close_up_targets(inputs: Mapping[str, Path], landmarks: Iterable[str]) -> list[Target]:
    """The targets of the landmarks; `inputs` as in `plain_studies`."""
    return [target for landmark in landmarks for target in read_targets(_folder(inputs, landmark, "targets"))]


def original_targets(folder: str | None, table: str | None) -> list[Target]:
    """Targets in the layout of the original's publication; none without a folder.

    Raises: BadInput where the folder comes without its table.
    """
    if folder is None:
        return []
    if table is None:
        raise BadInput("expected adapt_segmenter.original_table=CSV beside adapt_segmenter.original=DIR.")
    return read_original(Path(folder).expanduser(), Path(table).expanduser())


def _folder(inputs: Mapping[str, Path], landmark: str, stage: str) -> Path:
    return inputs[f"{landmark}/{stage}" if landmark else stage]
