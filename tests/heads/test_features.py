"""Lifted features beyond the contract: relevancies as defined, each text at its best scale, chunks."""

from __future__ import annotations

import math

import pytest
import torch

from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads import aggregation, features
from halonerf.heads.features import LiftedFeatures, best_scales, text_relevancy
from halonerf.types import View

A, B, NOTHING = torch.eye(8)[:3]


def test_relevancies_by_hand():
    words, phrases = torch.tensor([[0.3, -0.1]]), torch.tensor([[0.2, 0.1]])
    e = [math.exp(10 * c) for c in (0.3, -0.1, 0.2, 0.1)]
    expected = torch.tensor([[e[0] / sum(e), e[1] / sum(e)]])
    torch.testing.assert_close(text_relevancy(words, phrases, 10.0, "words"), expected)
    least = [min(w / (w + e[2]), w / (w + e[3])) for w in e[:2]]
    torch.testing.assert_close(text_relevancy(words, phrases, 10.0, "phrases"), torch.tensor([least]))


def test_the_best_scale_has_the_highest_relevancies():
    asked = torch.zeros(3, 100, 2)
    asked[1, :5, 0] = 0.9
    asked[2, :, 0] = 0.5  # everywhere a little: not clear
    asked[0, 7, 1] = 0.8
    asked[2, 50, 1] = 1.0  # of which no photo spoke
    weight = torch.ones(100)
    weight[50] = 0
    assert best_scales(asked, weight, top=0.05).tolist() == [1, 0]
    assert best_scales(asked, torch.zeros(100), top=0.05).tolist() == [0, 0]


@pytest.fixture
def field() -> Gaussians:
    random = torch.Generator().manual_seed(0)
    made = Gaussians()
    points = torch.randn(60, 3, generator=random) * 0.3
    made.initialise(points, torch.rand(60, 3, generator=random), ["a.jpg"], seed=0)
    with torch.no_grad():
        made.opacity_logits.fill_(1.0)
    return made.eval()


def view() -> View:
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.0
    return View(40, 30, 40.0, 40.0, 20.0, 15.0, pose)


def constant(vector: torch.Tensor) -> torch.Tensor:
    return vector[:, None, None].expand(-1, 3, 4)


def test_each_text_takes_its_own_scale(field: Gaussians):
    """Small crops know A, large ones B; told together, each word is looked up where it is clear."""
    head = LiftedFeatures([0.2, 0.5], rivals="phrases")
    blurred = torch.nn.functional.normalize(A + 3 * NOTHING, dim=0)
    head.fit(field, [view()], [[constant(A), constant(torch.stack([blurred, B]).mean(0))]], [torch.ones(30, 40)])
    head.set_texts(torch.stack([A, B]), NOTHING[None], 10.0)
    assert head.chosen.tolist() == [0, 1]
    probability, confidence = head.render(field, view(), field.mean_appearance())
    assert probability[..., 0][confidence[..., 0] > 0.5].min() > 0.5
    known = head.confidence()[:, 0] > 0
    torch.testing.assert_close(
        head.probabilities()[known][:, 0], torch.sigmoid(torch.tensor(10.0)).expand(int(known.sum())), atol=1e-3, rtol=0
    )  # half precision of the features


def test_a_rendered_feature_is_compared_and_not_elements_relevancies(field: Gaussians):
    """Where A and B meet in a pixel, its feature is A + B: its cosine with either is 1 / sqrt 2, not 1 / 2."""
    head = LiftedFeatures([], rivals="phrases")
    head.fit(field, [view()], [[constant(A)]], [torch.ones(30, 40)])
    head.set_texts(A[None], NOTHING[None], 4.0)
    mixed = torch.zeros(1, 60, 8)
    mixed[0, ::2] = A
    mixed[0, 1::2] = B
    head.load_state_dict({**head.state_dict(), "features": mixed.half(), "support": torch.ones(60)})
    probability, confidence = head.render(field, view(), field.mean_appearance())
    drawn = field.render(view(), field.mean_appearance(), mixed[0]).channels
    cosine = drawn[..., 0] / drawn.norm(dim=-1).clamp(min=1e-6)
    opacity = field.render(view(), field.mean_appearance()).opacity
    expected = torch.sigmoid(4 * cosine) * opacity
    solid = confidence[..., 0] > 0.1
    torch.testing.assert_close(probability[..., 0][solid], expected[solid], atol=1e-4, rtol=0)
    assert ((cosine > 0.6) & (cosine < 0.8))[solid].any()


def test_chunk_sizes_do_not_change_results(field: Gaussians, monkeypatch: pytest.MonkeyPatch):
    random = torch.Generator().manual_seed(1)
    maps = [torch.randn(8, 6, 8, generator=random)]
    drawn = []
    for chunk, block in ((32, 8192), (3, 7)):
        monkeypatch.setattr(aggregation, "CHUNK_CHANNELS", chunk)
        monkeypatch.setattr(features, "CHUNK_ELEMENTS", block)
        head = LiftedFeatures([], "words")
        head.fit(field, [view()], [maps], [torch.ones(30, 40)])
        head.set_texts(torch.stack([A, B]), NOTHING[None], 5.0)
        drawn.append((head.probabilities(), *head.render(field, view(), field.mean_appearance())))
    for one, other in zip(*drawn, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=0)  # half precision of the features
