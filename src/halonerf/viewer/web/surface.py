"""The point of the field's surface at a place of a picture."""

from __future__ import annotations

import torch
from torch import Tensor

from halonerf.protocols import SplatField
from halonerf.rotations import matrices
from halonerf.types import Splats, View
from halonerf.viewer.engine import Engine
from halonerf.viewer.web.note_models import Pixel
from halonerf.viewer.web.pictures import checked_pose

MIN_OPACITY = 0.5  # of what is seen along a ray that meets a surface
NEAR = 0.01  # world units; as in the rasterisers
MIN_ALPHA = 1 / 255  # of a Gaussian that counts; as in the rasterisers


@torch.no_grad()
def surface_point(pixel: Pixel, engine: Engine) -> tuple[float, float, float] | None:
    """The point where the ray of a place meets the surface, world units; None where it meets none.

    With Gaussians it is where the ray has become half opaque (`ray_distance`). Other fields are rendered in that pixel
    only, as the part of the whole picture that it is, and the point lies at their mean depth.

    Raises: BadInput for a pose that does not rotate.
    """
    pose, (cx, cy) = checked_pose(pixel.pose), pixel.principal
    ray = pose.new_tensor([(pixel.x - cx) / pixel.focal, (pixel.y - cy) / pixel.focal, 1.0])
    direction, eye = pose[:, :3] @ ray, pose[:, 3]
    if isinstance(engine.field, SplatField):
        with engine.exclusive():
            distance = ray_distance(engine.field.splats().to("cpu"), eye, direction)
    else:
        view = View(pixel.width, pixel.height, pixel.focal, pixel.focal, cx, cy, pose)
        seen = engine.render(view.cropped(pixel.x - 0.5, pixel.y - 0.5, 1, 1), engine.field.mean_appearance())
        distance = float(seen.depth[0, 0]) if float(seen.opacity[0, 0]) >= MIN_OPACITY else None
    if distance is None:
        return None
    x, y, z = (eye + distance * direction).tolist()
    return x, y, z


def ray_distance(splats: Splats, eye: Tensor, direction: Tensor) -> float | None:
    """How far along a ray its opacity passes one half, in lengths of `direction`; None where it does not.

    Each Gaussian counts where the ray has its largest value of it, not at its centre: on a surface of flat Gaussians
    that is where the ray meets the surface.
    """
    inverse = (matrices(splats.rotations.double()) / splats.scales.double()[:, None]).transpose(1, 2)  # R^T / s
    along = inverse @ direction.double()  # [N, 3], the ray in units of each Gaussian's standard deviations
    offset = (inverse @ (splats.centres.double() - eye.double())[..., None])[..., 0]
    distance = (along * offset).sum(dim=1) / (along * along).sum(dim=1)
    apart = (offset - distance[:, None] * along).square().sum(dim=1)
    alpha = splats.opacities.double() * torch.exp(-0.5 * apart)
    met = ((alpha >= MIN_ALPHA) & (distance > NEAR)).nonzero()[:, 0]
    order = met[distance[met].argsort()]
    opacity = 1 - torch.cumprod(1 - alpha[order], dim=0)
    passed = (opacity >= MIN_OPACITY).nonzero()
    return float(distance[order[passed[0, 0]]]) if len(passed) else None
