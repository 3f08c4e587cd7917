"""Photos of a textured corner of a room under known cameras, for tests that reconstruct."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0  # px


def texture(seed: int, size: int = 512) -> np.ndarray:
    """Noise at several scales, [size, size, 3] in [0, 1]: blobs of every size, which is what SIFT looks for."""
    random = np.random.default_rng(seed)
    total = np.zeros((size, size, 3))
    for cells in (8, 16, 32, 64, 128):
        coarse = (random.random((cells, cells, 3)) * 255).astype(np.uint8)
        total += np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)) / 255.0
    total -= total.min()
    return total / total.max()


def corner_poses(count: int) -> np.ndarray:
    """World-to-camera [count, 3, 4]: an arc before the corner at the origin, level, looking at it. z is up."""
    poses = []
    for angle in np.linspace(np.radians(20), np.radians(70), count):
        centre = np.array([4.2 * np.cos(angle), 4.2 * np.sin(angle), 1.6 + 0.3 * np.sin(5 * angle)])
        forward = np.array([0.9, 0.9, 1.0]) - centre
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        poses.append(np.column_stack([rotation, -rotation @ centre]))
    return np.stack(poses)


def corner_photo(pose: np.ndarray, seed: int = 0, focal: float = FOCAL) -> np.ndarray:
    """What a pinhole camera sees of the planes x = 0, y = 0, z = 0: uint8 [HEIGHT, WIDTH, 3]."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(x - WIDTH / 2) / focal, (y - HEIGHT / 2) / focal, np.ones_like(x)], axis=-1) @ pose[:, :3]
    centre = -pose[:, :3].T @ pose[:, 3]
    image, nearest = np.full((HEIGHT, WIDTH, 3), 0.5), np.full((HEIGHT, WIDTH), np.inf)
    for axis in range(3):
        with np.errstate(divide="ignore"):
            distance = -centre[axis] / rays[..., axis]
        hit = centre + distance[..., None] * rays
        plane = hit[..., [a for a in range(3) if a != axis]]
        seen = (distance > 0) & (distance < nearest) & (plane >= -1e-9).all(axis=-1) & (plane <= 4).all(axis=-1)
        paper = texture(10 * seed + axis)
        index = np.clip(np.nan_to_num(plane) / 4 * (len(paper) - 1), 0, len(paper) - 1.001)
        low, part = index.astype(int), index % 1
        j, i = low[..., 0], low[..., 1]
        u, v = part[..., :1], part[..., 1:]
        value = (paper[i, j] * (1 - u) + paper[i, j + 1] * u) * (1 - v)
        value += (paper[i + 1, j] * (1 - u) + paper[i + 1, j + 1] * u) * v
        image[seen] = value[seen]
        nearest[seen] = distance[seen]
    return (image * 255 + 0.5).astype(np.uint8)


def write_corner(folder: Path, count: int = 8, seed: int = 0, prefix: str = "photo") -> np.ndarray:
    """Write the photos as JPEGs and give their world-to-camera poses, in name order."""
    folder.mkdir(parents=True, exist_ok=True)
    poses = corner_poses(count)
    for i, pose in enumerate(poses):
        Image.fromarray(corner_photo(pose, seed)).save(folder / f"{prefix}{i:02d}.jpg", quality=95)
    return poses
