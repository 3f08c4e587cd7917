"""Concepts that a user teaches an open scene, by annotating its photos.

Every annotation is saved, and its concept is fitted again at once: a few annotated pixels and the features of the
indexed photos, from the encodings that text queries use, give a probability of every element of the field.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.annotations import Annotation, AnnotationSet, annotated_regions
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import atomic_folder
from halonerf.lifting import render_known
from halonerf.protocols import FeatureSegmenter, FewShotHead
from halonerf.queries.session import QuerySession
from halonerf.thresholds import Decision, decide

UNSAFE = re.compile(r"[/\\\0]|^\.+|\.+$")  # what a folder's name may not have


@dataclass(frozen=True)
class TaughtConcept:
    """What is believed of a taught concept.

    probability, confidence: [E] each, of the field's elements. decision: how the probability is read.
    photos: names of the annotated photos. seconds: that fitting took.
    """

    concept: str
    probability: Tensor
    confidence: Tensor
    decision: Decision
    photos: list[str]
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

    def annotate(self, annotation: Annotation) -> TaughtConcept:
        """Save an annotation, and fit its concept again.

        Raises: BadInput: the photo is not of the scene.
        """
        self._view(annotation.photo)
        self.annotations.add(annotation)
        self._save()
        return self.fit(annotation.concept)

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
        """Add the annotations of another set, of photos of this scene; the concepts that changed."""
        before = {entry.id: entry for entry in self.annotations}
        names = set(self.session.data.names)
        self.annotations = self.annotations.merged(other.of_photos(names))
        self._save()
        after = {entry.id: entry for entry in self.annotations}
        changed = {(before.get(key) or after[key]).concept for key in before.keys() ^ after.keys()}
        for concept in changed:
            self._taught.pop(concept, None)
        return sorted(changed)

    def taught(self, concept: str) -> TaughtConcept:
        """What is believed of a concept, fitted where it was not yet. Raises: BadInput: nobody annotated it."""
        return self._taught[concept] if concept in self._taught else self.fit(concept)

    @torch.no_grad()
    def fit(self, concept: str) -> TaughtConcept:
        """Fit a concept to its annotations. Raises: BadInput: nobody annotated it."""
        photos = self.annotations.photos(concept)
        if not photos:
            known = ", ".join(self.annotations.concepts()) or "none yet"
            raise BadInput(f"expected an annotated concept, got '{concept}'; annotated are: {known}")
        start = time.perf_counter()
        views, maps, weights = [], [], []
        for name in photos:
            view = self.session.data.views[self._view(name)]
            positive, negative = annotated_regions(self.annotations.of(concept, name), view.width, view.height)
            views.append(view)
            maps.append(torch.from_numpy(positive)[..., None].float())
            weights.append(torch.from_numpy(positive | negative)[..., None].float())
        self.head.fit(self.session.field, views, maps, weights)
        probability, confidence = self.head.probabilities()[:, 0].cpu(), self.head.confidence()[:, 0].cpu()
        decision = decide(probability.numpy(), confidence.numpy())
        seconds = time.perf_counter() - start
        self._taught[concept] = TaughtConcept(concept, probability, confidence, decision, photos, seconds)
        return self._taught[concept]

    def next_photos(self, concept: str, count: int = 5) -> list[str]:
        """Names of photos that are not annotated yet, those first in which most is undecided.

        An element is undecided as far as its probability is near the concept's threshold; a photo counts its elements
        by the share of it that they fill.
        """
        found = self.taught(concept)
        views, share = self.session.visibility
        limit = found.decision.threshold
        below = found.probability < limit
        distance = torch.where(below, found.probability / limit, (1 - found.probability) / max(1 - limit, 1e-6))
        undecided = distance.clamp(0, 1) * (found.confidence > 0)  # 1 at the threshold, 0 at either end
        amount = share.float() @ undecided
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
                    regions = annotated_regions(self.annotations.of(concept, photo), mask.shape[1], mask.shape[0])
                    corrected = ((mask | regions[0]) & ~regions[1]).astype(np.uint8) * 255
                    path = Path(UNSAFE.sub("_", concept), photo).with_suffix(".png")
                    (fresh / path).parent.mkdir(parents=True, exist_ok=True)
                    upright = self.session.data.on_upright_photo(self._view(photo), corrected)
                    Image.fromarray(upright).save(fresh / path)
                    written.append(folder / path)
        return written

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
