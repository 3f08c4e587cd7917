"""Baking of fields without Gaussians: flat Gaussians (surfels) on the surface rendered in the photos' views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.geometry import pixel_centres, ray_directions
from halonerf.protocols import PlacedField, RadianceField, SplatField
from halonerf.types import Splats, View

SURFACE_OPACITY = 0.5  # from which a pixel shows a surface
THICKNESS_TO_RADIUS = 0.1  # of a surfel
MIN_FACING_COSINE = 0.2  # between normal and ray; below, a depth is unreliable: an edge, mostly


def open_splats(
    field: RadianceField,
    views: Sequence[View],
    size: int = 96,
    max_surfels: int = 60_000,
    device: torch.device | str = "cpu",
) -> SplatField:
    """The Gaussians of a field: the field itself where it has them, else surfels baked from it.

    Args:
        views: cameras to bake from, those of the photos.
        size: px, long side of the renderings that are baked.
        max_surfels: upper limit of their number.
        device: of the field.

    Raises: BadInput for a field without Gaussians and element centres, or without any surface in these views.
    """
    if isinstance(field, SplatField):
        return field
    if not isinstance(field, PlacedField):
        raise BadInput(
            f"expected a field whose elements have centres, got {type(field).__name__}, which cannot be baked.\n"
            "Use one that has: field=gaussians, field=ha_nerf"
        )
    return Surfels(field, views, size, max_surfels, device)


def most_important(splats: Splats, max_splats: int) -> Tensor:
    """Indices [M], ascending, of the at most `max_splats` visible Gaussians with the largest opacity times area."""
    axes = splats.scales.sort(dim=1, descending=True).values
    importance = splats.opacities * axes[:, 0] * axes[:, 1]
    kept = importance.argsort(descending=True, stable=True)[:max_splats]
    return kept[splats.opacities[kept] >= 1 / 255].sort().values


class Surfels:
    """Flat Gaussians, one per surface pixel of small renderings of the field, thinned to an even density.

    A surfel has the probabilities of the field's nearest element. Its colour for another appearance code is that of its
    pixel with that code, for which the views are rendered again.
    """

    def __init__(
        self, field: PlacedField, views: Sequence[View], size: int, max_surfels: int, device: torch.device | str = "cpu"
    ) -> None:
        self.field = field
        self.views = [view.within(size, min_side=2).to(device) for view in views]
        baked = [self._bake(number, view) for number, view in enumerate(self.views)]
        centres, normals, radii, source = (torch.cat(parts) for parts in zip(*baked, strict=True))
        if not len(centres):
            raise BadInput("expected a field with surfaces in its photos' views, got empty renderings")
        kept, side = _thinned(centres, radii, max_surfels)
        radii = radii.clamp(min=0.6 * side)  # the fewer surfels there are, the more each has to cover
        self.source = source[kept]  # [N, 3]: view, row, column
        self._splats = Splats(
            centres[kept],
            torch.stack([radii[kept], radii[kept], THICKNESS_TO_RADIUS * radii[kept]], dim=1),
            _rotations_onto(normals[kept]),
            torch.full((len(kept),), 0.95),
            self._nearest_elements(centres[kept]),
        )

    def splats(self) -> Splats:
        """See `halonerf.protocols.SplatField`."""
        return self._splats

    @torch.no_grad()
    def splat_colours(self, appearance: Tensor) -> Tensor:
        """See `halonerf.protocols.SplatField`."""
        colours = torch.empty(len(self._splats), 3)
        for number, view in enumerate(self.views):
            rows = (self.source[:, 0] == number).nonzero()[:, 0]
            if len(rows):
                colour = self.field.render(view, appearance).colour.cpu()
                colours[rows] = colour[self.source[rows, 1], self.source[rows, 2]]
        return colours.clamp(0, 1)

    @torch.no_grad()
    def _bake(self, number: int, view: View) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centres and normals [M, 3], radii [M] and sources [M, 3] of a view's surface pixels."""
        rendering = self.field.render(view, self.field.mean_appearance())
        depth, opacity = rendering.depth.cpu(), rendering.opacity.cpu()
        view = view.to("cpu")
        rays = ray_directions(view, pixel_centres(view))
        points = view.centre + depth[..., None] * rays
        normals = _normals(points)
        facing = -(F.normalize(rays, dim=-1) * normals).sum(dim=-1)
        surface = (opacity > SURFACE_OPACITY) & (depth > 0) & (facing.abs() > MIN_FACING_COSINE)
        normals = torch.where(facing[..., None] < 0, -normals, normals)
        rows, columns = surface.nonzero(as_tuple=True)
        source = torch.stack([torch.full_like(rows, number), rows, columns], dim=1)
        radius = 0.6 * depth / max(view.fx, view.fy)
        return points[surface], normals[surface], radius[surface], source

    def _nearest_elements(self, centres: Tensor) -> Tensor:
        """The field's element nearest to each of `centres` [N, 3], [N]; the last one for a field without centres."""
        elements = self.field.element_centres().detach().cpu()
        placed = elements.isfinite().all(dim=1).nonzero()[:, 0]
        if not len(placed):
            return torch.full((len(centres),), self.field.elements - 1)
        _, nearest = cKDTree(elements[placed].numpy()).query(centres.numpy())
        return placed[torch.from_numpy(np.asarray(nearest))]


def _normals(points: Tensor) -> Tensor:
    """Unit normals [H, W, 3] of the surface through an image of points [H, W, 3], by central differences."""
    padded = F.pad(points.permute(2, 0, 1)[None], (1, 1, 1, 1), mode="replicate")[0].permute(1, 2, 0)
    across, down = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    return F.normalize(torch.linalg.cross(across, down), dim=-1)


def _thinned(centres: Tensor, radii: Tensor, max_surfels: int) -> tuple[Tensor, float]:
    """Indices of the smallest surfel in each cell of a grid, and the side of its cells, world units.

    The side is the median radius, enlarged until at most `max_surfels` cells are occupied.
    """
    side = float(radii.median())
    by_radius = radii.argsort(stable=True)
    while True:
        cells = torch.floor(centres[by_radius] / side).long()
        _, first = np.unique(cells.numpy(), axis=0, return_index=True)
        if len(first) <= max_surfels:
            return by_radius[torch.from_numpy(np.sort(first))], side
        side *= 1.25


def _rotations_onto(normals: Tensor) -> Tensor:
    """Unit quaternions wxyz [N, 4] that turn the z axis to `normals` [N, 3]."""
    w, x, y = 1 + normals[:, 2], -normals[:, 1], normals[:, 0]
    turned = torch.stack([w, x, y, torch.zeros_like(w)], dim=1)
    opposite = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand_as(turned)
    return F.normalize(torch.where((w < 1e-6)[:, None], opposite, turned), dim=1)
