"""The numba engine: lists the splats of every tile, composites the image, and back-propagates gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from halonerf.splatting import compositing, differentiation, projection, tiles
from halonerf.splatting.compiled import compiled
from halonerf.splatting.compositing import (
    CHECK_EVERY,
    HALF,
    PIXELS,
    ZERO,
    alpha_of,
    finished,
    load_tile,
    open_tile,
    scattered,
    take,
)
from halonerf.splatting.constants import slope_limits
from halonerf.splatting.lanes import LANES, load, lowest_bit, splat, store, total
from halonerf.splatting.tiles import TILE_H, TILE_W
from halonerf.types import View

MAX_LIFT_CHANNELS = 32  # lifted at once: bounds the memory of the pairs' sums


@dataclass(frozen=True)
class TilePlan:
    """The splats of one view in order of depth, and their pairs with tiles (`halonerf.splatting.tiles`)."""

    order: np.ndarray  # [M], indices of the drawn splats in order of depth
    splats: np.ndarray  # [N, 10 + C or more], all splats and their features
    spans: np.ndarray  # [N, 2], start and end of each drawn splat's pairs
    splat_of: np.ndarray  # [K], the splat of each pair
    blocks_of: np.ndarray  # [K], the blocks of its tile that each pair reaches
    starts: np.ndarray  # [tiles + 1], start of each tile's list
    listed: np.ndarray  # [K], pairs tile by tile, nearest first
    tiles_x: int

    def lists(self) -> tuple[np.ndarray, ...]:
        """The first arguments of the kernels that loop over tiles."""
        return self.splats, self.starts, self.listed, self.splat_of, self.blocks_of


class Rasterise(torch.autograd.Function):
    """Composited features, depth and opacity side by side, [H, W, C + 2]; arguments as of `rasterise.rasterise`."""

    @staticmethod
    def forward(ctx: Any, means, scales, rotations, opacities, features, offsets, camera, width, height):
        arrays = [_array(t) for t in (means, scales, rotations, opacities, offsets, camera)]
        count = features.shape[1]
        colours = _array(features)
        if count < compositing.REGISTER_FEATURES:  # the backward pass is written for three or more
            colours = np.pad(colours, ((0, 0), (0, compositing.REGISTER_FEATURES - count)))
        plan = plan_tiles(arrays, colours, width, height)
        image = np.empty((height, width, colours.shape[1] + 2), np.float32)
        used = np.zeros(len(plan.starts) - 1, np.int64)
        compositing.composite(*plan.lists(), plan.tiles_x, image, used)
        ctx.arrays, ctx.plan, ctx.image, ctx.used = arrays, plan, image, used
        ctx.device, ctx.count = means.device, count
        return _without_padding(torch.from_numpy(image).to(means.device), count)

    @staticmethod
    def backward(ctx: Any, d_image: Tensor):  # type: ignore[override]
        means, scales, rotations, _, _, camera = ctx.arrays
        plan, number = ctx.plan, len(means)
        if not any(ctx.needs_input_grad[k] for k in (0, 1, 2, 3, 5)):  # only the features: the cheaper adjoint
            lifted = torch.from_numpy(gather(plan, number, _array(d_image[..., :-2]))).to(ctx.device)
            return None, None, None, None, lifted, None, None, None, None
        padding = ctx.image.shape[2] - 2 - ctx.count
        if padding:
            zeros = d_image.new_zeros(*d_image.shape[:2], padding)
            d_image = torch.cat([d_image[..., :-2], zeros, d_image[..., -2:]], dim=-1)
        pairs = _aligned_rows(len(plan.splat_of), LANES).reshape(-1)
        others = np.empty((len(plan.splat_of), max(ctx.count - compositing.REGISTER_FEATURES, 0)), np.float32)
        differentiation.composite_backward(
            *plan.lists(), plan.tiles_x, ctx.image, ctx.used, _array(d_image), pairs, others
        )
        d_means, d_scales, d_rotations = (np.empty((number, k), np.float32) for k in (3, 3, 4))
        d_opacities, d_centres = np.empty(number, np.float32), np.empty((number, 2), np.float32)
        d_features = np.empty((number, ctx.count), np.float32)
        projection.project_backward(
            means, scales, rotations, camera, plan.splats, plan.spans, pairs, others,
            d_means, d_scales, d_rotations, d_opacities, d_centres, d_features,
        )  # fmt: skip
        gradients = (d_means, d_scales, d_rotations, d_opacities, d_features, d_centres)
        return *(torch.from_numpy(g).to(ctx.device) for g in gradients), None, None, None


def _without_padding(image: Tensor, count: int) -> Tensor:
    """image [H, W, C + 2] without the features beyond `count`."""
    if image.shape[2] - 2 == count:
        return image
    return torch.cat([image[..., :count], image[..., -2:]], dim=-1)


def plan_tiles(gaussians: Sequence[np.ndarray], features: np.ndarray, width: int, height: int) -> TilePlan:
    """Project Gaussians, sort them by depth (ties by index) and list the pairs of splat and tile.

    gaussians: means, scales, rotations, opacities, offsets and the camera, as of `projection.project`. features:
    [N, C]. width, height: px.
    """
    splats = _aligned_rows(len(features), projection.SPLAT + features.shape[1])
    projection.project(*gaussians, features, splats)
    drawn = np.flatnonzero(splats[:, 8] > 0)
    order = _nearest_first(drawn, splats[drawn, 7])
    number = len(order)
    tiles_x, tiles_y = -(-width // tiles.TILE_W), -(-height // tiles.TILE_H)
    counts, spans = np.empty(number, np.int64), np.empty((len(splats), 2), np.int64)
    tiles.count_tiles(splats, order, tiles_x, tiles_y, counts)
    offsets = np.zeros(number + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    tile_of, splat_of, blocks_of = (np.empty(int(offsets[-1]), kind) for kind in (np.int32, np.int32, np.int64))
    tiles.list_pairs(splats, order, tiles_x, tiles_y, offsets, spans, tile_of, splat_of, blocks_of)
    starts = np.empty(tiles_x * tiles_y + 1, np.int64)
    listed = np.empty(len(tile_of), np.int32)
    tiles.sort_pairs(tile_of, starts, listed)
    return TilePlan(order, splats, spans, splat_of, blocks_of, starts, listed, tiles_x)


def _aligned_rows(number: int, min_length: int) -> np.ndarray:
    """Uninitialised float32 [number, `min_length` or more], each row in whole cache lines of 64 bytes."""
    length = -(-min_length // LANES) * LANES
    room = np.empty(number * length + LANES, np.float32)
    first = -room.ctypes.data % 64 // room.itemsize
    return room[first : first + number * length].reshape(number, length)


def _nearest_first(drawn: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Stable sort by positive float32 depth: their bits sort like integers, in two passes of 16 (0.6 ms for 64 k)."""
    bits = depths.view(np.uint32)
    first = np.argsort((bits & 0xFFFF).astype(np.uint16), kind="stable")
    second = np.argsort((bits >> 16).astype(np.uint16)[first], kind="stable")
    return drawn[first[second]]


