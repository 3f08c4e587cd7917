"""How well a retriever finds the labels of photos that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from halonerf.data.photo_labels import PhotoLabel, label_table
from halonerf.errors import BadInput
from halonerf.metrics import label_retrieval
from halonerf.protocols import Retriever


class LabelScores:
    """Collects the photos' embeddings, batch by batch in their order, and scores them against all labels.

    Args:
        rows: photos and labels; fewer than two labels can tell nothing apart, so that `photos` and `labels` stay empty.
        same: each label's representative (`merge_labels`).
        templates: texts with {label}; a label is the mean of its texts' embeddings (Radford et al., 2021, sec. 3.1.4).
    """

    def __init__(self, rows: Sequence[PhotoLabel], same: Mapping[str, str], templates: Sequence[str]) -> None:
        photos, labels, self.shows = label_table(rows, same)
        self.photos, self.labels = (list(photos), list(labels)) if len(labels) > 1 else ([], [])
        self.templates = templates
        self._seen: list[Tensor] = []

    def add(self, seen: Tensor) -> None:
        """seen: embeddings [B, D] of the next photos."""
        self._seen.append(seen.detach().float().cpu())

    @torch.no_grad()
    def figures(self, retriever: Retriever) -> dict[str, float]:
        """`label_retrieval` of all photos, which are then forgotten.

        Raises: BadInput where an embedding is not a number.
        """
        texts = [template.replace("{label}", label) for label in self.labels for template in self.templates]
        told = retriever.embed_texts(texts).float().cpu().unflatten(0, (len(self.labels), -1)).mean(dim=1)
        similarity = torch.cat(self._seen) @ normalize(told, dim=-1).T
        self._seen.clear()
        if not similarity.isfinite().all():
            raise BadInput("expected embeddings of finite numbers, got NaN: the model was ruined, or the fit diverged.")
        return label_retrieval(similarity.numpy(), self.shows)
