"""Fields without Gaussians as Gaussians: flat ones, laid on what the field shows in the photos' views."""

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

SOLID = 0.5  # opacity from which a pixel shows a surface
FLAT = 0.1  # of a surfel's height to its radius
GRAZING = 0.2  # cosine between normal and sight below which a depth says little: an edge, mostly


def open_splats(
    field: RadianceField, views: Sequence[View], size: int = 96, most: int = 60_000, device: torch.device | str = "cpu"
) -> SplatField:
    """The field itself where splat viewers can draw it, else surfels baked from it.

    Args:
        views: cameras to bake from, those of the photos.
        size: px, long side of the pictures that are baked.
        most: surfels at most.
        device: where the field is.

    Raises: BadInput where a field has neither Gaussians nor places, or shows nothing solid in these views.
    """
    if isinstance(field, SplatField):
        return field
    if not isinstance(field, PlacedField):
        raise BadInput(
            f"expected a field that says where its elements are, got {type(field).__name__}, which cannot be baked.\n"
            "Take one that does: field=gaussians, field=ha_nerf"
        )
    return Surfels(field, views, size, most, device)


def most_important(splats: Splats, most: int) -> Tensor:
    """Which to keep, ascending: at most that many, those with the largest opacity times area."""
    widest = splats.scales.sort(dim=1, descending=True).values
    weight = splats.opacities * widest[:, 0] * widest[:, 1]
    kept = weight.argsort(descending=True, stable=True)[:most]
    return kept[splats.opacities[kept] >= 1 / 255].sort().values


class Surfels:
    """Flat Gaussians, one a solid pixel of small pictures of the field, thinned to an even density.

    A surfel has the probabilities of the nearest of the field's elements. Its colour in another light is what the
    field shows at its pixel in that light: that takes the pictures again.
    """

    def __init__(
        self, field: PlacedField, views: Sequence[View], size: int, most: int, device: torch.device | str = "cpu"
    ) -> None:
        self.field = field
        self.views = [view.within(size, min_side=2).to(device) for view in views]
        found = [self._look(number, view) for number, view in enumerate(self.views)]
        centres, normals, radii, source = (torch.cat(parts) for parts in zip(*found, strict=True))
        if not len(centres):
            raise BadInput("expected a field that shows something solid in its photos' views, got empty pictures")
        kept, side = _thinned(centres, radii, most)
        radii = radii.clamp(min=0.6 * side)  # the fewer there are, the more each has to cover
        self.source = source[kept]  # [N, 3]: view, row, column
        self._splats = Splats(
            centres[kept],
            torch.stack([radii[kept], radii[kept], FLAT * radii[kept]], dim=1),
            _upright_on(normals[kept]),
            torch.full((len(kept),), 0.95),
            self._nearest(centres[kept]),
        )

    def splats(self) -> Splats:
        """See `halonerf.protocols.SplatField`."""
        return self._splats

    @torch.no_grad()
    def splat_colours(self, appearance: Tensor) -> Tensor:
        """See `halonerf.protocols.SplatField`."""
        colours = torch.empty(len(self._splats), 3)
        for number, view in enumerate(self.views):
            here = (self.source[:, 0] == number).nonzero()[:, 0]
            if len(here):
                shown = self.field.render(view, appearance).colour.cpu()
                colours[here] = shown[self.source[here, 1], self.source[here, 2]]
        return colours.clamp(0, 1)

    @torch.no_grad()
    def _look(self, number: int, view: View) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centres and normals [M, 3], radii [M] and sources [M, 3] of a view's solid pixels."""
        shown = self.field.render(view, self.field.mean_appearance())
        depth, opacity = shown.depth.cpu(), shown.opacity.cpu()
        view = view.to("cpu")
        rays = ray_directions(view, pixel_centres(view))
        points = view.centre + depth[..., None] * rays
        normals = _normals(points)
        facing = -(F.normalize(rays, dim=-1) * normals).sum(dim=-1)
        solid = (opacity > SOLID) & (depth > 0) & (facing.abs() > GRAZING)
        normals = torch.where(facing[..., None] < 0, -normals, normals)
        rows, columns = solid.nonzero(as_tuple=True)
        source = torch.stack([torch.full_like(rows, number), rows, columns], dim=1)
        radius = 0.6 * depth / max(view.fx, view.fy)
        return points[solid], normals[solid], radius[solid], source

    def _nearest(self, centres: Tensor) -> Tensor:
        places = self.field.element_centres().detach().cpu()
        known = places.isfinite().all(dim=1).nonzero()[:, 0]
        if not len(known):
            return torch.full((len(centres),), self.field.elements - 1)
        _, nearest = cKDTree(places[known].numpy()).query(centres.numpy())
        return known[torch.from_numpy(np.asarray(nearest))]


def _normals(points: Tensor) -> Tensor:
    """Unit normals of the surface through a picture of points [H, W, 3], from the pixels beside each."""
    padded = F.pad(points.permute(2, 0, 1)[None], (1, 1, 1, 1), mode="replicate")[0].permute(1, 2, 0)
    across, down = padded[1:-1, 2:] - padded[1:-1, :-2], padded[2:, 1:-1] - padded[:-2, 1:-1]
    return F.normalize(torch.linalg.cross(across, down), dim=-1)


def _thinned(centres: Tensor, radii: Tensor, most: int) -> tuple[Tensor, float]:
    """Indices of the smallest surfel in each cell of a grid, and its cells' side: a typical radius, more until few."""
    side = float(radii.median())
    finest = radii.argsort(stable=True)
    while True:
        cells = torch.floor(centres[finest] / side).long()
        _, first = np.unique(cells.numpy(), axis=0, return_index=True)
        if len(first) <= most:
            return finest[torch.from_numpy(np.sort(first))], side
        side *= 1.25


def _upright_on(normals: Tensor) -> Tensor:
    """Unit quaternions wxyz [N, 4] that turn the z axis to `normals` [N, 3]."""
    w, x, y = 1 + normals[:, 2], -normals[:, 1], normals[:, 0]
    turned = torch.stack([w, x, y, torch.zeros_like(w)], dim=1)
    opposite = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand_as(turned)
    return F.normalize(torch.where((w < 1e-6)[:, None], opposite, turned), dim=1)
