"""Corrections of cameras: none at first, no common motion, and recovery of known errors."""

from __future__ import annotations

from dataclasses import replace

import torch

from halonerf.stages.reconstruct.camera_refinement import CameraCorrections, skew
from halonerf.types import View
from helpers.made_fields import Panorama


def views(count: int = 5) -> list[View]:
    """Cameras around the origin, looking at it."""
    random = torch.Generator().manual_seed(0)
    made = []
    for k in range(count):
        angle = torch.tensor(0.7 * k)
        turn = torch.linalg.matrix_exp(skew(torch.tensor([0.0, 1.0, 0.0]) * angle))
        centre = turn @ torch.tensor([0.0, 0.0, -2.0]) + 0.2 * torch.randn(3, generator=random)
        made.append(View(24, 18, 25.0, 25.0, 12.0, 9.0, torch.cat([turn, centre[:, None]], dim=1)))
    return made


def test_nothing_is_corrected_at_first():
    cameras = CameraCorrections(views())
    for k, view in enumerate(views()):
        assert torch.equal(cameras.corrected(view, k).camera_to_world, view.camera_to_world)


def test_a_correction_rotates_and_translates_in_the_world_frame():
    cameras, view = CameraCorrections(views()), views()[2]
    with torch.no_grad():
        cameras.raw[2] = torch.tensor([0.0, 0.0, 0.1, 0.02, 0.0, 0.0])
        turn, shift = cameras.values()[2].split(3)
    moved = cameras.corrected(view, 2)
    torch.testing.assert_close(moved.centre, view.centre + shift)
    expected = torch.linalg.matrix_exp(skew(turn)) @ view.camera_to_world[:, :3]
    torch.testing.assert_close(moved.camera_to_world[:, :3], expected)
    identity = moved.camera_to_world[:, :3] @ moved.camera_to_world[:, :3].T
    torch.testing.assert_close(identity, torch.eye(3), atol=1e-6, rtol=0)


def test_motions_of_all_cameras_together_are_no_corrections():
    cameras = CameraCorrections(views())
    centres = torch.stack([view.centre for view in views()])
    turn = torch.tensor([0.3, -0.2, 0.5])
    for common in (
        torch.cat([turn.expand(5, 3), torch.linalg.cross(turn.expand(5, 3), centres)], dim=1),
        torch.cat([torch.zeros(5, 3), torch.tensor([0.1, 0.4, -0.2]).expand(5, 3)], dim=1),
        torch.cat([torch.zeros(5, 3), 0.3 * centres], dim=1),
    ):
        with torch.no_grad():
            cameras.raw.copy_(common)
        torch.testing.assert_close(cameras.values(), torch.zeros(5, 6), atol=1e-6, rtol=0)
    with torch.no_grad():
        cameras.raw.copy_(torch.randn(5, 6, generator=torch.Generator().manual_seed(1)))
    once = cameras.values().detach()
    assert once.abs().max() > 0.3
    with torch.no_grad():
        cameras.raw.copy_(once)
    torch.testing.assert_close(cameras.values(), once, atol=1e-6, rtol=0)


def test_few_cameras_have_nothing_to_correct():
    """One camera's every motion is common; two cameras at the origin know no scale."""
    alone = CameraCorrections(views(1))
    with torch.no_grad():
        alone.raw.fill_(0.1)
    torch.testing.assert_close(alone.values(), torch.zeros(1, 6), atol=1e-6, rtol=0)
    origin = [replace(view, camera_to_world=torch.eye(3, 4)) for view in views(2)]
    assert CameraCorrections(origin).common.shape == (12, 6)


def test_wrong_cameras_are_corrected():
    field = Panorama()
    field.initialise(torch.zeros(4, 3), torch.zeros(4, 3), ["a.jpg"], seed=0)
    field.requires_grad_(False)
    right, wrong = views(), views()
    photos = [field.render(view, torch.zeros(3)).colour for view in right]
    for k, sign in ((1, 1.0), (3, -1.0)):  # opposite turns: no common motion
        turn = torch.linalg.matrix_exp(skew(sign * torch.tensor([0.0, 0.04, 0.02])))
        pose = torch.cat([turn @ right[k].camera_to_world[:, :3], right[k].camera_to_world[:, 3:]], dim=1)
        wrong[k] = replace(right[k], camera_to_world=pose)
    cameras = CameraCorrections(wrong)
    optimiser = torch.optim.Adam(cameras.parameters(), lr=2e-3)
    errors = []
    for _ in range(80):
        optimiser.zero_grad()
        shown = (field.render(cameras.corrected(view, k), torch.zeros(3)).colour for k, view in enumerate(wrong))
        error = sum(((s - photo) ** 2).mean() for s, photo in zip(shown, photos, strict=True))
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.02 * errors[0]
