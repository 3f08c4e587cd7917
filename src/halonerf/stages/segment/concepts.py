"""The concepts that `segment` looks for in a scene's photos."""

from __future__ import annotations

import logging
from collections.abc import Collection as Names
from collections.abc import Mapping, Sequence
from pathlib import Path

from halonerf.data.collection import Collection
from halonerf.data.formats.names import LABELS
from halonerf.data.labels.table import frequent_labels
from halonerf.protocols import MaskFolderSegmenter, Segmenter

log = logging.getLogger("halonerf")


def decide_concepts(
    given: Sequence[str] | None,
    segmenter: Segmenter,
    inputs: Mapping[str, Path],
    photos: Names[str],
    min_photos: int,
    max_concepts: int,
) -> list[str]:
    """The `given` concepts, else a mask folder's vocabulary, else the collection's concepts, else distilled labels.

    Args:
        inputs: the finished folders of collect and distill.
        photos: names of the fitted photos; a label counts where at least `min_photos` of them have it.
        max_concepts: maximum number of distilled labels, the most frequent first.

    Returns: no concepts where there are none, which a warning says.
    """
    if given:
        return list(dict.fromkeys(given))
    if isinstance(segmenter, MaskFolderSegmenter):
        return segmenter.vocabulary()
    collection = Collection.read(inputs["collect"])
    if collection.concepts:
        return list(collection.concepts)
    labels = frequent_labels(inputs["distill"] / LABELS, set(photos), min_photos)
    if not labels:
        log.warning(
            "no concepts: no label occurs in %d photos or more, and the scene has none of its own. Photos are chosen "
            "by quality alone; any text can be looked for afterwards. Set concepts: segment.concepts=[portal,window]",
            min_photos,
        )
    return labels[:max_concepts]
