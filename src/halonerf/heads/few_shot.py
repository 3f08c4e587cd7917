"""A head that learns a concept from a few annotated pixels: what lies there, and everything like it.

Elements under annotations teach a logistic regression on the elements' features, lifted from all photos; its
probabilities are then diffused over the graph of neighbouring elements, together with the annotations themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from halonerf.config.option_types import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Seed
from halonerf.errors import BadInput
from halonerf.heads.aggregation import lift_feature_maps
from halonerf.heads.element_graph import diffused, element_graph
from halonerf.heads.elements import ElementHead, check_supervision
from halonerf.lifting import lift_weighted, ratio
from halonerf.protocols import PlacedField, RadianceField
from halonerf.types import View

Array = NDArray[np.floating]

MIN_PIXELS = 0.05  # annotated px of an element that teaches the classifier
OWN_SHARE = 0.5  # of an element's visible pixels that are annotated alike
FREE_PIXELS, FREE_SHARE = 0.3, 0.1  # px seen, and share annotated at most, of an element that counts as background
MAX_BACKGROUND = 1500  # elements
EXAMPLES = 400.0  # that either class counts as, beside the penalty
FOLDS = 3  # of the cross-validation
CLIP = 4.0  # standard deviations, of features
EVIDENCE_LIMIT = 1e-3  # of a word's probabilities, from 0 and from 1
EVIDENCE_SCALE = 3.0  # of a word's log-odds beside the features


class FewShot(ElementHead):
    """Probabilities from partial annotations and the features of all photos.

    Args:
        mode: "similar", the annotated places and everything like them; "place", the annotated places alone; "mixed",
            the former as far as features predict annotations that they were not taught by (cross-validated).
        regularisation: inverse strength of the regression's penalty (scikit-learn's C).
        background: share in the negatives of unannotated elements of annotated photos, some of which may show the
            concept; the rest are annotated ones. Without annotated ones, all negatives are background.
        components: principal components of the features that are used.
        neighbours: of an element in the graph. contrast: how strongly a difference of features separates neighbours.
        prior_weight: weight of the regression, or of "not there" in mode "place", beside that of neighbours.
        min_confidence: support of an element, in fully opaque pixels, below which it is unknown.
        seed: of the choice of background elements and of the folds.
    """

    version = 2  # all annotated photos count alike
    takes_features: ClassVar[bool] = True

    def __init__(
        self,
        mode: Literal["mixed", "similar", "place"] = "mixed",
        regularisation: PositiveFloat = 0.2,
        background: Fraction = 0.2,
        components: PositiveInt = 64,
        neighbours: PositiveInt = 12,
        contrast: NonNegativeFloat = 1.0,
        prior_weight: PositiveFloat = 0.03,
        min_confidence: NonNegativeFloat = 0.05,
        seed: Seed = 0,
    ) -> None:
        super().__init__(min_confidence)
        self.mode, self.regularisation, self.background = mode, regularisation, background
        self.components, self.neighbours, self.contrast = components, neighbours, contrast
        self.prior_weight, self.seed = prior_weight, seed
        self.features, self.seen = torch.zeros(0, 0), torch.zeros(0)
        self._nodes: NDArray[np.int64] = np.zeros(0, np.int64)  # elements in the graph
        self._places: Array = np.zeros((0, 3))  # of these
        self._graph = csr_array((0, 0))
        self.mixing: list[float] = []  # of each concept of the last fit: share of the regression in the prior

    @torch.no_grad()
    def lift_features(
        self,
        field: RadianceField,
        views: Sequence[View],
        maps: Sequence[Sequence[Tensor]],
        weights: Sequence[Tensor],
    ) -> None:
        """See `halonerf.protocols.FewShotHead`; of several scales, the first is used."""
        total, self.seen = lift_feature_maps(field, views, (scales[0] for scales in maps), weights)
        self.features = principal_components(ratio(total, self.seen[:, None]), self.seen, self.components)
        self._build_graph(field)

    @torch.no_grad()
    def fit(
        self,
        field: RadianceField,
        views: Sequence[View],
        maps: Sequence[Tensor],
        weights: Sequence[Tensor],
        evidence: Tensor | None = None,
    ) -> None:
        """See `halonerf.protocols.FewShotHead`; weights are zero where nothing is annotated.

        Raises: BadInput where there is no view, or views, maps and weights are not as many; before `lift_features`.
        """
        check_supervision(views, maps, weights)
        if len(self.features) != field.elements:
            raise BadInput(
                f"expected features of the field's {field.elements} elements before annotations, got "
                f"{len(self.features)}.\nMake them with: halonerf stage=features"
            )
        examples = lift_annotations(field, views, maps, weights)
        words = [None] * len(examples) if evidence is None else list(evidence.cpu().double().T.numpy())
        columns, self.mixing = map(list, zip(*map(self._predict, examples, words), strict=True))
        self.hold(torch.stack(columns, dim=1), self.seen[:, None].expand(-1, len(columns)).clone())

    def _predict(self, examples: Examples, evidence: Array | None) -> tuple[Tensor, float]:
        """Probability of every element, [E], 0 where features are unknown, and the regression's share in the prior."""
        used = self._nodes
        positive, negative, _ = pixels = [part.numpy()[used] for part in examples]
        features = self.features.numpy()[used]
        if evidence is not None:
            features = np.column_stack([features, evidence_feature(evidence[used])])
        similar, share = np.zeros(len(used)), 0.0
        if self.mode != "place":
            taught = _training_set(pixels, self.background, self.seed)
            if len(taught.positive) and len(taught.negative):
                similar = _regression(features, taught, self.regularisation)
                share = 1.0 if self.mode == "similar" else self._agreement(features, taught)
        prior = share * similar + (1 - share) * (0.0 if evidence is None else evidence[used])
        annotated = positive + negative
        given = np.divide(positive, annotated, out=np.zeros_like(positive), where=annotated > 0)
        values = diffused(self._graph, given, np.minimum(annotated, 1.0), prior, self.prior_weight)
        result = torch.zeros(len(self.features))
        result[torch.from_numpy(used)] = torch.from_numpy(values).float()
        return result, share

    def _build_graph(self, field: RadianceField) -> None:
        """The graph of the elements that have features and, in a field with positions, one."""
        known = (self.seen >= max(self.min_confidence, 1e-6)).numpy()
        centres = field.element_centres().detach().cpu().numpy() if isinstance(field, PlacedField) else None
        if centres is not None:
            known &= np.isfinite(centres).all(axis=1)
        self._nodes = np.flatnonzero(known)
        features = self.features.numpy()[self._nodes]
        self._places = features if centres is None else centres[self._nodes]  # without positions: near in features
        self._graph = element_graph(self._places, features, self.neighbours, self.contrast)

    def _agreement(self, features: Array, taught: TrainingSet) -> float:
        """How well features tell annotations apart that did not teach them, in [0, 1]: 2 a - 1.

        a is the area under the ROC curve, in folds: positive elements by place, so that those that are left out are of
        another instance, or of another end of the same.
        """
        places = self._places[taught.positive]
        count = min(FOLDS, len(np.unique(places, axis=0)))
        if count < 2:
            return 1.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty cluster is as good as none
            _, fold = kmeans2(places, count, minit="++", rng=self.seed)
        other_fold = np.random.default_rng(self.seed).integers(count, size=len(taught.negative))
        areas = []
        for k in range(count):
            rest, left = taught.part(fold != k, other_fold != k), taught.part(fold == k, other_fold == k)
            if min(len(part) for part in (rest.positive, rest.negative, left.positive, left.negative)):
                found = _regression(features, rest, self.regularisation)
                against = left.negative[left.annotated] if left.annotated.any() else left.negative
                values = np.concatenate([found[left.positive], found[against]])
                areas.append(roc_auc_score(np.arange(len(values)) < len(left.positive), values))
        return float(np.clip(2 * np.mean(areas) - 1, 0, 1)) if areas else 1.0


