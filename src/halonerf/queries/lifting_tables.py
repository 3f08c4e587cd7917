"""Lifting as a sparse matrix: the weight of each cell of a photo's coarse map for each element of a frozen field.

A map p of h x w cells is interpolated bilinearly to the photo's H x W pixels, U p, and lifted, A^T (w U p), w being 1
where the photo is valid. Both steps are linear and the field is frozen: B = A^T diag(w) U, [E, h w] and sparse, is
computed once for all text prompts. Its columns are found by lifting the interpolation kernel of each cell, in small
parts of the view, in which few elements are visible.
"""

from __future__ import annotations

import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.protocols import RadianceField
from halonerf.types import View

MIN_ENTRY_PX = 1e-4  # of the photo; smaller entries are dropped
PART_BYTES = 64e6  # for the dense result of one part of a view
TILE_PX = 16  # parts are multiples of the rasteriser's tiles


def table_grid(view: View, long_side: int) -> tuple[int, int]:
    """Height and width of a photo's coarse map, its long side at most `long_side`; never finer than the photo."""
    scale = min(1.0, long_side / max(view.height, view.width))
    return max(1, round(view.height * scale)), max(1, round(view.width * scale))


@torch.no_grad()
def lifting_table(field: RadianceField, view: View, valid: Tensor, grid: tuple[int, int]) -> csr_array:
    """The lifting table B^T of a view, [h w, E] float32, in pixels of `view`.

    Args:
        view: at the resolution at which the field is rendered. valid: [H, W], weight of each pixel, in [0, 1].
        grid: height and width of the coarse map.
    """
    kernels_y, kernels_x = _kernels(grid[0], view.height), _kernels(grid[1], view.width)
    side = _part_side(field.elements, view, grid)
    rows, columns, values = [], [], []
    for top in range(0, view.height, side):
        for left in range(0, view.width, side):
            height, width = min(side, view.height - top), min(side, view.width - left)
            part_y, part_x = kernels_y[:, top : top + height], kernels_x[:, left : left + width]
            cell_y, cell_x = (part.any(dim=1).nonzero()[:, 0] for part in (part_y, part_x))
            maps = torch.einsum("iy,jx->yxij", part_y[cell_y], part_x[cell_x]).flatten(2)
            part = view.cropped(left, top, width, height)
            weight = valid[top : top + height, left : left + width].to(maps)
            device = part.camera_to_world.device
            sums, support = field.lift(part, maps.to(device), weight.to(device))
            element = (support > MIN_ENTRY_PX).nonzero()[:, 0]
            entries = sums[element].cpu()
            entry, cell = (entries > MIN_ENTRY_PX).nonzero(as_tuple=True)
            rows.append((cell_y[:, None] * grid[1] + cell_x).flatten()[cell])
            columns.append(element.cpu()[entry])
            values.append(entries[entry, cell])
    places = (torch.cat(rows).int().numpy(), torch.cat(columns).int().numpy())
    table = coo_array((torch.cat(values).float().numpy(), places), shape=(grid[0] * grid[1], field.elements))
    return csr_array(table)  # sums the entries that a cell has for an element in several parts


def _kernels(cells: int, pixels: int) -> Tensor:
    """Bilinear weight of each cell at each pixel along one side, [cells, pixels], as in `interpolate`."""
    return interpolate(torch.eye(cells)[None], size=pixels, mode="linear", align_corners=False)[0]


def _part_side(elements: int, view: View, grid: tuple[int, int]) -> int:
    """Side of the largest parts, px, whose result [E, cells] stays below `PART_BYTES`; at least one tile."""
    cell = max(1.0, max(view.height, view.width) / max(grid))
    side = (PART_BYTES / 4 / max(1, elements)) ** 0.5
    return max(TILE_PX, int((side - 2) * cell) // TILE_PX * TILE_PX)