def lift(means, scales, rotations, opacities, maps: Tensor, camera: Tensor) -> Tensor:
    """Sum over pixels of weight times maps [H, W, C] for every Gaussian, [N, C]; arguments as of `rasterise.lift`."""
    image, number = _array(maps), len(means)
    shapes = [_array(t) for t in (means, scales, rotations, opacities)]
    offsets, features = np.zeros((number, 2), np.float32), np.empty((number, 0), np.float32)
    plan = plan_tiles([*shapes, offsets, _array(camera)], features, image.shape[1], image.shape[0])
    return torch.from_numpy(gather(plan, number, image)).to(maps.device)


def gather(plan: TilePlan, number: int, maps: np.ndarray) -> np.ndarray:
    """Sum over pixels of weight times maps [H, W, C] for each of `number` Gaussians, [N, C]."""
    out = np.zeros((number, maps.shape[2]), np.float32)
    for first in range(0, maps.shape[2], MAX_LIFT_CHANNELS):
        part = np.ascontiguousarray(maps[:, :, first : first + MAX_LIFT_CHANNELS])
        pairs = np.empty((len(plan.splat_of), part.shape[2]), np.float32)
        gather_pairs(*plan.lists(), plan.tiles_x, part, pairs)
        reduce_pairs(plan.order, plan.spans, pairs, out[:, first : first + MAX_LIFT_CHANNELS])
    return out