class Examples(NamedTuple):
    """Pixels in which an element is seen, [E] each: annotated as positive, as negative, and all of annotated photos."""

    positive: Tensor
    negative: Tensor
    seen: Tensor


class TrainingSet(NamedTuple):
    """Elements that teach the regression, by index, and their weights; those of either class add up to one.

    annotated: of the negative ones, those that were annotated as such; the others are background.
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    positive_weight: Array
    negative_weight: Array
    annotated: NDArray[np.bool_]

    def part(self, positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> TrainingSet:
        """The chosen elements of either class."""
        return TrainingSet(
            self.positive[positive],
            self.negative[negative],
            self.positive_weight[positive],
            self.negative_weight[negative],
            self.annotated[negative],
        )


@torch.no_grad()
def lift_annotations(
    field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
) -> list[Examples]:
    """The lifted annotations of each of P concepts.

    maps: [H, W, P] in [0, 1] per view. weights: [H, W, P] per view, 0 where nothing is annotated.
    """
    concepts = maps[0].shape[-1]
    positive, negative = (torch.zeros(field.elements, concepts) for _ in range(2))
    seen = torch.zeros(field.elements, concepts)
    for view, values, weight in zip(views, maps, weights, strict=True):
        annotated = weight.flatten(0, 1).any(dim=0).cpu()
        if not annotated.any():
            continue
        sums, support = lift_weighted(field, view, values, weight)
        _, visible = lift_weighted(field, view, torch.zeros_like(weight[..., :1]), torch.ones_like(weight[..., :1]))
        positive, negative = positive + sums, negative + support - sums
        seen += visible * annotated
    negative.clamp_(min=0)
    return [Examples(*(part[:, p] for part in (positive, negative, seen))) for p in range(concepts)]


@torch.no_grad()
def principal_components(features: Tensor, weight: Tensor, count: int) -> Tensor:
    """The first principal components of standardised features, [E, min(count, D)], of mean variance one.

    features: [E, D], clipped at four standard deviations. weight: [E], non-negative; elements of weight 0 are left out.
    """
    share = (weight / weight.sum().clamp(min=1e-12))[:, None].double()
    centred = features.double() - (share * features).sum(dim=0)
    scaled = (centred / (share * centred.square()).sum(dim=0).sqrt().clamp(min=1e-6)).clamp(-CLIP, CLIP)
    _, axes = torch.linalg.eigh(scaled.T @ (share * scaled))
    projected = scaled @ axes.flip(1)[:, :count]
    spread = (share * projected.square()).sum(dim=0).mean().sqrt().clamp(min=1e-6)
    return (projected / spread).float()


def evidence_feature(probability: Array) -> Array:
    """Log-odds of probabilities [N], standardised, and scaled so that the regression's penalty hardly acts on them."""
    bounded = np.clip(probability, EVIDENCE_LIMIT, 1 - EVIDENCE_LIMIT)
    odds = np.log(bounded / (1 - bounded))
    scaled: Array = EVIDENCE_SCALE * (odds - odds.mean()) / max(float(odds.std()), 1e-6)
    return scaled


