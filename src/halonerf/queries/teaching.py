"""Concepts that a user teaches an open scene, by annotating its photos and renderings.

Every annotation is saved, and its concept is fitted again at once: a few annotated pixels and the features of the
indexed photos, from the encodings that text queries use, give a probability of every element of the field. Where the
annotations correct a word, what the segmenter finds for it counts, too.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from halonerf.annotations import (
    RENDERING_PX,
    Annotation,
    AnnotationSet,
    annotated_regions,
    require_interactive_segmenter,
)
from halonerf.errors import BadInput, require
from halonerf.expressions import read_texts
from halonerf.factory import build
from halonerf.files import atomic_folder
from halonerf.lifting import render_known
from halonerf.protocols import FeatureSegmenter, FewShotHead, FewShotMode, InteractiveSegmenter
from halonerf.queries.session import QuerySession
from halonerf.thresholds import Decision, decide
from halonerf.types import View

KEPT_CONCEPTS = 64  # fitted ones
MAX_NAME_BYTES = 200  # of a folder, in UTF-8
UNSAFE = re.compile(r"[/\\\0]|^\.+|\.+$")  # what a folder's name may not have


@dataclass(frozen=True)
class TaughtConcept:
    """What is believed of a taught concept.

    probability, confidence: [E] each, of the field's elements. decision: how the probability is read.
    photos: names of the annotated photos. corrected: whether the annotations correct a word's result.
    seconds: that fitting took.
    """

    concept: str
    probability: Tensor
    confidence: Tensor
    decision: Decision
    photos: list[str]
    corrected: bool
    seconds: float


class TeachingSession:
    """The annotations of an open scene, and the concepts that they teach.

    Args:
        session: the open scene; its segmenter must be a `FeatureSegmenter`.
        path: file of the annotations; read where it is there, and written after every change.
        head: config of a `FewShotHead`.
        interactive_segmenter: gives the masks that annotations with snap "sam" are extended to; None: these count as
            drawn, and none can be drawn; merged ones are kept.

    Raises: BadInput: another segmenter or head, or a file that is not one of annotations.
    """

    def __init__(
        self,
        session: QuerySession,
        path: Path,
        head: Mapping[str, Any],
        interactive_segmenter: InteractiveSegmenter | None = None,
    ) -> None:
        self.session, self.path = session, Path(path)
        self.annotations = self._stored()
        segmenter, built = session.word_maps.segmenter, build(head)
        if not isinstance(segmenter, FeatureSegmenter):
            raise BadInput(
                f"expected a segmenter with dense features, got {type(segmenter).__name__}, which has "
                "none.\nUse one that has: segmenter=timm_text"
            )
        if not isinstance(built, FewShotHead):
            raise BadInput(
                f"expected a head that learns from annotations, got {head['_target_']}.\n"
                "Use halonerf.heads.FewShot; for the window: head@taught_head=fewshot"
            )
        self.head: FewShotHead = built
        self.interactive_segmenter = interactive_segmenter
        if isinstance(interactive_segmenter, nn.Module):
            interactive_segmenter.to(session.device)
        self._taught: OrderedDict[str, TaughtConcept] = OrderedDict()
        self._lift_features(segmenter)

    @property
    def corrected(self) -> frozenset[str]:
        """The concepts whose annotations correct what the segmenter finds for that word."""
        return self.annotations.corrected

    @property
    def mode(self) -> FewShotMode:
        """What annotations teach: see `halonerf.heads.FewShot`. Setting it forgets what was fitted."""
        return self.head.mode

    @mode.setter
    def mode(self, mode: FewShotMode) -> None:
        if mode not in get_args(FewShotMode):
            raise BadInput(f"expected one of {', '.join(get_args(FewShotMode))}; got '{mode}'")
        self.head.mode = mode
        self._taught.clear()

    def annotate(self, annotation: Annotation) -> TaughtConcept:
        """Save an annotation, and fit its concept again.

        Raises: BadInput: the photo is not of the scene, or the annotation needs SAM.
        """
        if annotation.photo is not None:
            self._view(annotation.photo)
        if annotation.camera is not None and not annotation.camera.reconstruction:
            camera = annotation.camera.model_copy(update={"reconstruction": self._reconstruction})
            annotation = annotation.model_copy(update={"camera": camera})
        if annotation.snap == "superpixels":
            require("skimage", "viewer")
        require_interactive_segmenter([annotation], self.interactive_segmenter)

        def added(stored: AnnotationSet) -> AnnotationSet:
            stored.add(annotation)
            return stored

        self._change(added)
        return self.fit(annotation.concept)

    def correct(self, concept: str, on: bool = True) -> TaughtConcept | None:
        """Let the annotations of a concept correct what the segmenter finds for that word, or stand alone.

        Returns: the concept, fitted again; None where nothing that counts in this scene is annotated.

        Raises: BadInput: the concept is no word, or no expression of words, that can be looked for.
        """
        if on:
            read_texts(concept, self.session.concepts)

        def corrected(stored: AnnotationSet) -> AnnotationSet:
            stored.corrected = stored.corrected | {concept} if on else stored.corrected - {concept}
            return stored

        self._change(corrected)
        return self.taught(concept) if concept in self._usable_concepts() else None

    def remove(self, identifier: str) -> TaughtConcept | None:
        """Remove an annotation by its id.

        Returns: its concept, fitted again; None where nothing of it is left that counts in this scene.

        Raises: BadInput: there is no such annotation.
        """
        concepts = []

        def removed(stored: AnnotationSet) -> AnnotationSet:
            found = stored.remove(identifier)
            if found is None:
                raise BadInput(f"expected the id of an annotation, got '{identifier}', which is of none")
            concepts.append(found.concept)
            return stored

        self._change(removed)
        return self.taught(concepts[0]) if concepts[0] in self._usable_concepts() else None

    def merge(self, other: AnnotationSet) -> list[str]:
        """Add the annotations of another set, of photos of this scene; the concepts that changed.

        Annotations of renderings are kept; they count where they are of this reconstruction.
        """
        of_scene = other.of_photos(set(self.session.data.names))
        return sorted(self._change(lambda stored: stored.merged(of_scene)))

    def taught(self, concept: str) -> TaughtConcept:
        """What is believed of a concept, fitted where it was not yet. Raises: BadInput: nobody annotated it."""
        return self._taught[concept] if concept in self._taught else self.fit(concept)

    @torch.no_grad()
    def fit(self, concept: str) -> TaughtConcept:
        """Fit a concept to its annotations. Raises: BadInput: nobody annotated it."""
        pictures = list(self._annotated(concept))
        if not pictures:
            known = ", ".join(self._usable_concepts()) or "none yet"
            raise BadInput(f"expected an annotated concept, got '{concept}'; annotated are: {known}")
        start = time.perf_counter()
        maps = [torch.from_numpy(positive)[..., None].float() for _, positive, _ in pictures]
        weights = [torch.from_numpy(positive | negative)[..., None].float() for _, positive, negative in pictures]
        evidence = self.session.query(concept, max_parts=0).probability if concept in self.corrected else None
        self.head.fit(self.session.field, [view for view, *_ in pictures], maps, weights, evidence)
        probability, confidence = self.head.probabilities()[:, 0].cpu(), self.head.confidence()[:, 0].cpu()
        decision = decide(probability.numpy(), confidence.numpy())
        seconds = time.perf_counter() - start
        photos, corrected = self.annotations.photos(concept), concept in self.corrected
        self._taught[concept] = TaughtConcept(concept, probability, confidence, decision, photos, corrected, seconds)
        while len(self._taught) > KEPT_CONCEPTS:
            self._taught.popitem(last=False)
        return self._taught[concept]

    def _annotated(self, concept: str) -> Iterator[tuple[View, NDArray[np.bool_], NDArray[np.bool_]]]:
        """The pictures on which a concept was annotated: camera, and the pixels of either sign, [H, W]."""
        for name in self.annotations.photos(concept):
            view = self.session.data.views[self._view(name)]
            yield view, *self._regions(concept, name, view.width, view.height)
        for camera in self.annotations.cameras(concept):
            if camera.reconstruction == self._reconstruction:
                view = camera.view().within(RENDERING_PX)
                annotations = self.annotations.of(concept, camera)
                yield view, *annotated_regions(annotations, view.width, view.height)

    def _regions(
        self, concept: str, photo: str, width: int, height: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The pixels of a photo at its working size that are annotated as positive and as negative."""

        def picture() -> NDArray[np.uint8]:
            pixels: NDArray[np.uint8] = self.session.data.photo(self._view(photo)).numpy()
            return pixels

        entries = self.annotations.of(concept, photo)
        return annotated_regions(entries, width, height, picture, self.interactive_segmenter)

    def next_photos(self, concept: str, count: int = 5) -> list[str]:
        """Names of photos that are not annotated yet, those first in which most is undecided (`undecided_share`)."""
        found = self.taught(concept)
        views, share = self.session.visibility
        amount = undecided_share(found.probability, found.confidence, found.decision.threshold, share)
        names = [self.session.data.names[views[k]] for k in amount.argsort(descending=True, stable=True).tolist()]
        return [name for name in names if name not in found.photos][:count]

    @torch.no_grad()
    def probability_map(self, concept: str, photo: str) -> np.ndarray:
        """Probability of a concept in a photo's view at working size, float32 [H, W] in [0, 1]."""
        found, view = self.taught(concept), self._view(photo)
        field, camera = self.session.field, self.session.data.views[view]
        columns = found.probability[:, None], found.confidence[:, None]
        probability, _ = render_known(field, camera.to(self.session.device), field.appearance(photo), *columns)
        return probability[..., 0].numpy()

    def export_masks(self, folder: Path) -> list[Path]:
        """Write the annotated photos' masks, `<concept>/<photo>.png` on the upright photo; replaces `folder`.

        White is what the concept's probability marks, corrected by the annotations themselves. `segmenter=masks` and
        `evaluate.masks` read such folders. Returns: the files.
        """
        written = []
        taken: set[str] = set()
        with atomic_folder(folder) as fresh:
            for concept in self._usable_concepts():
                parent = folder_name(concept, taken)
                threshold = self.taught(concept).decision.threshold
                for photo in self.annotations.photos(concept):
                    mask = self.probability_map(concept, photo) >= threshold
                    regions = self._regions(concept, photo, mask.shape[1], mask.shape[0])
                    corrected = ((mask | regions[0]) & ~regions[1]).astype(np.uint8) * 255
                    path = Path(parent, photo).with_suffix(".png")
                    (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                    upright = self.session.data.on_upright_photo(self._view(photo), corrected)
                    Image.fromarray(upright).save(fresh / path)
                    written.append(folder / path)
        return written

    def _usable_concepts(self) -> list[str]:
        return self.annotations.usable_concepts(self.session.data.names, self._reconstruction)

    @property
    def _reconstruction(self) -> str:
        return self.session.inputs["ingest"].name

    def _view(self, photo: str) -> int:
        names = self.session.data.names
        if photo not in names:
            raise BadInput(f"expected the name of a photo of the scene such as {', '.join(names[:3])}; got '{photo}'")
        return self.session.data.index(photo)

    def _stored(self) -> AnnotationSet:
        return AnnotationSet.load(self.path) if self.path.is_file() else AnnotationSet()

    def _change(self, change: Callable[[AnnotationSet], AnnotationSet]) -> set[str]:
        """Change the stored annotations, which other processes may have changed, too; the concepts that differ now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            changed = change(self._stored())
            changed.save(self.path)
        different = self.annotations.differing(changed)
        self.annotations = changed
        for concept in different:
            self._taught.pop(concept, None)
        return different

    def _lift_features(self, segmenter: FeatureSegmenter) -> None:
        """Features of the elements, from the encodings of the indexed photos."""
        session = self.session
        encodings = (session.word_maps.stacked([number]) for number in range(len(session.photos)))
        maps = [[segmenter.dense_features(encoding)[0].cpu()] for encoding in encodings]
        cameras = [photo.camera for photo in session.photos]
        self.head.lift_features(session.lifter, cameras, maps, [torch.ones(c.height, c.width) for c in cameras])


def folder_name(concept: str, taken: set[str]) -> str:
    """A folder's name for a concept, possible on every file system and not yet among `taken`, to which it is added."""
    safe = UNSAFE.sub("_", concept).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    names = (safe if number == 1 else f"{safe}_{number}" for number in itertools.count(1))
    name = next(candidate for candidate in names if candidate.casefold() not in taken)
    taken.add(name.casefold())
    return name


def undecided_share(probability: Tensor, confidence: Tensor, threshold: float, share: Tensor) -> Tensor:
    """How much of each view is undecided, [V]: elements count by how near to the threshold their probability is.

    Args:
        probability, confidence: [E]; elements of confidence 0 do not count.
        threshold: in (0, 1); an element counts 1 there and 0 at probability 0 or 1.
        share: of each view's pixels that each element fills, [V, E].
    """
    below = probability < threshold
    distance = torch.where(below, probability / threshold, (1 - probability) / max(1 - threshold, 1e-6))
    return share.float() @ (distance.clamp(0, 1) * (confidence > 0))
