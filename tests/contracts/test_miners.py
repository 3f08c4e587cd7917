"""The contract of miners: equally many points inside both photos, with scores; correct where the truth is known.

Networks have random weights here, saved in the layout their authors publish; those of ALIKED are real where at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.miners.scaling import limit_size
from halonerf.protocols import CorrespondenceMiner, FeatureMiner, TrackMiner
from helpers.made_weights import write_aliked, write_disk_lightglue, write_loftr
from helpers.places import CONF

GROUP = CONF / "miner"
OPTIONS = sorted(path.stem for path in GROUP.glob("*.yaml"))
SHIFT = torch.tensor([12.0, 5.0])  # px by which the second photo's content is moved

Seen = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


UNTRAINED = ("disk_lightglue", "loftr")  # random networks here: nothing is known of what they find


def tiny_options(option: str, folder: Path, shared: Callable[[str], Path] | None = None) -> dict[str, Any]:
    """Arguments that make an option small, and free of the network.

    Args:
        shared: finds real weights; None: random ones will do.
    """
    if option in ("sfm_tracks", "sift"):
        return {}
    if option == "aliked":
        if shared is not None:
            return {"weights": str(shared("weights") / "aliked-n16rot.pth")}
        return {"weights": str(write_aliked(folder)), "model": "aliked-t16", "max_ratio": 1.0, "min_cosine": 0.0}
    if option == "disk_lightglue":
        return {**write_disk_lightglue(folder), "features": 64, "min_score": 0.0}
    if option == "loftr":
        return {"weights": str(write_loftr(folder)), "min_score": 0.0}
    raise AssertionError(f"name a tiny offline instance of miner '{option}' here")


def make(option: str, **extra: Any) -> CorrespondenceMiner:
    return build(OmegaConf.to_container(OmegaConf.load(GROUP / f"{option}.yaml")), **extra)


@pytest.fixture(scope="module", params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def miner(option: str, tmp_path_factory: pytest.TempPathFactory) -> CorrespondenceMiner:
    torch.manual_seed(0)
    return make(option, **tiny_options(option, tmp_path_factory.mktemp(option)))


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


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in UNTRAINED])
def test_matches_are_the_same_points(
    option: str, pair: tuple[Tensor, Tensor, Seen], tmp_path: Path, shared: Callable[[str], Path]
):
    miner = make(option, **tiny_options(option, tmp_path, shared))
    image0, image1, seen = pair
    matches = miner.match(image0, image1, seen)
    assert len(matches) >= 10
    assert matches.points0.shape == matches.points1.shape == (len(matches), 2)
    moved = matches.points0 - matches.points1
    near = (moved - SHIFT).norm(dim=1) < 2.0  # px; a matcher by appearance may slip by a pixel or two
    assert near.float().mean() > 0.8
    torch.testing.assert_close(moved.median(dim=0).values, SHIFT, atol=0.1, rtol=0)  # no bias of half a pixel


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


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in UNTRAINED])
def test_nothing_in_common_gives_no_matches(
    option: str, pair: tuple[Tensor, Tensor, Seen], tmp_path: Path, shared: Callable[[str], Path]
):
    miner = make(option, **tiny_options(option, tmp_path, shared))
    image0, image1, ((points, ids), _) = pair
    blank = torch.full_like(image1, 0.5)
    matches = miner.match(image0, blank, ((points, ids), (points[:5], ids[:5] + 1000)))
    assert len(matches) <= 3  # a network may see a thing or two in grey; no pair is ever made of so few


@pytest.mark.parametrize("shape", [(3, 96, 40), (3, 37, 150), (1, 64, 64)])
def test_photos_of_any_shape(miner: CorrespondenceMiner, shape: tuple[int, ...]):
    """Portrait, odd and narrow, grey."""
    image0 = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image1 = torch.rand((3, 80, 100), generator=torch.Generator().manual_seed(1))
    none = torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)
    for images in ((image0, image1), (image1, image0)):
        matches = miner.match(*images, (none, none))
        assert matches.points0.shape == matches.points1.shape == (len(matches), 2)
        for points, image in zip((matches.points0, matches.points1), images, strict=True):
            assert (points <= torch.tensor([image.shape[2], image.shape[1]])).all()


def test_features_of_a_photo_serve_every_pair(miner: CorrespondenceMiner, pair: tuple[Tensor, Tensor, Seen]):
    if not isinstance(miner, FeatureMiner):
        assert not hasattr(miner, "features"), "half of the contract of FeatureMiner"
        return
    image0, image1, _ = pair
    features0, features1 = miner.features(image0), miner.features(image1)
    assert all(isinstance(value, Tensor) for value in features0.values())
    assert features0["points"].shape[1] == 2
    apart, together = miner.match_features(features0, features1), miner.match(image0, image1)
    torch.testing.assert_close(apart.points0, together.points0)
    torch.testing.assert_close(apart.points1, together.points1)
    back = miner.match_features(features1, features0)
    assert len(back) == len(apart)


def test_points_are_in_pixels_of_the_photo_for_any_working_size(miner: CorrespondenceMiner):
    """A photo three times larger than `size` and its third show the same at three times the pixels."""
    if not isinstance(miner, FeatureMiner):
        return
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 8, 12, generator=generator)
    large = torch.nn.functional.interpolate(coarse, (288, 432), mode="bicubic").clamp(0, 1)[0]
    miner.size, before = 144, miner.size  # type: ignore[attr-defined]
    points = miner.features(large)["points"]
    small, _ = limit_size(large, 144, 16)
    miner.size = before  # type: ignore[attr-defined]
    torch.testing.assert_close(points, 3 * miner.features(small)["points"], atol=1e-2, rtol=0)


def test_only_miners_that_read_tracks_offer_them(option: str, miner: CorrespondenceMiner):
    assert isinstance(miner, TrackMiner) == (option == "sfm_tracks")


def test_tracks_are_needed_by_the_miner_that_reads_them(pair: tuple[Tensor, Tensor, Seen]):
    with pytest.raises(BadInput, match="another miner="):
        make("sfm_tracks").match(pair[0], pair[1])
