"""Records that packages exchange, all frozen, with their shapes, units and frames.

Pixel coordinates are (x, y), the centre of the first pixel at (0.5, 0.5). Cameras look along +z, x to the right, y down
(the convention of OpenCV and COLMAP). World units are those of the scene: centred on its median point, scaled so
that nine tenths of its points lie within one unit of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # records of metadata are read where PyTorch would cost seconds: plans, corpora
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class ImageRecord:
    """Metadata of one photo as its authors wrote it: untrusted text in any language, any of it empty."""

    image_id: str
    landmark: str = ""
    filename: str = ""
    caption: str = ""
    categories: tuple[str, ...] = ()
    building_type: str = ""


@dataclass(frozen=True)
class PseudoLabel:
    """Label of what a photo shows, distilled from its metadata; an empty label, of confidence 0, is "unknown"."""

    image_id: str
    label: str
    confidence: float = 0.0  # in [0, 1]
    evidence: str = ""  # the text of the record from which the label was derived


@dataclass(frozen=True)
class Matches:
    """Corresponding points in two photos: `points0`, `points1` [M, 2], px of each photo, `score` [M] in [0, 1]."""

    points0: Tensor
    points1: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.points0)


@dataclass(frozen=True)
class View:
    """A pinhole camera: intrinsics in pixels of a `width` x `height` image, `camera_to_world` [3, 4].

    A view may be a part of an image, at any scale. `frame` is then left, top, right and bottom of the whole image in
    pixels of the view, so that what depends on the whole image (limits, coordinates) is the same in the part.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    camera_to_world: Tensor = field(compare=False)
    frame: tuple[float, float, float, float] | None = None  # px; None: the view is the whole image

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the whole image, px of the view."""
        return self.frame or (0.0, 0.0, float(self.width), float(self.height))

    @property
    def centre(self) -> Tensor:
        """Camera centre, [3], world units."""
        return self.camera_to_world[:, 3]

    @property
    def world_to_camera(self) -> Tensor:
        """Rigid inverse of `camera_to_world`, [3, 4]."""
        import torch

        rotation = self.camera_to_world[:, :3].T
        return torch.cat([rotation, -rotation @ self.camera_to_world[:, 3:]], dim=1)

    @property
    def intrinsics(self) -> Tensor:
        """K, [3, 3], in pixels."""
        import torch

        return torch.tensor([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> View:
        """The same camera with an image of `width` x `height` px."""
        sx, sy = width / self.width, height / self.height
        part = self.frame and (self.frame[0] * sx, self.frame[1] * sy, self.frame[2] * sx, self.frame[3] * sy)
        fx, fy, cx, cy = self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy
        return replace(self, width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy, frame=part)

    def with_long_side(self, size: int, min_side: int = 1) -> View:
        """The same camera with an image whose longer side has `size` px, and each side at least `min_side` px."""
        scale = size / max(self.width, self.height)
        return self.resized(max(min_side, round(self.width * scale)), max(min_side, round(self.height * scale)))

    def within(self, size: int, min_side: int = 1) -> View:
        """The same camera with an image whose longer side has at most `size` px, each side at least `min_side` px."""
        return self.with_long_side(min(size, max(self.width, self.height)), min_side)

    def cropped(self, left: float, top: float, width: int, height: int) -> View:
        """The part of `width` x `height` px of the image from (left, top), px of the view, at the same scale."""
        bounds = self.bounds
        part = (bounds[0] - left, bounds[1] - top, bounds[2] - left, bounds[3] - top)
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top, frame=part)

    def to(self, device: torch.device | str) -> View:
        """The same camera with its pose on `device`."""
        return replace(self, camera_to_world=self.camera_to_world.to(device))


@dataclass(frozen=True)
class Rendering:
    """The rendering of a view by a field, over the field's background where it has one.

    colour: [H, W, 3] in [0, 1]. depth: [H, W], world units along the optical axis, the opacity-weighted mean of the
    elements' depths (0 where nothing is hit). opacity: [H, W] in [0, 1].
    channels: [H, W, P], composited without background (a pixel's weights sum to its opacity), or None.
    normals: [H, W, 3], world frame, composited like channels (length at most the opacity), facing the camera; or None.
    coarse: [H, W, 3], the colour of the network that places a NeRF's samples, where that network is being fitted; or
    None.
    """

    colour: Tensor
    depth: Tensor
    opacity: Tensor
    channels: Tensor | None = None
    normals: Tensor | None = None
    coarse: Tensor | None = None


@dataclass(frozen=True)
class Splats:
    """N Gaussians in the world frame as splat viewers draw them, without colours, which depend on the appearance code.

    centres: [N, 3], world units. scales: [N, 3], standard deviations in world units. rotations: [N, 4], unit
    quaternions wxyz, from a Gaussian's axes to the world's. opacities: [N] in [0, 1]. element: [N], index of the
    field's element that each represents and whose probabilities it has.
    """

    centres: Tensor
    scales: Tensor
    rotations: Tensor
    opacities: Tensor
    element: Tensor

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, rows: Tensor) -> Splats:
        """The Gaussians of `rows`, indices [M] or bool [N], in the order given."""
        return Splats(*(values[rows] for values in self._values()))

    def to(self, device: torch.device | str) -> Splats:
        """The same Gaussians on `device`, without gradients."""
        return Splats(*(values.detach().to(device) for values in self._values()))

    def _values(self) -> tuple[Tensor, ...]:
        return self.centres, self.scales, self.rotations, self.opacities, self.element
