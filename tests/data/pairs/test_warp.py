"""Warps: known maps are recovered, averages are kept, and regions without matches are not covered."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from halonerf.data.pairs.warp import Warp, fit_warp
from halonerf.errors import BadInput

NEAR, FAR = (200, 150), (320, 180)  # (width, height), px
PLANE = np.array([[0.4, 0.02, 100.0], [-0.01, 0.42, 60.0], [1e-4, 5e-5, 1.0]])
SHRINK = np.array([[0.25, 0.0, 40.0], [0.0, 0.25, 20.0], [0.0, 0.0, 1.0]])  # four times, onto whole pixels


def through(points: np.ndarray, homography: np.ndarray = PLANE) -> np.ndarray:
    moved = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return moved[:, :2] / moved[:, 2:]


def spread(count: int = 400, seed: int = 0, size: tuple[int, int] = NEAR) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 2)) * size


def bump(points: np.ndarray) -> np.ndarray:
    """Where a dome in front of the plane appears: to the right by up to 5 px."""
    height = 5 * np.exp(-((points - (100, 75)) ** 2).sum(axis=1) / (2 * 35.0**2))
    return through(points) + np.column_stack([height, np.zeros(len(points))])


def median_error(warp: Warp, points: np.ndarray, truth: np.ndarray) -> float:
    error = np.linalg.norm(warp.positions(points) - truth, axis=1)
    assert np.isfinite(error).mean() > 0.9
    return float(np.nanmedian(error))


@pytest.mark.parametrize("kind", ["homography", "local"])
def test_a_plane_is_warped_by_its_homography(kind: str):
    near = spread()
    warp = fit_warp(near, through(near), NEAR, FAR, PLANE, kind)
    assert warp.corrections is None  # nothing to correct
    asked = spread(seed=1)
    np.testing.assert_allclose(warp.positions(asked), through(asked), atol=1e-6)


def test_corrections_follow_depth_where_there_are_matches():
    near, asked = spread(), spread(seed=1)
    flat = fit_warp(near, bump(near), NEAR, FAR, PLANE, "homography")
    bent = fit_warp(near, bump(near), NEAR, FAR, PLANE)
    assert median_error(flat, asked, bump(asked)) > 0.5
    assert median_error(bent, asked, bump(asked)) < 0.05  # px; 0.01 measured


def test_wrong_matches_do_not_affect_the_warp():
    near, random = spread(), np.random.default_rng(2)
    far = bump(near)
    wrong = random.permutation(len(near))[:40]
    far[wrong] += random.normal(0, 15, (40, 2))
    asked = spread(seed=1)
    assert median_error(fit_warp(near, far, NEAR, FAR, PLANE, trust=1.0), asked, bump(asked)) < 0.2  # px; 0.08 measured


def test_noise_alone_gives_no_corrections():
    near = spread()
    far = through(near) + np.random.default_rng(3).normal(0, 0.5, (len(near), 2))
    asked = spread(seed=1)
    assert median_error(fit_warp(near, far, NEAR, FAR, PLANE), asked, through(asked)) < 0.15  # px; noise has 0.5


def test_positions_invert_the_backward_map():
    near = spread()
    warp = fit_warp(near, bump(near), NEAR, FAR, PLANE)
    y, x = torch.meshgrid(torch.arange(NEAR[1]) + 0.5, torch.arange(NEAR[0]) + 0.5, indexing="ij")
    carried, region = warp.carry(torch.stack([x, y]).double())
    rows, columns = torch.nonzero(region, as_tuple=True)
    back = warp.positions(carried[:, region].T.numpy())
    np.testing.assert_allclose(back, torch.stack([columns + 0.5, rows + 0.5], dim=1).numpy(), atol=0.1)


def test_shrinking_averages_over_areas():
    """Four times smaller: every pixel is the mean of 4 x 4, for stripes that sampling alone would miss."""
    near = spread()
    warp = fit_warp(near, through(near, SHRINK), NEAR, FAR, SHRINK)
    maps = torch.rand(2, NEAR[1], NEAR[0], generator=torch.Generator().manual_seed(0))
    maps[1] = (torch.arange(NEAR[0]) % 2).float()
    carried, region = warp.carry(maps)
    expected = torch.nn.functional.avg_pool2d(maps[None], 4)[0, :, :36, :48]
    inner = (slice(None), slice(21, 55), slice(41, 87))
    assert region[inner[1:]].all()
    # bilinear reading between pixels leaks across the border of the 4 x 4 by a few hundredths
    torch.testing.assert_close(carried[inner], expected[:, 1:35, 1:47], atol=0.06, rtol=0)
    torch.testing.assert_close(carried[1][region], torch.full_like(carried[1][region], 0.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("factor", [0.2, 1.0, 3.0])
def test_maps_of_any_resolution_are_warped_alike(factor: float):
    near = spread()
    warp = fit_warp(near, bump(near), NEAR, FAR, PLANE)
    height, width = round(NEAR[1] * factor), round(NEAR[0] * factor)
    ramp = ((torch.arange(width) + 0.5) / width).expand(1, height, width)
    carried, region = warp.carry(ramp)
    whole, same = warp.carry(((torch.arange(NEAR[0]) + 0.5) / NEAR[0]).expand(1, NEAR[1], NEAR[0]))
    assert torch.equal(region, same)
    core = region & (whole[0] > 0.15) & (whole[0] < 0.85)  # coarse maps end half a pixel early
    torch.testing.assert_close(carried[:, core], whole[:, core], atol=5e-3, rtol=0)


def test_the_result_may_have_another_size():
    near = spread()
    warp = fit_warp(near, through(near), NEAR, FAR, PLANE)
    ramp = ((torch.arange(NEAR[0]) + 0.5) / NEAR[0]).expand(1, NEAR[1], NEAR[0])
    large, small = warp.carry(ramp), warp.carry(ramp, (FAR[0] // 2, FAR[1] // 2))
    pooled = torch.nn.functional.avg_pool2d(large[0][None], 2)[0]
    torch.testing.assert_close(small[0][:, small[1]], pooled[:, small[1]], atol=5e-3, rtol=0)


def test_the_region_lies_inside_the_close_up_and_near_its_matches():
    near = spread() * (0.4, 1.0)  # matches in the left two fifths only
    warp = fit_warp(near, through(near), NEAR, FAR, PLANE, reach=0.1)
    carried, region = warp.carry(torch.ones(1, NEAR[1], NEAR[0]))
    rows, columns = np.nonzero(region.numpy())
    corners = [np.column_stack([columns + dx, rows + dy]) for dx in (0, 1) for dy in (0, 1)]
    back = np.concatenate([through(c, np.linalg.inv(PLANE)) for c in corners])
    assert (back >= -1e-6).all()
    assert (back <= np.array(NEAR) + 1e-6).all()
    assert back[:, 0].max() <= near[:, 0].max() + 0.1 * NEAR[0] + 1
    assert back[:, 0].max() >= near[:, 0].max() + 0.1 * NEAR[0] - 8  # a pixel of the farther photo is 3 of these
    assert (carried[0][~region] == 0).all()
    torch.testing.assert_close(carried[0][region], torch.ones(int(region.sum())))
    outside = warp.positions(np.array([[150.0, 75.0], [-5.0, 20.0], [30.0, 75.0]]))
    assert np.isnan(outside[:2]).all()
    assert np.isfinite(outside[2]).all()


def test_regions_without_matches_are_not_covered():
    near = spread()
    near = near[np.linalg.norm(near - (100, 75), axis=1) > 45]  # none on the dome
    rough = np.random.default_rng(4).normal(0, 1, (8, 2))
    far = through(near) + 4 * np.stack(
        [np.sin(near @ rough[:2].T / 8).sum(1), np.cos(near @ rough[2:4].T / 8).sum(1)], 1
    )
    warp = fit_warp(near, far, NEAR, FAR, PLANE, trust=0.004)
    assert np.isnan(warp.positions(np.array([[100.0, 75.0]]))).all()
    assert np.isfinite(fit_warp(near, far, NEAR, FAR, PLANE, "homography").positions(np.array([[100.0, 75.0]]))).all()


def test_unknown_stays_unknown():
    near = spread()
    maps = torch.ones(1, NEAR[1], NEAR[0])
    maps[:, :, 100:] = torch.nan
    carried, region = fit_warp(near, through(near), NEAR, FAR, PLANE).carry(maps)
    assert carried[0][region].isnan().any()
    assert (carried[0][region].isnan() | (carried[0][region] == 1)).all()


def test_close_ups_partly_or_entirely_outside_the_farther_photo():
    beyond = PLANE + np.array([[0, 0, -130.0], [0, 0, 0], [0, 0, 0]])
    near = spread()
    kept = (through(near, beyond) >= 0).all(axis=1)
    warp = fit_warp(near[kept], through(near[kept], beyond), NEAR, FAR, beyond)
    _, region = warp.carry(torch.ones(1, NEAR[1], NEAR[0]))
    assert region[:, 0].any()
    assert np.isnan(warp.positions(np.array([[5.0, 75.0]]))).all()
    elsewhere = SHRINK + np.array([[0, 0, 1000.0], [0, 0, 0], [0, 0, 0]])
    none = fit_warp(near, through(near, elsewhere), NEAR, FAR, elsewhere).carry(torch.ones(1, NEAR[1], NEAR[0]))
    assert not none[1].any()
    assert (none[0] == 0).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_matches_and_matches_on_a_line(count: int):
    near = np.column_stack([np.linspace(40, 120, count), np.full(count, 70.0)])
    warp = fit_warp(near, through(near), NEAR, FAR, PLANE)
    _, region = warp.carry(torch.ones(3, NEAR[1], NEAR[0]))
    assert region.any()
    np.testing.assert_allclose(warp.positions(near), through(near), atol=1e-6)


def test_a_homography_of_the_other_sign_is_the_same():
    near = spread()
    one, two = (fit_warp(near, through(near), NEAR, FAR, sign * PLANE) for sign in (1, -1))
    np.testing.assert_allclose(one.positions(near), two.positions(near))


def test_matches_that_cannot_be_fitted_are_refused():
    near = spread(10)
    with pytest.raises(BadInput, match="kind homography or local"):
        fit_warp(near, near, NEAR, FAR, PLANE, "spline")
    with pytest.raises(BadInput, match="at least one"):
        fit_warp(near[:0], near[:0], NEAR, FAR, PLANE)
    with pytest.raises(BadInput, match="invertible"):
        fit_warp(near, near, NEAR, FAR, np.zeros((3, 3)))
    with pytest.raises(BadInput, match=r"\[channels, height, width\]"):
        fit_warp(near, through(near), NEAR, FAR, PLANE).carry(torch.ones(NEAR[1], NEAR[0]))


def test_a_pair_of_512_px_is_quick():
    near = spread(2000, size=(512, 384))
    begin = time.process_time()
    fit_warp(near, bump(near), (512, 384), (512, 384), PLANE).carry(torch.rand(4, 384, 512))
    assert time.process_time() - begin < 1.5  # s of one core; 0.3 on an idle one, and tests share theirs
