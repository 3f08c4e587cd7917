"""What to look for in a scene's photos."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Mapping, Sequence
from pathlib import Path

from halonerf.data.collection import Collection
from halonerf.data.formats.names import LABELS
from halonerf.data.labels.table import frequent_labels
from halonerf.errors import BadInput
from halonerf.protocols import Segmenter


def decide_concepts(
    given: Sequence[str] | None,
    segmenter: Segmenter,
    inputs: Mapping[str, Path],
    photos: Names[str],
    min_photos: int,
    most: int,
) -> list[str]:
    """What was `given`, else the segmenter's own vocabulary, else the collection's concepts, else distilled labels.

    Args:
        inputs: the folders of collect and distill.
        photos: names of the registered photos; a label counts where at least `min_photos` of them carry it.
        most: distilled labels at most, the most frequent first.

    Raises: BadInput where nothing says what to look for.
    """
    if given:
        return list(dict.fromkeys(given))
    vocabulary = getattr(segmenter, "vocabulary", None)
    if vocabulary is not None:
        return vocabulary()
    collection = Collection.read(inputs["collect"])
    if collection.concepts:
        return list(collection.concepts)
    labels = frequent_labels(inputs["distill"] / LABELS, set(photos), min_photos)
    if not labels:
        raise BadInput(
            f"expected something to look for, but no label is carried by {min_photos} photos or more, and "
            "the scene names no concepts.\nSay what to look for with: segment.concepts=[portal,window]"
        )
    return labels[:most]