def _training_set(examples: Sequence[Array], background: float, seed: int) -> TrainingSet:
    """Elements annotated as positive or negative, and a sample of the others in annotated photos as background.

    examples: annotated as positive, as negative, and seen in annotated photos, px, [N] each.
    """
    positive, negated, seen = examples
    inside = np.flatnonzero((positive > MIN_PIXELS) & (positive > OWN_SHARE * seen))
    outside = np.flatnonzero((negated > MIN_PIXELS) & (negated > OWN_SHARE * seen))
    free = np.flatnonzero((seen > FREE_PIXELS) & (positive + negated < FREE_SHARE * seen))
    if len(free) > MAX_BACKGROUND:
        free = np.sort(np.random.default_rng(seed).choice(free, MAX_BACKGROUND, replace=False))
    share = background if len(outside) and len(free) else float(len(free) > 0)
    negative = np.concatenate([outside, free])
    annotated = np.arange(len(negative)) < len(outside)
    weights = np.where(annotated, (1 - share) / max(len(outside), 1), share / max(len(free), 1))
    kept = weights > 0
    equal = np.full(len(inside), 1 / max(len(inside), 1))
    return TrainingSet(inside, negative[kept], equal, weights[kept], annotated[kept])


def _regression(features: Array, taught: TrainingSet, regularisation: float) -> NDArray[np.float64]:
    """Probability of every element, [N], by a logistic regression on features [N, D]."""
    rows = np.concatenate([taught.positive, taught.negative])
    weights = np.concatenate([taught.positive_weight, taught.negative_weight])
    model = LogisticRegression(C=regularisation, max_iter=300)
    model.fit(features[rows], np.arange(len(rows)) < len(taught.positive), sample_weight=EXAMPLES * weights)
    return model.predict_proba(features)[:, 1]
