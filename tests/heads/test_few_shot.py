"""The head that learns from few annotations: what they teach, and where features decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads import FewShot
from halonerf.heads.element_graph import diffused, element_graph
from halonerf.heads.few_shot import lift_annotations, principal_components
from halonerf.protocols import FeatureHead, FewShotHead, SemanticHead
from helpers.small_views import VIEWS, two_clusters

WIDTH, HEIGHT = 48, 32


@pytest.fixture
def field() -> Gaussians:
    return two_clusters()


def features(informative: bool, noise: float = 0.3) -> list[list[torch.Tensor]]:
    """Feature maps of the views, [8, 32, 48]: numbers that differ between the left and the right half, or none."""
    random = torch.Generator().manual_seed(0)
    maps = noise * torch.randn(len(VIEWS), 8, HEIGHT, WIDTH, generator=random)
    if informative:
        maps[:, 0, :, : WIDTH // 2] += 2.0
    return [[entry] for entry in maps]


def annotate(*regions: tuple[slice, slice, float]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Maps and weights of one concept, annotated in the first view only: rows, columns and value of each region."""
    maps, weights = (torch.zeros(len(VIEWS), HEIGHT, WIDTH, 1) for _ in range(2))
    for rows, columns, value in regions:
        maps[0, rows, columns], weights[0, rows, columns] = value, 1.0
    return list(maps), list(weights)


def fitted(field: Gaussians, head: FewShot, informative: bool, *regions: tuple[slice, slice, float]) -> FewShot:
    head.lift_features(field, VIEWS, features(informative), [torch.ones(HEIGHT, WIDTH)] * len(VIEWS))
    head.fit(field, VIEWS, *annotate(*regions))
    return head


ALL = slice(None)
STROKE = (slice(8, 24), slice(8, 12), 1.0)  # a part of the left cluster
COUNTER = (slice(8, 24), slice(36, 40), 0.0)  # of the right one


def test_is_a_few_shot_head_and_no_feature_head():
    head = FewShot()
    assert isinstance(head, SemanticHead)
    assert isinstance(head, FewShotHead)
    assert not isinstance(head, FeatureHead)


@pytest.mark.parametrize("mode", ["similar", "mixed"])
@pytest.mark.parametrize("regions", [(STROKE,), (STROKE, COUNTER)])
def test_a_stroke_finds_everything_like_it(field: Gaussians, mode: str, regions: tuple):
    head = fitted(field, FewShot(mode, min_confidence=0.01), True, *regions)
    known, left = head.confidence()[:, 0] > 0, field.means[:, 0] < 0
    probability = head.probabilities()[:, 0]
    assert probability[known & left].min() > probability[known & ~left].max()
    assert probability[known & left].mean() > 0.7
    assert probability[known & ~left].mean() < 0.3
    assert (probability[~known] == 0).all()


@pytest.mark.parametrize("mode", ["similar", "place", "mixed"])
def test_annotations_correct_what_is_believed_without_them(field: Gaussians, mode: str):
    """Features say nothing; a word is right of the left cluster, wrong of one half of the right one, as annotated."""
    left, low = field.means[:, 0] < 0, field.means[:, 1] < field.means[:, 1].median()
    evidence = torch.where(left, 0.8, torch.where(low, 0.1, 0.7))[:, None]
    head = FewShot(mode, min_confidence=0.01)
    head.lift_features(field, VIEWS, features(False), [torch.ones(HEIGHT, WIDTH)] * len(VIEWS))
    head.fit(field, VIEWS, *annotate((slice(0, 32), slice(30, 46), 0.0), STROKE), evidence)
    known, probability = head.confidence()[:, 0] > 0, head.probabilities()[:, 0]
    assert probability[known & left].mean() > 0.5
    assert probability[known & ~left & ~low].mean() < 0.35
    head.fit(field, VIEWS, *annotate((slice(0, 32), slice(30, 46), 0.0), STROKE))
    assert head.probabilities()[known & left, 0].mean() < probability[known & left].mean(), "without the word"


def test_features_that_predict_nothing_are_not_believed(field: Gaussians):
    noise, signal = (
        fitted(field, FewShot(min_confidence=0.01), informative, STROKE, COUNTER).mixing[0]
        for informative in (False, True)
    )
    assert signal > 0.6
    assert noise < 0.5 * signal


def test_a_place_is_the_annotated_part_alone(field: Gaussians):
    place = fitted(field, FewShot("place", min_confidence=0.01), True, STROKE)
    similar = fitted(field, FewShot("similar", min_confidence=0.01), True, STROKE)
    (examples,) = lift_annotations(field, VIEWS, *annotate(STROKE))
    under = examples.positive > 0.5 * examples.seen.clamp(min=0.01)
    assert under.any()
    assert place.probabilities()[under, 0].mean() > 0.5
    assert place.probabilities().sum() < similar.probabilities().sum()
    assert place.mixing == [0.0]


