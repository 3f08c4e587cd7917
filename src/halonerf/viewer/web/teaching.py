"""Teaching words on the live page: what people marked in photos, and the words that follow from it."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from halonerf.annotations import Annotation, AnnotationSet
from halonerf.annotations.annotation import Snap
from halonerf.annotations.regions import USE_SAM
from halonerf.errors import BadInput
from halonerf.expressions import evaluate, normalise_query, read_texts, words
from halonerf.factory import build
from halonerf.protocols import FeatureSegmenter, FewShotHead, FewShotMode, InteractiveSegmenter
from halonerf.queries.session import guess_notes
from halonerf.queries.teaching import KEPT_CONCEPTS, TaughtConcept, TeachingSession
from halonerf.thresholds import Decision, decide
from halonerf.viewer.engine import BEST_PHOTOS, MAX_TEXT_CHARS, Engine, TextResult
from halonerf.viewer.web.teaching_models import NewAnnotation

ANNOTATIONS, MASKS = "annotations.json", "masks"  # in the viewer's folder
MAX_ANNOTATIONS = 5000  # of a scene: each is drawn anew at every fit of its concept
PROPOSED_PHOTOS = 4


class Teaching:
    """The annotations of the open scene and the words that they teach. Its methods may be called from any thread.

    The first method that needs what photos look like lifts their features, which takes seconds.

    Args:
        engine: the opened scene, which answers with taught words from then on; its lock is held while one is learnt.
        folder: of `annotations.json` and `masks`.
        head: config of a `FewShotHead`; None: nothing can be taught.
        interactive_segmenter: config of an `InteractiveSegmenter`, whose masks marks can snap to; None: they cannot.

    Attributes:
        missing: why nothing can be taught, and what to use instead; None where it can.

    Raises: MissingArtifact, BadInput: the interactive segmenter's weights cannot be read, or it is another component.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        head: Mapping[str, Any] | None,
        interactive_segmenter: Mapping[str, Any] | None = None,
    ) -> None:
        self.engine, self.folder, self._head = engine, Path(folder), head
        self._session: TeachingSession | None = None
        self._stored = AnnotationSet()
        self._results: OrderedDict[str, tuple[TaughtConcept, TextResult]] = OrderedDict()
        self.missing = self._reason()
        self._interactive_segmenter = _built(interactive_segmenter) if self.missing is None else None
        engine.taught = self.find

    @property
    def path(self) -> Path:
        """The file of the annotations."""
        return self.folder / ANNOTATIONS

    @property
    def annotations(self) -> AnnotationSet:
        """What people marked so far."""
        return self._session.annotations if self._session else self._stored

    @property
    def ready(self) -> bool:
        """Whether the features of the photos are lifted."""
        return self._session is not None

    @property
    def mode(self) -> FewShotMode:
        """What annotations teach: see `halonerf.heads.FewShot`."""
        if self._session:
            return self._session.mode
        mode: FewShotMode = (self._head or {}).get("mode", "mixed")
        return mode

    @property
    def snaps(self) -> list[Snap]:
        """What new marks on photos can snap to."""
        every: tuple[Snap, ...] = get_args(Snap)
        return [snap for snap in every if snap != "sam" or self._interactive_segmenter is not None]

    @property
    def reconstruction(self) -> str:
        """Fingerprint of the stage `ingest`, in whose world frame marks on the 3D view are."""
        return self.engine.session.inputs["ingest"].name

    def concepts(self) -> list[str]:
        """The concepts that have marks on photos of this scene, or on the 3D view of this reconstruction."""
        return self.annotations.usable_concepts(self.engine.photos, self.reconstruction)

    def open(self) -> None:
        """Lift the features of the photos, where that is not done yet. Raises: BadInput: nothing can be taught."""
        with self.engine.exclusive():
            self._opened()

    def find(self, text: str) -> TextResult | None:
        """Where a word or an expression is in which words were taught; None where none was.

        Raises: BadInput for a text that is no expression.
        """
        concepts = {normalise_query(concept): concept for concept in self.concepts()}
        if self.missing or not concepts:
            return None
        if normalise_query(text) in concepts:
            return self._taught(concepts[normalise_query(text)])
        (normalised,), (expression,) = read_texts(text, self.engine.session.concepts)
        prompts = words(expression)
        if not concepts.keys() & set(prompts):
            return None
        found = {prompt: self.engine.find(prompt) for prompt in prompts}
        probability, confidence = evaluate(
            expression,
            {word: result.probability for word, result in found.items()},
            {word: result.confidence for word, result in found.items()},
        )
        notes = [note for result in found.values() for note in result.notes]
        seconds = sum(result.seconds for result in found.values())
        return self._result(normalised, probability, confidence, notes, seconds)

    def add(self, wanted: NewAnnotation) -> str:
        """Save an annotation and learn its concept again; the concept.

        Raises: BadInput: the photo is not there, or there are too many annotations.
        """
        annotation = self._annotation(wanted)
        with self.engine.exclusive():
            session = self._opened()
            self._check_count(len(session.annotations) + (annotation not in session.annotations))
            return session.annotate(annotation).concept

    def remove(self, identifier: str) -> tuple[str, bool]:
        """Remove an annotation; its concept, and whether other annotations of it are left.

        Raises: BadInput: there is no such annotation.
        """
        with self.engine.exclusive():
            session = self._opened()
            concept = next((entry.concept for entry in session.annotations if entry.id == identifier), "")
            return concept, session.remove(identifier) is not None

    def merge(self, other: AnnotationSet) -> list[str]:
        """Add another person's annotations; the concepts that changed.

        Raises: BadInput: there are too many, or a concept is longer than a word may be.
        """
        for concept in other.concepts():
            if len(concept) > MAX_TEXT_CHARS or not normalise_query(concept):
                raise BadInput(f"expected concepts of 1 to {MAX_TEXT_CHARS} characters, got one of {len(concept)}")
        with self.engine.exclusive():
            session = self._opened()
            self._check_count(len(session.annotations.merged(other)))
            return session.merge(other)

    def set_mode(self, mode: FewShotMode) -> list[str]:
        """Change what annotations teach; the concepts that changed."""
        with self.engine.exclusive():
            self._opened().mode = mode
            return self.concepts()

    def correct(self, concept: str, on: bool) -> None:
        """Let the annotations of a concept correct what the segmenter finds for that word, or stand alone."""
        with self.engine.exclusive():
            self._opened().correct(normalise_query(concept), on)

    def next_photos(self, concept: str) -> list[int]:
        """Positions of photos without annotations, those first that would tell most about a concept."""
        with self.engine.exclusive():
            names = self._opened().next_photos(concept, PROPOSED_PHOTOS)
        return [self.engine.photos.index(name) for name in names]

    def file(self) -> bytes:
        """The file of the annotations. Raises: BadInput: nobody marked anything yet."""
        if self.missing or not self.path.is_file():
            raise BadInput(self.missing or "expected marks to download, and there are none yet: mark a part first")
        return self.path.read_bytes()

    def masks(self) -> bytes:
        """The masks of all annotated photos, written to `masks` in the folder, as a ZIP file.

        Raises: BadInput: no photo is annotated.
        """
        with self.engine.exclusive():
            session = self._opened()
            if not any(session.annotations.photos(concept) for concept in session.annotations.concepts()):
                raise BadInput("expected photos with marks to make masks of, and there are none yet: mark a part first")
            root = self.folder / MASKS
            written = session.export_masks(root)
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as packed:
                for file in written:
                    packed.write(file, file.relative_to(root).as_posix())
        return buffer.getvalue()

    def _reason(self) -> str | None:
        """Why nothing can be taught, after a look at segmenter and file; None where it can."""
        if self._head is None:
            return "Teaching is switched off (viewer.teaching=null).\nUse: viewer.teaching='${taught_head}'"
        if not isinstance(build(self._head), FewShotHead):
            return f"Words cannot be taught with {self._head['_target_']}.\nUse: head@taught_head=fewshot"
        segmenter = self.engine.session.word_maps.segmenter
        if not isinstance(segmenter, FeatureSegmenter):
            return (
                f"Words cannot be taught with the segmenter of this scene, {type(segmenter).__name__}: it has no "
                "features of photos to learn from.\nUse one that has: segmenter=timm_text"
            )
        try:
            self._stored = AnnotationSet.load(self.path) if self.path.is_file() else AnnotationSet()
        except BadInput as error:
            return str(error)
        return None

    def _opened(self) -> TeachingSession:
        """The session, opened where it is not; inside the engine's lock."""
        if self.missing or self._head is None:
            raise BadInput(self.missing or "nothing can be taught")
        if self._session is None:
            self._session = TeachingSession(self.engine.session, self.path, self._head, self._interactive_segmenter)
        return self._session

    def _annotation(self, wanted: NewAnnotation) -> Annotation:
        fields = wanted.model_dump(exclude={"photo", "camera"}, exclude_none=True)
        photos = self.engine.photos
        if wanted.photo is not None and wanted.photo >= len(photos):
            raise BadInput(f"expected a photo from 0 to {len(photos) - 1}, got {wanted.photo}")
        fields["concept"] = normalise_query(wanted.concept)
        if not fields["concept"]:
            raise BadInput("expected a name for what is marked, got spaces alone")
        fields["photo"] = None if wanted.photo is None else photos[wanted.photo]
        try:
            return Annotation(**fields, camera=wanted.camera)
        except ValidationError as error:
            raise BadInput(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from error

    def _check_count(self, count: int) -> None:
        if count > MAX_ANNOTATIONS:
            raise BadInput(f"expected at most {MAX_ANNOTATIONS:,} marks in a scene, got {count:,}: remove some first")

    @torch.no_grad()
    def _taught(self, concept: str) -> TextResult:
        """What is believed of a concept."""
        with self.engine.exclusive():
            found = self._opened().taught(concept)
        kept = self._results.get(concept)
        if kept is None or kept[0] is not found:
            notes = list(self._notes(found))
            kept = (
                found,
                self._result(concept, found.probability, found.confidence, notes, found.seconds, found.decision),
            )
            self._results[concept] = kept
            while len(self._results) > KEPT_CONCEPTS:
                self._results.popitem(last=False)
        return kept[1]

    def _notes(self, found: TaughtConcept) -> Iterator[str]:
        """Where a concept comes from, and which of its marks count for less than they could."""
        entries = [entry for entry in self.annotations if entry.concept == found.concept]
        marks = f"{len(entries)} mark{'s' * (len(entries) != 1)}"
        yield f"Corrected by {marks}." if found.corrected else f"Taught by {marks}."
        count = sum(entry.snap == "sam" for entry in entries)
        if count and self._interactive_segmenter is None:
            which = f"{count} of them snap{'s' * (count == 1)} to what SAM finds"
            yield f"{which}, which is switched off: of these only what was drawn counts. {USE_SAM}"

    def _result(
        self,
        text: str,
        probability: Tensor,
        confidence: Tensor,
        notes: list[str],
        seconds: float,
        decision: Decision | None = None,
    ) -> TextResult:
        """A result for windows. decision: how the probability is read; None: by its own values."""
        decision = decision or decide(probability.numpy(), confidence.numpy())
        views, share = self.engine.session.visibility
        shown = torch.where((confidence > 0) & (probability >= decision.threshold), probability, 0.0)
        order = (share.float() @ shown).argsort(descending=True, stable=True)[:BEST_PHOTOS]
        photos = [self.engine.photos[views[place]] for place in order.tolist()]
        known = float((confidence > 0).float().mean())
        notes = [*dict.fromkeys(notes), *guess_notes([text], [decision])]
        return TextResult(text, probability, confidence, photos, known, decision, notes, seconds)


def _built(config: Mapping[str, Any] | None) -> InteractiveSegmenter | None:
    segmenter = None if config is None else build(config)
    if config is not None and not isinstance(segmenter, InteractiveSegmenter):
        raise BadInput(
            f"expected an interactive segmenter, which gives masks for points, got {config['_target_']}.\n"
            "Use one: interactive_segmenter=sam"
        )
    return segmenter


def certainty(found: TextResult) -> float:
    """Mean probability of the elements at which a text is shown, weighted by confidence; 0 where it is nowhere."""
    weight = found.confidence * (found.probability >= found.decision.threshold)
    total = float(weight.sum())
    return float((weight * found.probability).sum()) / total if total else 0.0
