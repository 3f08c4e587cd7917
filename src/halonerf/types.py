"""What travels between the rooms: frozen records with their shapes, units and frames.

Pixels are (x, y) with the centre of the first pixel at (0.5, 0.5). Cameras look along +z, x to the right, y down
(the convention of OpenCV and COLMAP). World units are those of the scene: centred on its median point, scaled so
that nine tenths of its points lie within one unit of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageRecord:
    """One photo's metadata as people wrote it; any text may be empty, in any language, and is never trusted."""

    image_id: str
    landmark: str = ""
    filename: str = ""
    caption: str = ""
    categories: tuple[str, ...] = ()
    building_type: str = ""


@dataclass(frozen=True)
class PseudoLabel:
    """What one record says its photo shows. An empty label is an honest "unknown", with confidence zero."""

    image_id: str
    label: str
    confidence: float = 0.0  # in [0, 1]
    evidence: str = ""  # the words of the record that led to the label


@dataclass(frozen=True)
class Matches:
    """Points seen in two photos: `points0`, `points1` [M, 2] in pixels, `score` [M] in [0, 1]."""

    points0: Tensor
    points1: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.points0)


@dataclass(frozen=True)
class View:
    """A pinhole camera: intrinsics in pixels of a `width` x `height` image, `camera_to_world` [3, 4]."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    camera_to_world: Tensor = field(compare=False)

    @property
    def centre(self) -> Tensor:
        """Camera centre, [3], world units."""
        return self.camera_to_world[:, 3]

    @property
    def world_to_camera(self) -> Tensor:
        """Rigid inverse of `camera_to_world`, [3, 4]."""
        rotation = self.camera_to_world[:, :3].T
        return torch.cat([rotation, -rotation @ self.camera_to_world[:, 3:]], dim=1)

    @property
    def intrinsics(self) -> Tensor:
        """K, [3, 3], in pixels."""
        return torch.tensor([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> View:
        """The same camera with its image resampled to `width` x `height` pixels."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self, width=width, height=height, fx=self.fx * sx, fy=self.fy * sy, cx=self.cx * sx, cy=self.cy * sy
        )

    def to(self, device: torch.device | str) -> View:
        """The same camera with its pose on `device`."""
        return replace(self, camera_to_world=self.camera_to_world.to(device))


@dataclass(frozen=True)
class Rendering:
    """What a field shows in a view: composited over its background where it has one.

    colour: [H, W, 3] in [0, 1]. depth: [H, W], world units along the optical axis, the opacity-weighted mean of the
    elements' depths (0 where nothing is hit). opacity: [H, W] in [0, 1].
    channels: [H, W, P] composited without background (a pixel's weights sum to its opacity), or None.
    """

    colour: Tensor
    depth: Tensor
    opacity: Tensor
    channels: Tensor | None = None
