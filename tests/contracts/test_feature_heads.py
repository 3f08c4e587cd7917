"""Contract of heads on dense features: texts distinguish regions, unknown is not "no", and texts are saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from halonerf.errors import BadInput
from halonerf.factory import build, locate
from halonerf.fields.gaussians.field import Gaussians
from halonerf.protocols import FeatureHead, SemanticHead
from helpers.places import CONF
from helpers.small_views import VIEWS, two_clusters, view

GROUP = CONF / "head"
OPTIONS = sorted(  # fewshot takes features besides annotations, and no texts: tests/heads/test_few_shot.py
    path.stem
    for path in GROUP.glob("*.yaml")
    if path.stem != "fewshot" and hasattr(locate(OmegaConf.load(path)._target_), "takes_features")
)
LEFT, RIGHT, NOTHING = torch.eye(48)[:3]  # more numbers than are lifted together
SCALE = 20.0


def make(option: str) -> FeatureHead:
    return build(OmegaConf.to_container(OmegaConf.load(GROUP / f"{option}.yaml")))


@pytest.fixture
def field() -> Gaussians:
    return two_clusters()


@pytest.fixture(params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def head(option: str) -> FeatureHead:
    return make(option)


def maps(head: FeatureHead) -> list[torch.Tensor]:
    """An encoder that says one thing of the left half and another of the right, at every scale, at its resolution."""
    said = torch.stack([LEFT] * 6 + [RIGHT] * 6, dim=1)[:, None].expand(-1, 8, -1)
    return [said.half()] * max(1, len(head.scales))


def fit(head: FeatureHead, field: Gaussians, columns: slice = slice(None)) -> FeatureHead:
    weight = torch.zeros(32, 48)
    weight[:, columns] = 1.0
    head.fit(field, VIEWS, [maps(head)] * 2, [weight] * 2)
    head.set_texts(torch.stack([LEFT, RIGHT]), NOTHING[None], SCALE)
    return head


def test_there_are_both_baselines():
    assert {"dff", "lerf"} <= set(OPTIONS)


def test_is_a_head(head: FeatureHead):
    assert isinstance(head, SemanticHead)
    assert isinstance(head, FeatureHead)
    assert head.takes_features


def test_two_regions_are_distinguished_by_two_texts(head: FeatureHead, field: Gaussians):
    before = {name: value.clone() for name, value in field.state_dict().items()}
    fit(head, field)
    probability, confidence = head.render(field, view(), field.mean_appearance())
    seen = confidence[..., 0] > 0.9
    for half, word in ((slice(0, 20), 0), (slice(28, 48), 1)):
        inside = seen[:, half]
        assert inside.any()
        assert probability[:, half][inside][:, word].min() > 0.9
        assert probability[:, half][inside][:, 1 - word].max() < 0.5 + 1e-3  # equal to the phrase: even odds
    on_left = field.means[:, 0] < 0
    own, known = head.probabilities(), head.confidence()[:, 0] > 0
    assert (known & on_left).any()
    assert (known & ~on_left).any()
    assert (own[known & on_left][:, 0] > 0.99).all()
    assert (own[known & ~on_left][:, 1] > 0.99).all()
    assert all(torch.equal(before[name], value) for name, value in field.state_dict().items())


def test_new_texts_need_no_new_fit(head: FeatureHead, field: Gaussians):
    fit(head, field)
    both = torch.nn.functional.normalize(LEFT + RIGHT, dim=0)
    head.set_texts(both[None], NOTHING[None], SCALE)
    probability, confidence = head.render(field, view(), field.mean_appearance())
    assert probability.shape == (32, 48, 1)
    assert probability[confidence > 0.9].min() > 0.85


def test_elements_without_support_are_unknown(head: FeatureHead, field: Gaussians):
    fit(head, field, columns=slice(0, 24))
    right = field.means[:, 0] > 0
    assert not head.probabilities()[right].any()
    assert not head.confidence()[right].any()
    probability, confidence = head.render(field, view(), field.mean_appearance())
    assert confidence[:, :24].max() > 0.9
    assert not confidence[:, 24:].any()
    assert not probability[:, 24:].any()


def test_unknown_elements_do_not_read_as_no(head: FeatureHead, field: Gaussians):
    """Behind a veil that no photo spoke of, a known "yes" stays a yes."""
    fit(head, field)
    probability, known = head.render(field, view(), field.mean_appearance())
    state = head.state_dict()
    head.load_state_dict({**state, "support": state["support"] * (torch.arange(field.elements) % 2)})
    veiled, less = head.render(field, view(), field.mean_appearance())
    solid = probability[..., 0] > 0.95
    assert solid.any()
    assert less[..., 0][solid].mean() < 0.8 * known[..., 0][solid].mean()
    assert veiled[..., 0][solid].mean() > 0.85


def test_the_empty_background_is_no_concept(head: FeatureHead, field: Gaussians):
    fit(head, field)
    probability, confidence = head.render(field, view(), field.mean_appearance())
    opacity = field.render(view(), field.mean_appearance()).opacity
    thin = (opacity < 0.1)[..., None].expand_as(probability)
    assert thin.any()
    assert probability[thin].max() < 0.11
    torch.testing.assert_close(confidence[..., 0], opacity, atol=2e-2, rtol=0)


def test_what_was_saved_is_loaded(option: str, field: Gaussians, tmp_path: Path):
    head = fit(make(option), field, columns=slice(0, 30))
    head.save(tmp_path / "head.safetensors")
    twin = make(option)
    twin.load(tmp_path / "head.safetensors")
    assert torch.equal(twin.probabilities(), head.probabilities())
    assert torch.equal(twin.confidence(), head.confidence())
    for one, other in zip(*(h.render(field, view(), field.mean_appearance()) for h in (head, twin)), strict=True):
        assert torch.equal(one, other)


def test_mistakes_are_named(head: FeatureHead, field: Gaussians):
    with pytest.raises(BadInput, match="one map and one weight"):
        head.fit(field, VIEWS, [], [])
    with pytest.raises(BadInput, match=r"features at \d scales"):
        head.fit(field, VIEWS, [[*maps(head), *maps(head)]] * 2, [torch.ones(32, 48)] * 2)
    fit(head, field)
    with pytest.raises(BadInput, match="at least one text and one phrase, of 48 numbers"):
        head.set_texts(LEFT[None], torch.zeros(0, 48), SCALE)
    with pytest.raises(BadInput, match=r"got \[1, 5\]"):
        head.set_texts(torch.ones(1, 5), torch.ones(1, 5), SCALE)
