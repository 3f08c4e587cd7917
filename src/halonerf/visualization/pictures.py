"""Pictures for people: heat maps over photos, depth in colours, grids, PNG files. All arrays are uint8 [H, W, 3]."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from halonerf.files import write_atomic


def to_uint8(values: np.ndarray | Tensor) -> np.ndarray:
    """Values in [0, 1], of any shape, as uint8 in [0, 255]: clipped and rounded; a tensor of any device as an array."""
    array = values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
    return (np.clip(array, 0.0, 1.0) * 255).round().astype(np.uint8)


@cache
def _ramp(name: str) -> np.ndarray:
    """A matplotlib colour map as a table, [256, 3] uint8."""
    from matplotlib import colormaps

    return (colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def heat(values: np.ndarray, ramp: str = "turbo") -> np.ndarray:
    """[H, W] in [0, 1] -> colours; not-a-number is grey."""
    known = np.isfinite(values)
    index = (np.clip(np.where(known, values, 0.0), 0.0, 1.0) * 255).round().astype(np.uint8)
    return np.where(known[..., None], _ramp(ramp)[index], np.uint8(128))


def overlay(photo: np.ndarray, probability: np.ndarray, strength: float = 0.75) -> np.ndarray:
    """The photo in dimmed grey, lit in colours where `probability` [H, W] is high."""
    grey = photo.mean(axis=2, keepdims=True) * 0.6 + 40.0
    weight = strength * np.clip(np.nan_to_num(probability), 0.0, 1.0)[..., None]
    return np.clip(grey * (1 - weight) + heat(probability, "inferno") * weight, 0, 255).round().astype(np.uint8)


def depth_colours(depth: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Depth [H, W] in colours by its inverse, near is bright; black where the opacity [H, W] is below one half."""
    seen = (opacity > 0.5) & (depth > 0)
    if not seen.any():
        return np.zeros((*depth.shape, 3), np.uint8)
    nearness = 1.0 / np.where(seen, depth, 1.0)
    low, high = np.percentile(nearness[seen], [2, 98])
    return heat((nearness - low) / max(high - low, 1e-9), "magma") * seen[..., None].astype(np.uint8)


def outline(photo: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = (0, 255, 120)) -> np.ndarray:
    """The photo with the border of the boolean `mask` [H, W] drawn two pixels wide."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outer = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    drawn = photo.copy()
    drawn[outer & ~inner] = colour
    return drawn


def fit(picture: np.ndarray, height: int) -> np.ndarray:
    """The picture resized to `height` pixels, its aspect kept."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def grid(rows: Sequence[Sequence[np.ndarray]], height: int = 180, gap: int = 4) -> np.ndarray:
    """Rows of pictures of any sizes on white, each row `height` pixels high."""
    strips = []
    for row in rows:
        tiles = [np.pad(fit(tile, height), ((0, gap), (0, gap), (0, 0)), constant_values=255) for tile in row]
        strips.append(np.concatenate(tiles, axis=1))
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate(
        [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in strips], axis=0
    )


def encoded(picture: np.ndarray, kind: str = "PNG", quality: int = 90) -> bytes:
    """The picture as the contents of a PNG or JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=quality)
    return buffer.getvalue()


def save_picture(path: Path, picture: np.ndarray, quality: int = 90) -> None:
    """Atomically write a PNG or a JPEG, as the ending of `path` says."""
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    write_atomic(path, encoded(picture, kind, quality))
