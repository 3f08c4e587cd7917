"""A query session: scene, field, segmenter and index in memory, so that each further text query is fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.data.formats.probability_maps import read_concepts
from halonerf.errors import BadInput
from halonerf.expressions import evaluate, normalise_query, parse, read_texts, words
from halonerf.factory import build
from halonerf.lifting import render_known
from halonerf.loading import fitted_scene, open_field, open_head, open_segmenter
from halonerf.prediction import untaught_notes
from halonerf.protocols import FeatureHead, FewShotHead, LearntHead, MaskFolderSegmenter, PlacedField, SemanticHead
from halonerf.queries.answer import QueryAnswer, QueryOptions, RenderedMap
from halonerf.queries.connected_parts import ConnectedPart, PartFinder, PartOptions
from halonerf.queries.index_files import indexed_field, open_photos, read_visibility
from halonerf.queries.part_tables import with_sizes
from halonerf.queries.word_maps import CANONICAL, WordMap, WordMapCache
from halonerf.thresholds import Decision, decide

FALLBACK_ELEMENTS = 100  # most probable ones, which choose the view where none reaches the threshold
WARMUP_WORD, WARMUP_PX = "building", 64  # text prompt, and px of its map, of the query that compiles and warms up


class QuerySession:
    """Answers text queries on one scene.

    Args:
        inputs: finished folders of `ingest`, `reconstruct` and `index`; of `localize`, whose concepts are then answered
            with what it lifted from all photos; and of `adapt_segmenter` where its weights are used.
        segmenter, field, head: configs, as those folders were made with.
        sky: text prompt for the sky, where the probability of others is lowered. None: no sky.
        batch: photos decoded together.
        device: of segmenter and field.

    Attributes:
        data: the scene (`halonerf.data.scene.scene.Scene`) with the cameras that the field was fitted to.
        photos: the indexed photos. concepts: those that `localize` lifted.
        visibility: trusted views, and each element's share of each view's pixels, [V, E].
        finder: finds connected parts.
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
        self.finder = PartFinder(self.field)
        self.concepts: list[str] = read_concepts(inputs["localize"]) if "localize" in inputs else []
        self._concept_head = open_head(head, inputs["localize"]) if self.concepts else None
        self.query(WARMUP_WORD, size=WARMUP_PX)
        self.word_maps.clear()
        self.open_s = time.perf_counter() - start

    @torch.no_grad()
    def query(
        self, text: str | Sequence[str], progress: Callable[[float], None] | None = None, **options: Any
    ) -> QueryAnswer:
        """Find one or several texts, each a word or an expression of words (`halonerf.expressions`), in the scene.

        Args:
            text: Q texts.
            progress: called with the share of the photos in which the text has been decoded, as it grows.
            options: see `QueryOptions`.

        The `seconds` of the answer: `decode` (from the text to its maps in the indexed photos), `lift` (to
        probabilities of the elements), `render` (to the first camera's map) and `total`, their sum; then `parts` and
        `more` (the other cameras' maps); `encode` is 0, since the index has encoded the photos.

        Raises: BadInput for an invalid expression, an unknown photo, or an option out of range.
        """
        start = time.perf_counter()
        checked = QueryOptions(**options)
        texts, expressions = read_texts(text, self.concepts)
        if checked.view is not None and checked.view not in self.data.names:
            names = ", ".join(self.data.names[:5])
            raise BadInput(f"expected query.view to be a photo's name such as {names}; got '{checked.view}'")
        prompts = list(dict.fromkeys(word for expression in expressions for word in words(expression)))
        negatives = [word for negative in checked.negatives for word in words(parse(negative))]
        negatives += CANONICAL if checked.relevancy else ()
        known = set() if negatives else set(self.concepts)
        others = [word for word in prompts if word not in known]
        maps = self.word_maps.maps(others, negatives, progress) if others else []
        decoded = time.perf_counter()
        values = {**self._lift(others, maps), **self._localized([word for word in prompts if word in known])}
        word_probability, word_confidence = ({word: pair[k] for word, pair in values.items()} for k in (0, 1))
        results = [evaluate(expression, word_probability, word_confidence) for expression in expressions]
        probability, confidence = (torch.stack(column, dim=1) for column in zip(*results, strict=True))
        lifted = time.perf_counter()
        columns = zip(probability.T.cpu().numpy(), confidence.T.cpu().numpy(), strict=True)
        decisions = [decide(*column, checked.threshold) for column in columns]
        views = self._choose_views(probability[:, 0], confidence[:, 0], decisions[0], checked)
        rendered_maps = [self._render(views[0], probability, confidence, checked.size)]
        rendered = time.perf_counter()
        parts = [self.parts(probability[:, q], confidence[:, q], decisions[q], checked) for q in range(len(texts))]
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
        given = [word for word in (*prompts, *negatives) if word not in CANONICAL]
        untaught = untaught_notes(self.word_maps.segmenter, list(dict.fromkeys(given)))
        notes = [*untaught, *self._notes(texts, confidence), *guess_notes(texts, decisions)]
        return QueryAnswer(texts, probability, confidence, rendered_maps, parts, decisions, seconds, notes)

    def describe_parts(
        self, text: str, parts: Sequence[ConnectedPart], part_radius: float, metres_per_unit: float | None = None
    ) -> list[dict[str, Any]]:
        """The parts of a text for JSON, in the world frame and in the frame of the reconstruction, with their sizes.

        part_radius: with which they were found, see `PartOptions`. metres_per_unit: of the world; None: unknown.
        """
        model_from_scene, centres = np.linalg.inv(self.data.scene_from_model.numpy()), self.finder.centres
        spacing, places = self.finder.spacing, centres.double().numpy()
        rows = (part.describe(text, self.data.names, model_from_scene, centres) for part in parts)
        return [
            with_sizes(row, part, places, part_radius * spacing, spacing, metres_per_unit)
            for row, part in zip(rows, parts, strict=True)
        ]

    def parts(
        self, probability: Tensor, confidence: Tensor, decision: Decision, options: PartOptions
    ) -> list[ConnectedPart]:
        """Connected parts of one text from its probability and confidence, [E] each: see `PartFinder.find`."""
        return self.finder.find(probability, confidence, decision, self.visibility, options)

    def _lift(self, prompts: list[str], maps: list[WordMap]) -> dict[str, tuple[Tensor, Tensor]]:
        """Probability and confidence of every element, [E] each, of words that are lifted from the indexed photos."""
        if not prompts:
            return {}
        head: SemanticHead = build(self.head_config)
        if isinstance(head, FewShotHead):  # other words than its concepts are not annotated
            if taught := [prompt for prompt in prompts if prompt in self.concepts]:
                raise BadInput(
                    f"expected neither query.negatives nor query.relevancy for '{taught[0]}', which was learnt from "
                    "annotations: there are no maps of it to compare.\nQuery without them: query.negatives=[] "
                    "query.relevancy=false"
                )
            unknown = torch.zeros(self.field.elements)
            return dict.fromkeys(prompts, (unknown, unknown))
        probabilities, weights = zip(*maps, strict=True)
        head.fit(self.lifter, [photo.camera for photo in self.photos], probabilities, weights)
        return dict(zip(prompts, zip(head.probabilities().T, head.confidence().T, strict=True), strict=True))

    def _localized(self, concepts: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
        """Probability and confidence of every element, [E] each, of concepts that `localize` lifted from all photos."""
        if self._concept_head is None or not concepts:
            return {}
        values = self._concept_head.probabilities().cpu(), self._concept_head.confidence().cpu()
        columns = [self.concepts.index(concept) for concept in concepts]
        return {name: (values[0][:, k], values[1][:, k]) for name, k in zip(concepts, columns, strict=True)}

    def _choose_views(
        self, probability: Tensor, confidence: Tensor, decision: Decision, options: QueryOptions
    ) -> list[int]:
        """The views to render: that of the named photo, then those that show most of a text's probability [E]."""
        views, share = self.visibility
        hot = ((probability >= decision.threshold) & (confidence > 0)).nonzero()[:, 0]
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

    def _notes(self, texts: list[str], confidence: Tensor) -> Iterator[str]:
        for text, support in zip(texts, confidence.T, strict=True):
            if not (support > 0).any():
                segmenter = self.word_maps.segmenter
                vocabulary = segmenter.vocabulary() if isinstance(segmenter, MaskFolderSegmenter) else ()
                known = f" The segmenter knows: {', '.join(vocabulary)}." if vocabulary else ""
                yield f"'{text}': unknown everywhere, which does not mean absent.{known}"
        if not isinstance(self.field, PlacedField):
            yield f"no parts: the elements of {type(self.field).__name__} have no centres"


def guess_notes(texts: Sequence[str], decisions: Sequence[Decision]) -> Iterator[str]:
    """A remark for each text that is nowhere more probable than not."""
    for text, decision in zip(texts, decisions, strict=True):
        if decision.guess:
            yield f"'{text}': a guess, nowhere more probable than {decision.highest:.2f}; only its best part is given."