def pack_camera(view: View) -> Tensor:
    """A camera as `halonerf.splatting.projection` reads it: pose, intrinsics, size, limits; float32 [22], CPU."""
    pose = view.world_to_camera.detach().to("cpu", torch.float32)
    left, right, top, bottom = slope_limits(view)
    lens = [view.fx, view.fy, view.cx, view.cy, view.width, view.height, left, right, top, bottom]
    return torch.cat([pose[:, :3].reshape(-1), pose[:, 3], torch.tensor(lens, dtype=torch.float32)])


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)


@compiled(parallel=True)
def gather_pairs(splats, starts, listed, splat_of, blocks_of, tiles_x, maps, pairs):
    """Fill the listed rows of pairs [K, C] with the sum over a pair's pixels of weight times maps [H, W, C]."""
    height, width, count = maps.shape
    for k in prange(starts.shape[0] - 1):
        tile = scattered(k, starts.shape[0] - 1)
        left, top = (tile % tiles_x) * TILE_W, (tile // tiles_x) * TILE_H
        px, py, light = open_tile(left, top, width, height)
        tile_maps, weight = np.empty(count * PIXELS, np.float32), np.empty(PIXELS, np.float32)
        load_tile(maps, left, top, tile_maps)
        begin, end = starts[tile], starts[tile + 1]
        done = False
        for place in range(begin, end):
            pair = listed[place]
            done = done or ((place - begin) % CHECK_EVERY == 0 and finished(light))
            blocks = 0 if done else blocks_of[pair]
            _gather_splat(splats, splat_of[pair], blocks, left, top, px, py, light, tile_maps, weight, pairs, pair)


@compiled()
def _gather_splat(splats, i, blocks, left, top, px, py, light, tile_maps, weight, pairs, pair):
    """Fill a row of pairs [K, C] with the sums over a pair's pixels of its weight times tile_maps [C * PIXELS]."""
    u, v = splat(splats[i, 0] - np.float32(left)), splat(splats[i, 1] - np.float32(top))
    a, s, e = splat(HALF * splats[i, 2]), splat(splats[i, 3]), splat(HALF * splats[i, 4])
    opacity, fall, none = splat(splats[i, 5]), splat(splats[i, 6]), splat(ZERO)
    left_over = blocks
    while left_over != 0:
        p = lowest_bit(left_over) * LANES
        left_over &= left_over - 1
        dy = load(py, p) - v
        drawn, _ = take(light, p, alpha_of(a, e, opacity, fall, load(px, p) - u - s * dy, dy))
        store(weight, p, drawn)
    for k in range(pairs.shape[1]):
        summed = none
        left_over = blocks
        while left_over != 0:
            p = lowest_bit(left_over) * LANES
            left_over &= left_over - 1
            summed = summed + load(weight, p) * load(tile_maps, k * PIXELS + p)
        pairs[pair, k] = total(summed)


@compiled(parallel=True)
def reduce_pairs(order, spans, pairs, out):
    """Add the pairs [K, C] of each drawn splat, whose range is its row of spans [N, 2], to its row of out [N, C]."""
    for rank in prange(order.shape[0]):
        i = order[rank]
        for pair in range(spans[i, 0], spans[i, 1]):
            for c in range(pairs.shape[1]):
                out[i, c] += pairs[pair, c]
