"""A scene that is open for words: everything that no word changes is in memory, so that the next word is quick."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.expressions import Expression, evaluate, normalise_query, parse, read_texts, words
from halonerf.factory import build
from halonerf.lifting import render_known
from halonerf.loading import fitted_scene, open_field, open_segmenter
from halonerf.protocols import FeatureHead, LearntHead, PlacedField, SemanticHead
from halonerf.queries.answer import QueryAnswer, QueryOptions, RenderedMap
from halonerf.queries.connected_parts import ConnectedPart, PartOptions, element_spacing, find_parts
from halonerf.queries.index_files import indexed_field, open_photos, read_visibility
from halonerf.queries.word_maps import CANONICAL, WordMapCache

LIKELIEST = 100  # elements that choose the view where none reaches the threshold
FIRST, WARM = "building", 64  # the word, and px of the map, that warm everything up


class QuerySession:
    """Ask where a word is, again and again.

    Args:
        inputs: finished folders of `ingest`, `reconstruct` and `index`, and of `adapt_segmenter` where its weights are
            used.
        segmenter, field, head: configs, those that made the folders.
        sky: what the sky is called; where it is, nothing else is. None does not ask.
        batch: photos decoded together.
        device: of segmenter and field.

    Raises: BadInput for a head that does not lift maps, or that learns: a word would take its fit.
    """

    def __init__(
        self,
        inputs: Mapping[str, Path],
        segmenter: Mapping[str, Any],
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        sky: str | None = None,
        batch: int = 8,
        device: torch.device | str = "cpu",
    ) -> None:
        start = time.perf_counter()
        self.device, self.head_config, self.inputs = torch.device(device), head, dict(inputs)
        if isinstance(build(head), (LearntHead, FeatureHead)):
            raise BadInput(
                f"expected a head that lifts what a segmenter says of words, got {head['_target_']}, which does not, "
                "or has to learn every word by a fit.\nLift them with: head=lifted"
            )
        self.scene = fitted_scene(inputs)
        self.field = open_field(field, inputs["reconstruct"])
        seer = open_segmenter(segmenter, self.scene, inputs.get("adapt_segmenter"))
        for part in (self.field, seer):
            if isinstance(part, torch.nn.Module):
                part.to(self.device).eval()
        reading = time.perf_counter()
        self.photos = open_photos(inputs["index"], self.scene.views, self.field.elements)
        self.encode_s = time.perf_counter() - reading
        self.seen = read_visibility(inputs["index"])
        self.lifter = indexed_field(self.field)
        self.word_maps = WordMapCache(seer, self.photos, batch, normalise_query(sky) if sky else None, self.device)
        self.centres, self.spacing = self._places()
        self.query(FIRST, size=WARM)
        self.word_maps.forget()
        self.open_s = time.perf_counter() - start

    @torch.no_grad()
    def query(self, text: str | Sequence[str], **options: Any) -> QueryAnswer:
        """Where something is: a word, an expression of words (`halonerf.expressions`), or several of them.

        Args:
            options: those of `halonerf.queries.answer.QueryOptions`.
        Returns: its `seconds` are `decode` (text to maps of the indexed photos), `lift` (maps to elements, expressions
            put together), `render` (elements to the first camera's maps), `total` (from the call to those maps),
            `parts`, `more` (the other cameras' maps) and `encode`: none, the index has encoded the photos.

        Raises: BadInput for a text that is no expression, an unknown photo, or an option out of range.
        """
        start = time.perf_counter()
        asked = QueryOptions(**options)
        texts, expressions = read_texts(text)
        if asked.view is not None and asked.view not in self.scene.names:
            few = ", ".join(self.scene.names[:5])
            raise BadInput(f"expected query.view to be a photo's name such as {few}; got '{asked.view}'")
        every = list(dict.fromkeys(word for expression in expressions for word in words(expression)))
        negatives = [word for negative in asked.negatives for word in words(parse(negative))]
        said = self.word_maps.of(every, [*negatives, *(CANONICAL if asked.relevancy else ())])
        decoded = time.perf_counter()
        probability, confidence = self._lift(every, expressions, said)
        lifted = time.perf_counter()
        views = self._views(probability[:, 0], asked)
        maps = [self._show(views[0], probability, confidence, asked.size)]
        shown = time.perf_counter()
        parts = [self.parts(probability[:, q], confidence[:, q], asked.threshold, asked) for q in range(len(texts))]
        parted = time.perf_counter()
        maps += [self._show(view, probability, confidence, asked.size) for view in views[1:]]
        seconds = {
            "encode": 0.0,
            "decode": decoded - start,
            "lift": lifted - decoded,
            "render": shown - lifted,
            "total": shown - start,
            "parts": parted - shown,
            "more": time.perf_counter() - parted,
        }
        return QueryAnswer(texts, probability, confidence, maps, parts, seconds, list(self._notes(texts, confidence)))

    def describe_parts(self, answer: QueryAnswer) -> list[Any]:
        """The parts of all texts for JSON, in the world's frame and in that of the reconstruction."""
        back = np.linalg.inv(self.scene.scene_from_model.numpy())
        return [
            part.describe(text, self.scene.names, back, self.centres)
            for text, parts in zip(answer.texts, answer.parts, strict=True)
            for part in parts
        ]

    def parts(
        self, probability: Tensor, confidence: Tensor, threshold: float, options: PartOptions
    ) -> list[ConnectedPart]:
        """The connected parts of a text of that probability and confidence, [E] each, from `threshold` on."""
        return find_parts(probability, confidence, self.centres, self.seen, threshold, self.spacing, options)

    def _lift(
        self, every: list[str], expressions: list[Expression], said: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """Probability and confidence of every element and expression, [E, Q] each."""
        head: SemanticHead = build(self.head_config)
        maps, weights = zip(*said, strict=True)
        head.fit(self.lifter, [photo.camera for photo in self.photos], maps, weights)
        values, support = head.probabilities(), head.confidence()
        probability = {word: values[:, column] for column, word in enumerate(every)}
        confidence = {word: support[:, column] for column, word in enumerate(every)}
        found = [evaluate(expression, probability, confidence) for expression in expressions]
        return torch.stack([p for p, _ in found], dim=1), torch.stack([c for _, c in found], dim=1)

    def _views(self, probability: Tensor, asked: QueryOptions) -> list[int]:
        """Whose cameras show the maps: the photo that was named, then those that most of the first text is in."""
        views, share = self.seen
        hot = (probability >= asked.threshold).nonzero()[:, 0]
        if not len(hot):
            hot = probability.topk(min(LIKELIEST, len(probability))).indices
        much = share[:, hot].float() @ probability[hot]
        best = [views[i] for i in much.argsort(descending=True, stable=True).tolist()]
        named = [self.scene.index(asked.view)] if asked.view is not None else []
        return list(dict.fromkeys([*named, *best]))[: asked.views]

    def _show(self, view: int, probability: Tensor, confidence: Tensor, size: int | None) -> RenderedMap:
        camera = self.scene.views[view]
        if size is not None:
            camera = camera.with_long_side(size)
        name = self.scene.names[view]
        maps = render_known(self.field, camera.to(self.device), self.field.appearance(name), probability, confidence)
        return RenderedMap(view, name, *maps)

    def _places(self) -> tuple[Tensor, float]:
        """Where the elements are, world units, and how far apart those that the indexed photos see."""
        if not isinstance(self.field, PlacedField):
            return torch.full((self.field.elements, 3), torch.nan), 0.0
        centres = self.field.element_centres().detach().cpu()
        return centres, element_spacing(centres, (self.seen[1] > 0).any(dim=0))

    def _notes(self, texts: list[str], confidence: Tensor) -> Iterator[str]:
        vocabulary = getattr(self.word_maps.segmenter, "vocabulary", None)
        for text, said in zip(texts, confidence.T, strict=True):
            if not (said > 0).any():
                known = f" The segmenter knows: {', '.join(vocabulary())}." if vocabulary else ""
                yield f"'{text}': nothing is known of it anywhere, which is not a 'no'.{known}"
        if not isinstance(self.field, PlacedField):
            yield f"parts are not sought: {type(self.field).__name__} does not say where its elements are"
