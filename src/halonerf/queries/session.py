"""A query session: scene, field, segmenter and index in memory, so that each further text query is fast."""

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
from halonerf.protocols import FeatureHead, LearntHead, MaskFolderSegmenter, PlacedField, SemanticHead
from halonerf.queries.answer import QueryAnswer, QueryOptions, RenderedMap
from halonerf.queries.connected_parts import ConnectedPart, PartOptions, element_spacing, find_parts
from halonerf.queries.index_files import indexed_field, open_photos, read_visibility
from halonerf.queries.word_maps import CANONICAL, WordMap, WordMapCache

FALLBACK_ELEMENTS = 100  # most probable ones, which choose the view where none reaches the threshold
WARMUP_WORD, WARMUP_PX = "building", 64  # text prompt, and px of its map, of the query that compiles and warms up


class QuerySession:
    """Answers text queries on one scene.

    Args:
        inputs: finished folders of `ingest`, `reconstruct` and `index`, and of `adapt_segmenter` where its weights are
            used.
        segmenter, field, head: configs, as those folders were made with.
        sky: text prompt for the sky, where the probability of others is lowered. None: no sky.
        batch: photos decoded together.
        device: of segmenter and field.

    Attributes:
        data: the scene (`halonerf.data.scene.scene.Scene`) with the cameras that the field was fitted to.
        photos: the indexed photos.
        visibility: trusted views, and each element's share of each view's pixels, [V, E].
        centres: of the elements, [E, 3], world units, NaN without one. spacing: typical distance between visible
            elements, world units.
        encode_s, open_s: seconds that reading the encodings, and opening as a whole, took.

    Raises: BadInput for a head that does not lift maps, or that would have to be fitted to every query.
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
                f"expected a head that lifts the segmenter's maps, got {head['_target_']}, which does not, or has to "
                "be fitted to every query.\nUse one that lifts: head=lifted"
            )
        self.data = fitted_scene(inputs)
        self.field = open_field(field, inputs["reconstruct"])
        opened = open_segmenter(segmenter, self.data, inputs.get("adapt_segmenter"))
        for part in (self.field, opened):
            if isinstance(part, torch.nn.Module):
                part.to(self.device).eval()
        reading = time.perf_counter()
        self.photos = open_photos(inputs["index"], self.data.views, self.field.elements)
        self.encode_s = time.perf_counter() - reading
        self.visibility = read_visibility(inputs["index"])
        self.lifter = indexed_field(self.field)
        self.word_maps = WordMapCache(opened, self.photos, batch, normalise_query(sky) if sky else None, self.device)
        self.centres, self.spacing = self._element_centres()
        self.query(WARMUP_WORD, size=WARMUP_PX)
        self.word_maps.clear()
        self.open_s = time.perf_counter() - start

    @torch.no_grad()
    def query(self, text: str | Sequence[str], **options: Any) -> QueryAnswer:
        """Find one or several texts, each a word or an expression of words (`halonerf.expressions`), in the scene.

        Args:
            text: Q texts.
            options: see `QueryOptions`.

        The `seconds` of the answer: `decode` (from the text to its maps in the indexed photos), `lift` (to
        probabilities of the elements), `render` (to the first camera's map) and `total`, their sum; then `parts` and
        `more` (the other cameras' maps); `encode` is 0, since the index has encoded the photos.

        Raises: BadInput for an invalid expression, an unknown photo, or an option out of range.
        """
        start = time.perf_counter()
        checked = QueryOptions(**options)
        texts, expressions = read_texts(text)
        if checked.view is not None and checked.view not in self.data.names:
            names = ", ".join(self.data.names[:5])
            raise BadInput(f"expected query.view to be a photo's name such as {names}; got '{checked.view}'")
        prompts = list(dict.fromkeys(word for expression in expressions for word in words(expression)))
        negatives = [word for negative in checked.negatives for word in words(parse(negative))]
        maps = self.word_maps.maps(prompts, [*negatives, *(CANONICAL if checked.relevancy else ())])
        decoded = time.perf_counter()
        probability, confidence = self._lift(prompts, expressions, maps)
        lifted = time.perf_counter()
        views = self._choose_views(probability[:, 0], checked)
        rendered_maps = [self._render(views[0], probability, confidence, checked.size)]
        rendered = time.perf_counter()
        parts = [self.parts(probability[:, q], confidence[:, q], checked.threshold, checked) for q in range(len(texts))]
        parted = time.perf_counter()
        rendered_maps += [self._render(view, probability, confidence, checked.size) for view in views[1:]]
        seconds = {
            "encode": 0.0,
            "decode": decoded - start,
            "lift": lifted - decoded,
            "render": rendered - lifted,
            "total": rendered - start,
            "parts": parted - rendered,
            "more": time.perf_counter() - parted,
        }
        notes = list(self._notes(texts, confidence))
        return QueryAnswer(texts, probability, confidence, rendered_maps, parts, seconds, notes)

    def describe_parts(self, answer: QueryAnswer) -> list[Any]:
        """The parts of all texts for JSON, in the world frame and in the frame of the reconstruction."""
        model_from_scene = np.linalg.inv(self.data.scene_from_model.numpy())
        return [
            part.describe(text, self.data.names, model_from_scene, self.centres)
            for text, parts in zip(answer.texts, answer.parts, strict=True)
            for part in parts
        ]

    def parts(
        self, probability: Tensor, confidence: Tensor, threshold: float, options: PartOptions
    ) -> list[ConnectedPart]:
        """Connected parts of one text from its probability and confidence, [E] each, the most important first."""
        return find_parts(probability, confidence, self.centres, self.visibility, threshold, self.spacing, options)

    def _lift(self, prompts: list[str], expressions: list[Expression], maps: list[WordMap]) -> tuple[Tensor, Tensor]:
        """Probability and confidence of every element and expression, [E, Q] each."""
        head: SemanticHead = build(self.head_config)
        probabilities, weights = zip(*maps, strict=True)
        head.fit(self.lifter, [photo.camera for photo in self.photos], probabilities, weights)
        values, support = head.probabilities(), head.confidence()
        probability = {word: values[:, column] for column, word in enumerate(prompts)}
        confidence = {word: support[:, column] for column, word in enumerate(prompts)}
        results = [evaluate(expression, probability, confidence) for expression in expressions]
        return torch.stack([p for p, _ in results], dim=1), torch.stack([c for _, c in results], dim=1)

    def _choose_views(self, probability: Tensor, options: QueryOptions) -> list[int]:
        """The views to render: that of the named photo, then those that show most of a text's probability [E]."""
        views, share = self.visibility
        hot = (probability >= options.threshold).nonzero()[:, 0]
        if not len(hot):
            hot = probability.topk(min(FALLBACK_ELEMENTS, len(probability))).indices
        amount = share[:, hot].float() @ probability[hot]
        best = [views[i] for i in amount.argsort(descending=True, stable=True).tolist()]
        named = [self.data.index(options.view)] if options.view is not None else []
        return list(dict.fromkeys([*named, *best]))[: options.views]

    def _render(self, view: int, probability: Tensor, confidence: Tensor, size: int | None) -> RenderedMap:
        camera = self.data.views[view]
        if size is not None:
            camera = camera.with_long_side(size)
        name = self.data.names[view]
        maps = render_known(self.field, camera.to(self.device), self.field.appearance(name), probability, confidence)
        return RenderedMap(view, name, *maps)

    def _element_centres(self) -> tuple[Tensor, float]:
        """The elements' centres [E, 3] and the spacing of the visible ones, world units."""
        if not isinstance(self.field, PlacedField):
            return torch.full((self.field.elements, 3), torch.nan), 0.0
        centres = self.field.element_centres().detach().cpu()
        return centres, element_spacing(centres, (self.visibility[1] > 0).any(dim=0))

    def _notes(self, texts: list[str], confidence: Tensor) -> Iterator[str]:
        segmenter = self.word_maps.segmenter
        vocabulary = segmenter.vocabulary() if isinstance(segmenter, MaskFolderSegmenter) else ()
        for text, support in zip(texts, confidence.T, strict=True):
            if not (support > 0).any():
                known = f" The segmenter knows: {', '.join(vocabulary)}." if vocabulary else ""
                yield f"'{text}': unknown everywhere, which does not mean absent.{known}"
        if not isinstance(self.field, PlacedField):
            yield f"no parts: the elements of {type(self.field).__name__} have no centres"
