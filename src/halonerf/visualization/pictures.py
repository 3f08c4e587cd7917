"""Heat maps, overlays, depth in colours, grids, PNG and JPEG files. Pictures are uint8 [H, W, 3] unless noted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from PIL import Image

from halonerf.files import write_atomic

if TYPE_CHECKING:  # sources of data make pictures, too, and a plan builds them without PyTorch
    from torch import Tensor

REC601 = (0.299, 0.587, 0.114)  # luma weights of red, green and blue in ITU-R BT.601
REC709 = (0.2126, 0.7152, 0.0722)  # in ITU-R BT.709


def to_uint8(values: np.ndarray | Tensor) -> np.ndarray:
    """Values in [0, 1], of any shape, as uint8 in [0, 255]: clipped and rounded; a tensor of any device as an array."""
    array = values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
    return (np.clip(array, 0.0, 1.0) * 255).round().astype(np.uint8)


@overload
def luminance(colours: Tensor, weights: tuple[float, float, float] = REC709) -> Tensor: ...
@overload
def luminance(colours: np.ndarray, weights: tuple[float, float, float] = REC709) -> np.ndarray: ...
def luminance(colours: np.ndarray | Tensor, weights: tuple[float, float, float] = REC709) -> np.ndarray | Tensor:
    """Weighted sum of red, green and blue, [...].

    colours: [..., 3] of any range. Integers are computed in double precision, other colours in their own.
    """
    if not isinstance(colours, np.ndarray):
        return colours @ colours.new_tensor(weights)
    kind = colours.dtype if np.issubdtype(colours.dtype, np.floating) else np.float64
    luma: np.ndarray = colours @ np.array(weights, kind)
    return luma


@cache
def _ramp(name: str) -> np.ndarray:
    """A matplotlib colour map as a table, [256, 3] uint8."""
    from matplotlib import colormaps

    return (colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def heat(values: np.ndarray, ramp: str = "turbo") -> np.ndarray:
    """Values in [0, 1] in the colours of a matplotlib colour map, [H, W] -> [H, W, 3]; NaN becomes grey."""
    known = np.isfinite(values)
    index = (np.clip(np.where(known, values, 0.0), 0.0, 1.0) * 255).round().astype(np.uint8)
    return np.where(known[..., None], _ramp(ramp)[index], np.uint8(128))


def overlay(photo: np.ndarray, probability: np.ndarray, strength: float = 0.75) -> np.ndarray:
    """The photo in dimmed grey, blended with a heat map of `probability` [H, W] in [0, 1], where NaN counts as 0."""
    grey = photo.mean(axis=2, keepdims=True) * 0.6 + 40.0
    weight = strength * np.clip(np.nan_to_num(probability), 0.0, 1.0)[..., None]
    return np.clip(grey * (1 - weight) + heat(probability, "inferno") * weight, 0, 255).round().astype(np.uint8)


def depth_colours(depth: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Inverse depth in colours, bright for near pixels; black where the opacity is at most one half.

    depth: [H, W], any unit, 0 where nothing is hit. opacity: [H, W] in [0, 1].
    """
    seen = (opacity > 0.5) & (depth > 0)
    if not seen.any():
        return np.zeros((*depth.shape, 3), np.uint8)
    nearness = 1.0 / np.where(seen, depth, 1.0)
    low, high = np.percentile(nearness[seen], [2, 98])
    return heat((nearness - low) / max(high - low, 1e-9), "magma") * seen[..., None].astype(np.uint8)


def outline(photo: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = (0, 255, 120)) -> np.ndarray:
    """The photo with the boundary of the boolean `mask` [H, W] drawn two pixels wide."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outer = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    drawn = photo.copy()
    drawn[outer & ~inner] = colour
    return drawn


def fit(picture: np.ndarray, height: int) -> np.ndarray:
    """The picture [H, W, 3] resized to `height` pixels with its aspect ratio kept (Lanczos)."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def grid(rows: Sequence[Sequence[np.ndarray]], height: int = 180, gap: int = 4) -> np.ndarray:
    """One picture of rows of pictures: each resized to `height` px, `gap` px of white between them and to the right.

    Args:
        rows: pictures, uint8 [h, w, 3] of any sizes; rows may differ in length.
    Returns: uint8 [H, W, 3].
    """
    strips = []
    for row in rows:
        tiles = [np.pad(fit(tile, height), ((0, gap), (0, gap), (0, 0)), constant_values=255) for tile in row]
        strips.append(np.concatenate(tiles, axis=1))
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate(
        [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips], axis=0
    )


def encoded(picture: np.ndarray, kind: str = "PNG", quality: int = 90) -> bytes:
    """The contents of an image file of a picture.

    Args:
        picture: uint8 [H, W, 3] or [H, W], or uint16 [H, W] for PNG.
        kind: Pillow's name of the format. quality: 1..95, of lossy formats.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=quality)
    return buffer.getvalue()


def save_picture(path: Path, picture: np.ndarray, quality: int = 90) -> None:
    """Atomically write a JPEG where `path` ends in .jpg or .jpeg, else a PNG. picture, quality: as for `encoded`."""
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    write_atomic(path, encoded(picture, kind, quality))
