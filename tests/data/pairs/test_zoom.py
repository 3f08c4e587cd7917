"""Zoom pairs: position and scale are recovered, impossible geometry is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from halonerf.data.pairs.two_view import robust_homography
from halonerf.data.pairs.zoom import carry, scale_ratio, verify_zoom

WIDTH, HEIGHT = 160, 120  # px
LIMITS: dict[str, Any] = {"min_ratio": 1.5, "min_inliers": 10, "tolerance": 3.0, "epipolar": 1.0, "seed": 0}
SIZE = (WIDTH, HEIGHT)


def wall(count: int = 120) -> np.ndarray:
    """Points on a wall, [N, 2] in its own units, 4 x 3."""
    return np.random.default_rng(0).random((count, 2)) * (4.0, 3.0)


def photographed(points: np.ndarray, left: float, top: float, wide: float) -> np.ndarray:
    """Pixels of a photo that shows `wide` units of the wall from (left, top)."""
    return (points - (left, top)) * (WIDTH / wide)


def test_matches_of_no_rigid_scene_give_no_pair():
    """Each quarter of the close-up shifted its own way: near enough to one plane, but no camera sees that."""
    far = photographed(wall(400), 0, 0, 4.0)
    near = photographed(wall(400), 1.0, 0.8, 4.0 / 2)
    seen = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    near, far = near[seen], far[seen]
    right = verify_zoom(near, far, SIZE, SIZE, **LIMITS)
    assert right is not None
    assert right.rigid.all()
    jitter = np.random.default_rng(5).uniform(-2.5, 2.5, far.shape)
    torn = verify_zoom(near, far + jitter, SIZE, SIZE, **{**LIMITS, "epipolar": 0.1, "tolerance": 4.0})
    assert torn is None or torn.rigid.mean() < 0.4


def test_matches_off_the_plane_are_rigid_but_no_inliers():
    """A wall and, before it, a ball that parallax moves: one homography explains the wall, one rigid scene both."""
    random = np.random.default_rng(0)
    flat = np.column_stack([random.random((800, 2)) * (4, 3), np.full(800, 10.0)])
    ball = np.column_stack([random.random((30, 2)) * (1, 1) + (1.5, 1.0), random.uniform(6, 7, 30)])
    points = np.concatenate([flat, ball])
    far = 400 * (points[:, :2] - (2, 1.5)) / points[:, 2:] + (80, 60)
    near = 800 * (points[:, :2] - (2.3, 1.5)) / points[:, 2:] + (80, 60)
    seen = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    zoom = verify_zoom(near[seen], far[seen], SIZE, SIZE, **{**LIMITS, "tolerance": 1.5})
    assert zoom is not None
    assert zoom.rigid.mean() > 0.95
    assert zoom.inliers[: seen[:800].sum()].mean() > 0.95
    assert zoom.inliers[seen[:800].sum() :].mean() < 0.3
    assert zoom.ratio == pytest.approx(2.0, rel=0.1)


def test_most_matches_may_be_wrong():
    far, near = photographed(wall(300), 0, 0, 4.0), photographed(wall(300), 1.0, 0.8, 4.0 / 2)
    seen = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    near, far = near[seen], far[seen]
    random = np.random.default_rng(0)
    wrong = random.random((2 * len(near), 4)) * (*SIZE, *SIZE)
    found = robust_homography(np.concatenate([near, wrong[:, :2]]), np.concatenate([far, wrong[:, 2:]]), 3.0, seed=0)
    assert found is not None
    np.testing.assert_allclose(carry(near, found[0]), far, atol=0.2)  # px; wrong ones near the truth pull a little
    assert found[1][: len(near)].all()
    assert found[1][len(near) :].mean() < 0.1


def test_the_homography_averages_noise():
    """MAGSAC++'s weights use every match: nearer the truth than the best few are."""
    far, near = photographed(wall(400), 0, 0, 4.0), photographed(wall(400), 1.0, 0.8, 4.0 / 2)
    seen = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    near, far = near[seen], far[seen]
    found = robust_homography(near, far + np.random.default_rng(0).normal(0, 0.5, far.shape), 3.0, seed=0)
    assert found is not None
    moved = carry(near, found[0])
    assert moved is not None
    assert np.linalg.norm(moved - far, axis=1).mean() < 0.2  # px; a match's noise has 0.63 on average


def test_the_ratio_is_robust_to_wrong_matches():
    near = wall()
    far = near / 2.5
    far[:20] = np.random.default_rng(1).random((20, 2))
    assert scale_ratio(near, far) == pytest.approx(2.5, rel=0.02)


def test_mirrored_or_random_matches_give_no_pair():
    far = photographed(wall(), 0, 0, 4.0)
    near = photographed(wall(), 1.0, 0.8, 4.0 / 2)
    inside = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    near, far = near[inside], far[inside]
    assert verify_zoom(near, far, SIZE, SIZE, **LIMITS) is not None
    mirrored = near * (-1, 1) + (WIDTH, 0)
    assert verify_zoom(mirrored, far, SIZE, SIZE, **LIMITS) is None
    scrambled = near[np.random.default_rng(0).permutation(len(near))]
    assert verify_zoom(scrambled, far, SIZE, SIZE, **LIMITS) is None
    assert verify_zoom(far, near, SIZE, SIZE, **LIMITS) is None  # the other way round
    assert verify_zoom(near[:9], far[:9], SIZE, SIZE, **LIMITS) is None


def test_a_close_up_beyond_the_rim_is_partly_inside():
    far = photographed(wall(400), 0, 0, 4.0)
    near = photographed(wall(400), -0.5, 0.8, 4.0 / 2)  # a quarter of it left of the farther photo
    inside = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    zoom = verify_zoom(near[inside], far[inside], SIZE, SIZE, **LIMITS)
    assert zoom is not None
    assert zoom.inside == pytest.approx(0.75, abs=0.03)  # counted on 33 x 33 samples
    assert zoom.coverage == pytest.approx(0.75, abs=0.15)  # the hull of random points


def test_points_at_infinity_are_refused():
    assert carry(np.array([[1.0, 0.0]]), np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 1.0]])) is None
