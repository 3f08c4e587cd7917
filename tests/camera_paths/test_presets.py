"""Preset paths stay near the photos and out of walls, and work for few and for unusual photos."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from halonerf.camera_paths.path import CameraPath
from halonerf.camera_paths.presets import PRESETS, fly_through, orbit, spiral
from halonerf.camera_paths.sites import Sites
from halonerf.types import View

Z_UP = torch.tensor([0.0, 0.0, 1.0])


def looking(place: Tensor, target: Tensor, width: int = 64, height: int = 48, focal: float = 60.0) -> View:
    """An upright camera; z is up in the world."""
    forward = torch.nn.functional.normalize(target - place, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, Z_UP), dim=0)
    pose = torch.stack([right, torch.linalg.cross(forward, right), forward, place], dim=1)
    return View(width, height, focal, focal, width / 2, height / 2, pose)


def box(count: int = 4000) -> Tensor:
    """Points on the walls of a building, 1 x 1 x 1, around the origin."""
    random = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=random) - 0.5
    side = torch.randint(4, (count,), generator=random)
    points[torch.arange(count), side % 2] = 0.5 - (side // 2).float()
    return points


def ring(angles: Tensor, radius: float = 2.5) -> list[View]:
    """Photos at angles in the plane, radians, that look at the origin, each a little nearer or higher than the next."""
    random = torch.Generator().manual_seed(1)
    views = []
    for angle in angles.tolist():
        far, high = (
            radius + 0.6 * float(torch.rand((), generator=random)),
            0.3 * float(torch.rand((), generator=random)),
        )
        place = torch.tensor([far * math.cos(angle), far * math.sin(angle), high - 0.2])
        views.append(looking(place, 0.1 * torch.randn(3, generator=random)))
    return views


def centres(path: CameraPath) -> Tensor:
    return torch.stack([sample.camera_to_world[:, 3] for sample in path.sample(20)])


def axes(path: CameraPath) -> Tensor:
    return torch.stack([sample.camera_to_world[:, 2] for sample in path.sample(20)])


def seen(path: CameraPath, point: Tensor) -> float:
    """The share of a film's frames in whose middle half `point` is."""
    inside = 0
    samples = path.sample(5)
    for sample in samples:
        x, y, z = (sample.camera_to_world[:, :3].T @ (point - sample.camera_to_world[:, 3])).tolist()
        view = sample.view(64, 48)
        inside += z > 0 and abs(x / z * view.fx) < 16 and abs(y / z * view.fy) < 12
    return inside / len(samples)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_facade_is_not_filmed_from_behind(name: str):
    front = ring(torch.linspace(-2.2, -0.9, 24))  # photographers stand at y < 0
    path = PRESETS[name](front, box(), seconds=6.0)
    places = centres(path)
    assert (places[:, 1] < -0.9).all()
    assert path.duration == pytest.approx(6)
    assert seen(path, torch.zeros(3)) > 0.9
    # Films do not leap: no two frames at 20 a second are further apart than a tenth of the way to the building.
    assert places.diff(dim=0).norm(dim=1).max() < 0.25
    assert (axes(path).diff(dim=0).norm(dim=1) < 0.15).all()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_paths_do_not_cross_walls(name: str):
    around = ring(torch.linspace(0, 2 * math.pi, 41)[:-1])
    places = centres(PRESETS[name](around, box()))
    assert (places[:, :2].abs().amax(dim=1) > 0.6).all()


def test_flights_avoid_obstacles_between_photos():
    """Two groups of photos look the same way from both sides of a long wall."""
    random = torch.Generator().manual_seed(0)
    wall = torch.rand(3000, 3, generator=random) * torch.tensor([0.0, 8.0, 2.0]) - torch.tensor([0.0, 6.0, 1.0])
    front = torch.rand(1000, 3, generator=random) * torch.tensor([4.0, 0.0, 2.0]) + torch.tensor([-2.0, 2.0, -1.0])
    places = [torch.tensor([x, y, 0.1 * k]) for k, x in enumerate((-0.5, 0.5, 0.6)) for y in (-2.0, -1.7, -1.2, -1.0)]
    views = [looking(place, place + torch.tensor([0.0, 3.0, 0.0])) for place in places]
    path = fly_through(views, torch.cat([wall, front]))
    assert (centres(path)[:, 0] > 0.3).all()  # more photos stand there
    assert (centres(fly_through(views, front))[:, 0] < -0.3).any()


def test_a_position_behind_a_wall_is_pulled_back():
    views = ring(torch.linspace(-2.2, -0.9, 5))
    sites = Sites(views, box())
    start = sites.centres[2]
    through = -start
    assert np.linalg.norm(sites.pull_back(through, 2) - start) <= 0.5 * np.linalg.norm(start)
    near = start + 0.1
    assert np.array_equal(sites.pull_back(near, 2), near)


def test_photos_from_all_sides_make_a_full_circle():
    path = orbit(ring(torch.linspace(0, 2 * math.pi, 25)[:-1]), box())
    assert path.loop
    angles = torch.atan2(centres(path)[:, 1], centres(path)[:, 0])
    assert len(torch.unique((angles / (math.pi / 6)).floor())) == 12
    assert seen(path, torch.zeros(3)) == 1


