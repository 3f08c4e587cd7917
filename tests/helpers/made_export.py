"""A ball as a scene: red on the left, blue on the right; its upper half is a concept. For tests of exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import torch
from torch import Tensor, nn

from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.geometry import pixel_centres, ray_directions
from halonerf.heads.lifted import Lifted
from halonerf.types import Rendering, View
from helpers.made_folders import write_folders

RADIUS = 0.5  # world units
RED, BLUE = (0.8, 0.2, 0.2), (0.2, 0.2, 0.8)
CODE = 4
HEAD: dict[str, Any] = {"_target_": "halonerf.heads.Lifted"}
GAUSSIANS: dict[str, Any] = {"_target_": "halonerf.fields.Gaussians", "code_size": CODE}
BALL: dict[str, Any] = {"_target_": f"{__name__}.Ball"}


def on_ball(count: int) -> Tensor:
    """Points [count, 3] spread evenly over the ball (a golden spiral)."""
    index = torch.arange(count) + 0.5
    z, turn = 1 - 2 * index / count, 2.399963 * index
    flat = (1 - z * z).sqrt()
    return RADIUS * torch.stack([flat * turn.cos(), flat * turn.sin(), z], dim=1)


def colours_at(points: Tensor) -> Tensor:
    """[..., 3] -> [..., 3]."""
    return torch.where(points[..., :1] < 0, torch.tensor(RED), torch.tensor(BLUE))


class Ball(nn.Module):
    """A field without Gaussians: the ball itself, a little brighter or darker in each photo's light."""

    antialiased, encodes = False, False

    def __init__(self, elements: int = 200) -> None:
        super().__init__()
        self.elements = elements
        self.codes = nn.Parameter(torch.zeros(1))

    def mean_appearance(self) -> Tensor:
        return torch.zeros(CODE)

    def appearance(self, name: str) -> Tensor:
        return torch.full((CODE,), 0.1)

    def element_centres(self) -> Tensor:
        centres = on_ball(self.elements)
        centres[0] = torch.nan  # the sky, say
        return centres

    def render(self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False):
        rays = ray_directions(view, pixel_centres(view))
        a, b = (rays**2).sum(dim=-1), (rays @ view.centre)
        inside = b * b - a * (view.centre @ view.centre - RADIUS**2)
        depth = (-b - inside.clamp(min=0).sqrt()) / a
        hit = (inside > 0) & (depth > 0)
        points = view.centre + depth[..., None] * rays
        colour = torch.where(hit[..., None], colours_at(points) + appearance[0], torch.ones(3))
        composited = None
        if channels is not None:
            nearest = torch.cdist(points.reshape(-1, 3), on_ball(self.elements)).argmin(dim=1)
            composited = channels[nearest].reshape(*hit.shape, -1) * hit[..., None]
        return Rendering(colour.clamp(0, 1), torch.where(hit, depth, 0.0), hit.float(), composited)

    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("an export lifts nothing")

    def load(self, path: Path) -> None:
        pass


def made_gaussians(names: list[str], count: int = 3000) -> Gaussians:
    """The ball in Gaussians whose light differs from photo to photo."""
    field = Gaussians(code_size=CODE)
    points = on_ball(count)
    field.initialise(points, colours_at(points), names, seed=0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        field.opacity_logits.fill_(4.0)
        width = 0.8 * RADIUS * np.sqrt(4 * np.pi / count)
        field.log_scales.copy_(torch.tensor([width, width, 0.05 * width]).log())
        x, y, z = (points / RADIUS).unbind(dim=1)
        field.rotations.copy_(torch.stack([1 + z, -y, x, 0 * z], dim=1))  # from +z to the normal
        field.codes.table.copy_(torch.randn(field.codes.table.shape, generator=random))
        field.appearance_model.to_affine.weight.copy_(
            0.8 * torch.randn(field.appearance_model.to_affine.weight.shape, generator=random)
        )
    return field.eval()


def upper(centres: Tensor) -> Tensor:
    """Probability of the concept, [E]."""
    return torch.where(centres[:, 2] > 0, 0.9, 0.1)


def write_ball_folders(root: Path, concepts: tuple[str, ...] = ("dome", "nothing"), photos: int = 8) -> dict[str, Path]:
    """Finished folders with the ball in Gaussians; of the concepts the first is its upper half, others are nowhere."""
    pycolmap.set_random_seed(0)  # the cameras are placed by chance
    folders = write_folders(root, photos, concepts)
    field = made_gaussians(Scene(folders["ingest"]).names)
    field.save(folders["reconstruct"] / "field.safetensors")
    write_head(folders, field.means.detach(), concepts)
    for path in (folders["localize"] / "renders").glob("*.npz"):
        with np.load(path) as stored:
            probability, confidence = stored["probability"], stored["confidence"]
        probability[1:] = 0
        np.savez(path, probability=probability, confidence=confidence)
    return folders


def write_head(folders: dict[str, Path], centres: Tensor, concepts: tuple[str, ...]) -> None:
    probability = torch.zeros(len(centres), len(concepts))
    probability[:, 0] = upper(centres)
    support = torch.full_like(probability, 3.0)
    support[centres[:, 1] > 0.9 * RADIUS] = 0.0  # an unobserved spot
    head = Lifted()
    head.hold(probability, support)
    head.save(folders["localize"] / "head.safetensors")
