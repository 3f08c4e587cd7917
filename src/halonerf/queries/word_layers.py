"""Probabilities of words: concepts as `localize` fitted them, any other words lifted from the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from halonerf.lifting import render_known
from halonerf.protocols import RadianceField, SemanticHead
from halonerf.queries.session import WARMUP_PX, QuerySession
from halonerf.rendering.tiles import BASE_CHANNELS, view_tiles
from halonerf.thresholds import Decision, decide
from halonerf.types import View


class WordLayers:
    """Localized concepts and further words, together.

    Args:
        head: that `localize` fitted.
        concepts: that the head was fitted to, in its order.
        texts: concepts, words and expressions of words; repeated ones count once.
        open_session: opens the query session; called once, and only where a text is not a concept.

    Attributes:
        texts: Q distinct texts, in order.
        columns: of each text, its position in `concepts`; None for one that is lifted from the index.
    """

    def __init__(
        self,
        head: SemanticHead,
        concepts: Sequence[str],
        texts: Sequence[str],
        open_session: Callable[[], QuerySession],
    ) -> None:
        self.texts = list(dict.fromkeys(texts))
        position = {concept: column for column, concept in enumerate(concepts)}
        self.columns = [position.get(text) for text in self.texts]
        self.notes: list[str] = []  # of the query, once the session was opened
        self._head, self._concepts, self._open_session = head, len(concepts), open_session

    @cached_property
    def elements(self) -> tuple[Tensor, Tensor]:
        """Probability and confidence of the field's elements, [E, Q] each, in main memory; both 0 where unknown."""
        columns = [column for column in self.columns if column is not None]
        parts = [(self._head.probabilities().cpu()[:, columns], self._head.confidence().cpu()[:, columns])]
        if self._others:
            parts.append(self._lifted)
        order = sorted(range(len(self.texts)), key=lambda number: self.columns[number] is None)  # as in `parts`
        places = [order.index(number) for number in range(len(self.texts))]
        probability, confidence = (torch.cat(values, dim=1)[:, places] for values in zip(*parts, strict=True))
        return probability, confidence

    @cached_property
    def decisions(self) -> list[Decision]:
        """How each text's probabilities are read."""
        return [decide(p.numpy(), c.numpy()) for p, c in zip(*(part.T for part in self.elements), strict=True)]

    def render(
        self, field: RadianceField, view: View, appearance: Tensor, texts: Sequence[str], memory_mb: float
    ) -> Tensor:
        """Probability [H, W, P] of some of the texts in a view, in main memory.

        appearance: [A]. memory_mb: MB that rendering a part of the view may take.
        """
        columns = [self.columns[self.texts.index(text)] for text in texts]
        frame = torch.zeros(view.height, view.width, len(texts))
        fitted = [(place, column) for place, column in enumerate(columns) if column is not None]
        if fitted:
            for part, (rows, cols) in view_tiles(view, BASE_CHANNELS + 2 * self._concepts, memory_mb):
                probability, _ = self._head.render(field, part, appearance)
                for place, column in fitted:
                    frame[rows, cols, place] = probability[..., column].cpu()
        others = [place for place, column in enumerate(columns) if column is None]
        if others:
            chosen = [self._others.index(texts[place]) for place in others]
            probability, confidence = (values[:, chosen] for values in self._lifted)
            frame[..., others] = render_elements(field, view, appearance, probability, confidence, memory_mb)
        return frame

    @property
    def _others(self) -> list[str]:
        return [text for text, column in zip(self.texts, self.columns, strict=True) if column is None]

    @cached_property
    def _lifted(self) -> tuple[Tensor, Tensor]:
        """Probability and confidence of the elements for `_others`, [E, number of others] each."""
        answer = self._open_session().query(self._others, size=WARMUP_PX)
        self.notes = list(answer.notes)
        return answer.probability.cpu(), answer.confidence.cpu()


@torch.no_grad()
def render_elements(
    field: RadianceField, view: View, appearance: Tensor, probability: Tensor, confidence: Tensor, memory_mb: float
) -> Tensor:
    """Probability [H, W, P] in a view of elements' probability and confidence [E, P], rendered in parts.

    As `halonerf.lifting.render_known`, within `memory_mb` MB besides the result, which is in main memory.
    """
    frame = torch.zeros(view.height, view.width, probability.shape[1])
    probability, confidence = (values.to(appearance.device) for values in (probability, confidence))
    for part, (rows, columns) in view_tiles(view, BASE_CHANNELS + 2 * probability.shape[1], memory_mb):
        frame[rows, columns] = render_known(field, part, appearance, probability, confidence)[0]
    return frame