def test_nothing_but_negative_annotations_is_nowhere(field: Gaussians):
    assert fitted(field, FewShot(min_confidence=0.01), True, COUNTER).probabilities().max() < 0.05


def test_full_masks_are_kept(field: Gaussians):
    head = fitted(field, FewShot(min_confidence=0.01), True, (ALL, slice(0, 24), 1.0), (ALL, slice(24, 48), 0.0))
    left, known = field.means[:, 0] < 0, head.confidence()[:, 0] > 0
    assert head.probabilities()[known & left].min() > 0.8
    assert head.probabilities()[known & ~left].max() < 0.2


def test_the_same_seed_gives_the_same_result_and_the_field_is_not_changed(field: Gaussians):
    before = {name: value.clone() for name, value in field.state_dict().items()}
    first = fitted(field, FewShot(min_confidence=0.01), True, STROKE, COUNTER)
    second = fitted(field, FewShot(min_confidence=0.01), True, STROKE, COUNTER)
    assert torch.equal(first.probabilities(), second.probabilities())
    assert all(torch.equal(value, before[name]) for name, value in field.state_dict().items())


def test_features_come_first(field: Gaussians):
    with pytest.raises(BadInput, match="stage=features"):
        FewShot().fit(field, VIEWS, *annotate(STROKE))


def test_lifted_annotations_count_pixels(field: Gaussians):
    (examples,) = lift_annotations(field, VIEWS, *annotate(STROKE, COUNTER))
    _, seen = field.lift(VIEWS[0], torch.zeros(HEIGHT, WIDTH, 0), torch.ones(HEIGHT, WIDTH))
    assert torch.allclose(examples.seen, seen)  # the second view is not annotated
    assert (examples.positive + examples.negative <= seen + 1e-4).all()
    assert 0 < float(examples.positive.sum()) <= 16 * 4 + 1e-3
    assert 0 < float(examples.negative.sum()) <= 16 * 4 + 1e-3


def test_principal_components_keep_distances_and_ignore_what_has_no_weight():
    random = torch.Generator().manual_seed(0)
    values = torch.randn(500, 6, generator=random) * torch.tensor([100.0, 1, 1, 1, 1, 1e-3])
    weight = torch.ones(500)
    values[0], weight[0] = 1e9, 0.0
    found = principal_components(values, weight, 6)
    assert found[1:].square().mean() == pytest.approx(1, rel=0.05)
    standard = (values[1:] - values[1:].mean(0)) / values[1:].std(0)
    distances = torch.cdist(found[1:50], found[1:50]) / torch.cdist(standard[:49], standard[:49]).clamp(min=1e-9)
    off_diagonal = distances[~torch.eye(49, dtype=torch.bool)]
    assert off_diagonal.std() < 0.05 * off_diagonal.mean()
    assert principal_components(values, weight, 2).shape == (500, 2)


def test_values_diffuse_up_to_an_edge():
    """A row of 40 elements whose features change in the middle; one end is given as 1."""
    places = np.stack([np.arange(40.0), np.zeros(40), np.zeros(40)], axis=1)
    sides = np.repeat([[0.0], [5.0]], 20, axis=0)
    given, certainty = np.zeros(40), np.zeros(40)
    given[2], certainty[2] = 1.0, 5.0
    found = diffused(element_graph(places, sides, 2, 1.0), given, certainty, np.zeros(40), 1e-3)
    assert found[:20].min() > 0.8
    assert found[20:].max() < 0.2
    blurred = diffused(element_graph(places, 0 * sides, 2, 1.0), given, certainty, np.zeros(40), 1e-3)
    assert np.abs(np.diff(blurred[18:22])).max() < 0.1


def test_diffusion_solves_its_equations():
    random = np.random.default_rng(0)
    graph = element_graph(random.normal(size=(60, 3)), random.normal(size=(60, 2)), 5, 0.5)
    given, certainty, prior = random.random(60), random.random(60) * (random.random(60) < 0.3), random.random(60)
    system = np.diag(np.asarray(graph.sum(axis=1)) + certainty + 0.1) - graph.toarray()
    exact = np.linalg.solve(system, certainty * given + 0.1 * prior)
    assert np.allclose(diffused(graph, given, certainty, prior, 0.1), exact, atol=0.01)
    assert (abs(graph - graph.T) > 1e-12).nnz == 0


def test_a_single_element_has_no_neighbours():
    assert isinstance(element_graph(np.zeros((1, 3)), np.zeros((1, 2)), 8, 1.0), csr_array)
    assert diffused(element_graph(np.zeros((1, 3)), np.zeros((1, 2)), 8, 1.0), *np.ones((3, 1)), 0.1) == [1.0]
