"""Concepts that a user teaches an open scene, by annotating its photos and renderings.

Every annotation is saved, and its concept is fitted again at once: a few annotated pixels and the features of the
indexed photos, from the encodings that text queries use, give a probability of every element of the field. Where the
annotations correct a word, what the segmenter finds for it counts, too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from halonerf.annotations import Annotation, AnnotationSet, annotated_regions
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import atomic_folder
from halonerf.lifting import render_known
from halonerf.protocols import FeatureSegmenter, FewShotHead, FewShotMode
from halonerf.queries.session import QuerySession
from halonerf.thresholds import Decision, decide
from halonerf.types import View

CAMERA_PX = 640  # long side at most at which annotations of renderings are lifted
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

    Raises: BadInput: another segmenter or head, or a file that is not one of annotations.
    """

    def __init__(self, session: QuerySession, path: Path, head: Mapping[str, Any]) -> None:
        self.session, self.path = session, Path(path)
        self.annotations = AnnotationSet.load(self.path) if self.path.is_file() else AnnotationSet()
        segmenter, built = session.word_maps.segmenter, build(head)
        if not isinstance(segmenter, FeatureSegmenter):
            raise BadInput(
                f"expected a segmenter with dense features, got {type(segmenter).__name__}, which has "
                "none.\nUse one that has: segmenter=timm_text"
            )
        if not isinstance(built, FewShotHead):
            raise BadInput(f"expected a head that learns from examples, got {head['_target_']}.\nUse: head=fewshot")
        self.head: FewShotHead = built
        self._taught: dict[str, TaughtConcept] = {}
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

        Raises: BadInput: the photo is not of the scene.
        """
        if annotation.photo is not None:
            self._view(annotation.photo)
        if annotation.camera is not None and not annotation.camera.reconstruction:
            camera = annotation.camera.model_copy(update={"reconstruction": self._reconstruction})
            annotation = annotation.model_copy(update={"camera": camera})
        self.annotations.add(annotation)
        self._save()
        return self.fit(annotation.concept)

    def correct(self, concept: str, on: bool = True) -> TaughtConcept | None:
        """Let the annotations of a concept correct what the segmenter finds for that word, or stand alone.

        Returns: the concept, fitted again; None where nobody annotated it.
        """
        self.annotations.corrected = self.corrected | {concept} if on else self.corrected - {concept}
        self._save()
        return self.fit(concept) if concept in self.annotations.concepts() else None

    def remove(self, identifier: str) -> TaughtConcept | None:
        """Remove an annotation by its id; its concept fitted again, or None where nothing is left of it.

        Raises: BadInput: there is no such annotation.
        """
        removed = self.annotations.remove(identifier)
        if removed is None:
            raise BadInput(f"expected the id of an annotation, got '{identifier}', which is of none")
        self._save()
        if removed.concept in self.annotations.concepts():
            return self.fit(removed.concept)
        self._taught.pop(removed.concept, None)
        return None

    def merge(self, other: AnnotationSet) -> list[str]:
        """Add the annotations of another set, of photos of this scene; the concepts that changed.

        Annotations of renderings are kept; they count where they are of this reconstruction.
        """
        before = {entry.id: entry for entry in self.annotations}
        names, corrected = set(self.session.data.names), self.corrected
        self.annotations = self.annotations.merged(other.of_photos(names))
        self._save()
        after = {entry.id: entry for entry in self.annotations}
        changed = {(before.get(key) or after[key]).concept for key in before.keys() ^ after.keys()}
        changed |= corrected ^ self.corrected
        for concept in changed:
            self._taught.pop(concept, None)
        return sorted(changed)

    def taught(self, concept: str) -> TaughtConcept:
        """What is believed of a concept, fitted where it was not yet. Raises: BadInput: nobody annotated it."""
        return self._taught[concept] if concept in self._taught else self.fit(concept)

    @torch.no_grad()
    def fit(self, concept: str) -> TaughtConcept:
        """Fit a concept to its annotations. Raises: BadInput: nobody annotated it."""
        pictures = list(self._annotated(concept))
        if not pictures:
            known = ", ".join(self.annotations.concepts()) or "none yet"
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
        return self._taught[concept]

    def _annotated(self, concept: str) -> Iterator[tuple[View, NDArray[np.bool_], NDArray[np.bool_]]]:
        """The pictures on which a concept was annotated: camera, and the pixels of either sign, [H, W]."""
        for name in self.annotations.photos(concept):
            view = self.session.data.views[self._view(name)]
            yield view, *self._regions(concept, name, view.width, view.height)
        for camera in self.annotations.cameras(concept):
            if camera.reconstruction == self._reconstruction:
                view = camera.view().within(CAMERA_PX)
                annotations = self.annotations.of(concept, camera)
                yield view, *annotated_regions(annotations, view.width, view.height)

    def _regions(
        self, concept: str, photo: str, width: int, height: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The pixels of a photo at its working size that are annotated as positive and as negative."""

        def picture() -> NDArray[np.uint8]:
            pixels: NDArray[np.uint8] = self.session.data.photo(self._view(photo)).numpy()
            return pixels

        return annotated_regions(self.annotations.of(concept, photo), width, height, picture)

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
        with atomic_folder(folder) as fresh:
            for concept in self.annotations.concepts():
                threshold = self.taught(concept).decision.threshold
                for photo in self.annotations.photos(concept):
                    mask = self.probability_map(concept, photo) >= threshold
                    regions = self._regions(concept, photo, mask.shape[1], mask.shape[0])
                    corrected = ((mask | regions[0]) & ~regions[1]).astype(np.uint8) * 255
                    path = Path(UNSAFE.sub("_", concept), photo).with_suffix(".png")
                    (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                    upright = self.session.data.on_upright_photo(self._view(photo), corrected)
                    Image.fromarray(upright).save(fresh / path)
                    written.append(folder / path)
        return written

    @property
    def _reconstruction(self) -> str:
        return self.session.inputs["ingest"].name

    def _view(self, photo: str) -> int:
        names = self.session.data.names
        if photo not in names:
            raise BadInput(f"expected the name of a photo of the scene such as {', '.join(names[:3])}; got '{photo}'")
        return self.session.data.index(photo)

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.annotations.save(self.path)

    def _lift_features(self, segmenter: FeatureSegmenter) -> None:
        """Features of the elements, from the encodings of the indexed photos."""
        session = self.session
        encodings = (session.word_maps.stacked([number]) for number in range(len(session.photos)))
        maps = [[segmenter.dense_features(encoding)[0].cpu()] for encoding in encodings]
        cameras = [photo.camera for photo in session.photos]
        self.head.lift_features(session.lifter, cameras, maps, [torch.ones(c.height, c.width) for c in cameras])


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
