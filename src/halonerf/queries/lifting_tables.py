"""Lifting as a table: what each element of a frozen field takes from each cell of a coarse map of one photo.

A map of h x w cells is drawn out to the photo's H x W pixels bilinearly, U p, and lifted, A^T (w U p), w being where
the photo is valid. Both steps are linear and the field does not change: B = A^T diag(w) U, [E, h w] and sparse, holds
them once for all words. B's rows are found by lifting one cell's hat after the other, in small parts of the view, where
few elements are seen.
"""

from __future__ import annotations

import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.protocols import RadianceField
from halonerf.types import View

NEGLIGIBLE = 1e-4  # px of the photo; smaller entries are dropped
PART_BYTES = 64e6  # that the dense answer of one part of a view may take
TILE = 16  # px; parts are multiples of the rasteriser's tiles


def table_grid(view: View, longest: int) -> tuple[int, int]:
    """Height and width of a photo's coarse map, its long side at most `longest`; never finer than the photo."""
    scale = min(1.0, longest / max(view.height, view.width))
    return max(1, round(view.height * scale)), max(1, round(view.width * scale))


@torch.no_grad()
def lifting_table(field: RadianceField, view: View, valid: Tensor, grid: tuple[int, int]) -> csr_array:
    """B^T, [h w, E] float32, in pixels of `view`.

    Args:
        view: at the resolution at which the field is looked at. valid: [H, W], what of each pixel counts, in [0, 1].
        grid: height and width of the coarse map.
    """
    hats_y, hats_x = _hats(grid[0], view.height), _hats(grid[1], view.width)
    side = _part_side(field.elements, view, grid)
    rows, columns, values = [], [], []
    for top in range(0, view.height, side):
        for left in range(0, view.width, side):
            height, width = min(side, view.height - top), min(side, view.width - left)
            part_y, part_x = hats_y[:, top : top + height], hats_x[:, left : left + width]
            cell_y, cell_x = (part.any(dim=1).nonzero()[:, 0] for part in (part_y, part_x))
            maps = torch.einsum("iy,jx->yxij", part_y[cell_y], part_x[cell_x]).flatten(2)
            part = view.cropped(left, top, width, height)
            weight = valid[top : top + height, left : left + width].to(maps)
            place = part.camera_to_world.device
            sums, seen = field.lift(part, maps.to(place), weight.to(place))
            element = (seen > NEGLIGIBLE).nonzero()[:, 0]
            found = sums[element].cpu()
            entry, cell = (found > NEGLIGIBLE).nonzero(as_tuple=True)
            rows.append((cell_y[:, None] * grid[1] + cell_x).flatten()[cell])
            columns.append(element.cpu()[entry])
            values.append(found[entry, cell])
    places = (torch.cat(rows).int().numpy(), torch.cat(columns).int().numpy())
    table = coo_array((torch.cat(values).float().numpy(), places), shape=(grid[0] * grid[1], field.elements))
    return csr_array(table)  # adds up what a cell's hat gave an element in several parts


def _hats(cells: int, pixels: int) -> Tensor:
    """Weight of each cell at each pixel along one side, [cells, pixels]: `interpolate`'s, bilinear."""
    return interpolate(torch.eye(cells)[None], size=pixels, mode="linear", align_corners=False)[0]


def _part_side(elements: int, view: View, grid: tuple[int, int]) -> int:
    """px; the largest parts whose answer [E, cells] stays below `PART_BYTES`, one tile at the least."""
    cell = max(1.0, max(view.height, view.width) / max(grid))
    room = (PART_BYTES / 4 / max(1, elements)) ** 0.5
    return max(TILE, int((room - 2) * cell) // TILE * TILE)
