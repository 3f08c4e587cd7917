"""What every miner keeps: points inside both photos, as many in each, with scores; and the truth where it is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.protocols import CorrespondenceMiner
from halonerf.stages.build import build

CONF = Path(__file__).parents[2] / "conf" / "miner"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))
SHIFT = torch.tensor([12.0, 5.0])  # px by which the second photo's content is moved

Seen = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


@pytest.fixture(params=OPTIONS)
def miner(request: pytest.FixtureRequest) -> CorrespondenceMiner:
    return build(OmegaConf.to_container(OmegaConf.load(CONF / f"{request.param}.yaml")))


@pytest.fixture
def pair() -> tuple[Tensor, Tensor, Seen]:
    """Two windows of one texture, and what a reconstruction would have seen in them, shuffled."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 30, 40, generator=generator)
    world = torch.nn.functional.interpolate(coarse, (240, 320), mode="bicubic").clamp(0, 1)[0]
    image0, image1 = world[:, 10:130, 20:180], world[:, 15:155, 32:200]  # another size, too
    points = torch.rand(60, 2, generator=generator) * torch.tensor([140.0, 110.0]) + SHIFT * 0.9
    ids = torch.randperm(200, generator=generator)[:60]
    order = torch.randperm(60, generator=generator)
    inside = ((points - SHIFT) >= 0).all(dim=1)[order]
    seen = (points, ids), ((points - SHIFT)[order][inside], ids[order][inside])
    return image0, image1, seen


def test_is_a_miner(miner: CorrespondenceMiner):
    assert isinstance(miner, CorrespondenceMiner)


def test_matches_are_the_same_points(miner: CorrespondenceMiner, pair: tuple[Tensor, Tensor, Seen]):
    image0, image1, seen = pair
    matches = miner.match(image0, image1, seen)
    assert len(matches) >= 10
    assert matches.points0.shape == matches.points1.shape == (len(matches), 2)
    moved = matches.points0 - matches.points1
    near = (moved - SHIFT).norm(dim=1) < 2.0  # px; a matcher by appearance may slip by a pixel or two
    assert near.float().mean() > 0.8


def test_points_lie_inside_and_scores_are_probabilities(miner: CorrespondenceMiner, pair: tuple[Tensor, Tensor, Seen]):
    image0, image1, seen = pair
    matches = miner.match(image0, image1, seen)
    for points, image in ((matches.points0, image0), (matches.points1, image1)):
        limit = torch.tensor([image.shape[2], image.shape[1]])
        assert (points >= 0).all()
        assert (points <= limit).all()
    assert matches.score.shape == (len(matches),)
    assert ((matches.score >= 0) & (matches.score <= 1)).all()


def test_the_same_pair_gives_the_same_matches(miner: CorrespondenceMiner, pair: tuple[Tensor, Tensor, Seen]):
    first, second = miner.match(*pair), miner.match(*pair)
    torch.testing.assert_close(first.points0, second.points0)
    torch.testing.assert_close(first.points1, second.points1)


def test_nothing_in_common_gives_no_matches(miner: CorrespondenceMiner, pair: tuple[Tensor, Tensor, Seen]):
    image0, image1, ((points, ids), _) = pair
    blank = torch.full_like(image1, 0.5)
    matches = miner.match(image0, blank, ((points, ids), (points[:5], ids[:5] + 1000)))
    assert matches.points0.shape == (0, 2)


def test_tracks_are_needed_by_the_miner_that_reads_them(pair: tuple[Tensor, Tensor, Seen]):
    made = build(OmegaConf.to_container(OmegaConf.load(CONF / "sfm_tracks.yaml")))
    with pytest.raises(BadInput, match="another miner="):
        made.match(pair[0], pair[1])