def test_an_orbit_covers_the_arc_of_the_photos_and_no_more():
    angles = torch.cat([torch.linspace(-2.2, -0.9, 24), torch.tensor([1.5])])  # one stray photo from behind
    path = orbit(ring(angles), box())
    assert not path.loop
    found = torch.atan2(centres(path)[:, 1], centres(path)[:, 0])
    assert found.min() > -2.35
    assert found.max() < -0.75
    assert found.max() - found.min() > 1.0


def test_an_orbit_may_cross_the_discontinuity_of_the_angle():
    path = orbit(ring(torch.linspace(math.pi - 0.6, math.pi + 0.6, 20)), box())
    assert (centres(path)[:, 0] < -1).all()


def test_photos_that_face_away_are_ignored():
    front = ring(torch.linspace(-2.0, -1.1, 12))
    away = [looking(v.centre, 3 * v.centre) for v in ring(torch.linspace(-1.0, 0.6, 12))]
    found = centres(orbit([*front, *away], box()))
    assert torch.atan2(found[:, 1], found[:, 0]).max() < -1.0


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("points", [0, 2, 400])
def test_few_photos_and_few_points_suffice(name: str, count: int, points: int):
    path = PRESETS[name](ring(torch.linspace(-1.8, -1.2, count)), box()[:points], seconds=3.0)
    assert centres(path).isfinite().all()
    assert path.duration == pytest.approx(3)
    turns = torch.stack([s.camera_to_world[:, :3] for s in path.sample(10)])
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(3).expand_as(turns), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_photos_at_one_position_give_a_small_motion(name: str):
    same = [looking(torch.tensor([0.0, -3.0, 0.0]), torch.zeros(3))] * 5
    places = centres(PRESETS[name](same, box()))
    assert places.isfinite().all()
    assert 0 < (places - places[0]).norm(dim=1).max() < 1.5


def test_a_flight_leaves_out_close_ups_and_has_the_photos_appearances():
    views = ring(torch.linspace(-2.2, -0.9, 12))
    close = [looking(v.centre, torch.tensor([0.2, -0.5, 0.3]), focal=500.0) for v in views[:6]]
    names = [f"{i}.jpg" for i in range(18)]
    path = fly_through([*close, *views], box(), names)
    used = [key.light for key in path.keyframes]
    assert set(used) <= set(names[6:])
    assert len(used) == len(set(used)) >= 5
    assert {key.light for key in orbit(views, box(), names[6:]).keyframes} == {"mean"}
    assert len({key.light for key in spiral(views, box(), names[6:]).keyframes}) == 1


def test_unusually_far_or_near_photos_do_not_bend_an_orbit():
    usual = ring(torch.linspace(-2.2, -0.9, 12))
    odd = [*ring(torch.tensor([-1.9, -1.5]), radius=12.0), *ring(torch.tensor([-1.2]), radius=0.8)]
    far = centres(orbit([*usual, *odd], box()))[:, :2].norm(dim=1)
    assert far.min() > 2.4
    assert far.max() < 3.3


def test_an_orbit_shows_as_much_as_the_photos_do():
    for focal in (40.0, 120.0):
        views = [looking(v.centre, torch.zeros(3), focal=focal) for v in ring(torch.linspace(-2.2, -0.9, 12))]
        for key in orbit(views, box()).keyframes:
            assert key.fov == pytest.approx(2 * math.atan(24 / focal), rel=0.2)


def test_a_spiral_is_centred_on_a_photo_that_faces_the_focus():
    views = ring(torch.linspace(-2.2, -0.9, 12))
    aside = [looking(views[6].centre + 0.01 * k, torch.tensor([1.5, 0.0, 0.0])) for k in range(4)]
    assert seen(spiral([*aside, *views], box()), torch.zeros(3)) == 1


def test_a_spiral_is_small_and_closed():
    views = ring(torch.linspace(-2.2, -0.9, 12))
    path = spiral(views, box())
    assert path.loop
    spread = centres(path) - centres(path).mean(dim=0)
    assert 0.02 < spread.norm(dim=1).max() < 0.5


def test_portrait_photos_make_a_portrait_film_of_the_same_extent():
    tall = [looking(v.centre, torch.zeros(3), 48, 64) for v in ring(torch.linspace(-2.2, -0.9, 9))]
    path = fly_through(tall, box())
    assert path.aspect == pytest.approx(0.75)
    assert path.keyframes[0].fov == pytest.approx(2 * math.atan(32 / 60))
    wide = [looking(v.centre, torch.zeros(3)) for v in ring(torch.linspace(-2.2, -0.9, 19))]
    mixed = fly_through([*wide, tall[4]], box())
    assert mixed.aspect == pytest.approx(4 / 3)
    assert {round(key.fov, 4) for key in mixed.keyframes} == {round(2 * math.atan(24 / 60), 4)}


def test_thousands_of_photos_are_subsampled():
    path = fly_through(ring(torch.linspace(-2.6, -0.5, 1500)), box(20_000))
    assert 2 <= len(path.keyframes) <= 40
