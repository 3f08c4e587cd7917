"""Frames of a film: what the field shows along a path, with words lit, and two ways side by side or wiped over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from halonerf.lifting import render_known
from halonerf.protocols import SemanticHead, TrainableField
from halonerf.queries.session import QuerySession
from halonerf.rendering.tiles import BASE_CHANNELS, view_tiles
from halonerf.types import View


class WordLayers:
    """Where words are in a view: as the head of `localize` has it, or lifted from the index for any other word.

    Args:
        known: what the head was fitted to.
        texts: all that will be asked for.
        query: opened only where a text is not known.
    """

    def __init__(
        self,
        field: TrainableField,
        head: SemanticHead,
        known: Sequence[str],
        texts: Sequence[str],
        query: Callable[[], QuerySession],
        memory_mb: float,
    ) -> None:
        self.field, self.head, self.known, self.memory_mb = field, head, list(known), memory_mb
        self.texts, self.query, self.notes = list(texts), query, list[str]()
        self.other = [text for text in texts if text not in self.known]
        self._lifted: tuple[Tensor, Tensor] | None = None

    def __call__(self, view: View, appearance: Tensor, words: Sequence[str]) -> Tensor:
        """Probability [H, W, Q] of words, in main memory; drawn in parts."""
        if self.other and self._lifted is None:
            answer = self.query().query(self.other, size=16)
            self.notes, self._lifted = list(answer.notes), (answer.probability, answer.confidence)
        frame = torch.zeros(view.height, view.width, len(words))
        lifted = [(place, self.known.index(word)) for place, word in enumerate(words) if word in self.known]
        asked = [(place, self.other.index(word)) for place, word in enumerate(words) if word not in self.known]
        for part, (rows, columns) in view_tiles(view, BASE_CHANNELS + 2 * max(len(self.known), len(words)), self.memory_mb):
            if lifted:
                said, _ = self.head.render(self.field, part, appearance)
                for place, column in lifted:
                    frame[rows, columns, place] = said[..., column].cpu()
            if asked and self._lifted is not None:
                probability, confidence = (t[:, [c for _, c in asked]].to(appearance.device) for t in self._lifted)
                said, _ = render_known(self.field, part, appearance, probability, confidence)
                for number, (place, _) in enumerate(asked):
                    frame[rows, columns, place] = said[..., number]
        return frame
