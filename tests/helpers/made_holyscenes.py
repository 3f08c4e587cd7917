"""A scene in HolyScenes' layout: the corner of `made_photos`, a COLMAP model of it, and masks dark on white."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

from helpers.made_photos import FOCAL, HEIGHT, WIDTH, corner_photo, corner_poses

PARTS = {"portals": 2, "rose_window": 0}  # concept's folder -> the axis that its wall stands across
SHIFT = 4  # the photo in file (id + SHIFT) % count has that id: a file's number is another photo's id


def write_holyscenes(root: Path, count: int = 8, held_out: int = 2) -> dict[str, np.ndarray]:
    """`<root>/scene/dense/...` and `<root>/masks/cathedral/hurba/<concept>/NNNN-gt.jpg`.

    Returns: the exact mask, bool [HEIGHT, WIDTH], of "<concept's folder>/<photo's file name>".
    """
    poses, dense = corner_poses(count), root / "scene" / "dense"
    (dense / "images").mkdir(parents=True)
    (dense / "sparse").mkdir()
    truths = {}
    for i, pose in enumerate(poses):
        name = f"{i + 1:04d}.jpg"
        photo = Image.fromarray(_photo(i, count))
        photo.save(dense / "images" / name, quality=95)
        for concept, axis in PARTS.items():
            truths[f"{concept}/{name}"] = part_mask(pose, axis)
            stem = root / "masks" / "cathedral" / "hurba" / concept / f"{photo_id(i, count):04d}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            drawn = np.where(truths[f"{concept}/{name}"], 60, 200).astype(np.uint8)
            Image.fromarray(drawn).save(f"{stem}-gt.jpg", quality=15)
            photo.save(f"{stem}-img.jpg", quality=80)
    write_model(dense / "sparse", poses)
    rows = [f"{i + 1:04d}.jpg\t{photo_id(i, count)}\t{'test' if i < held_out else 'train'}\tmade" for i in range(count)]
    (root / "scene" / "made.tsv").write_text("\n".join(["filename\tid\tsplit\tdataset", *rows]) + "\n")
    return truths


@cache
def _photo(index: int, count: int) -> np.ndarray:
    return corner_photo(corner_poses(count)[index])


def photo_id(index: int, count: int) -> int:
    """The COLMAP id of the photo in file number `index` + 1."""
    return (index + SHIFT) % count + 1


def part_mask(pose: np.ndarray, axis: int) -> np.ndarray:
    """Where a camera sees the square from 0.3 to 1.9 of the plane across `axis`: bool [HEIGHT, WIDTH]."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(x - WIDTH / 2) / FOCAL, (y - HEIGHT / 2) / FOCAL, np.ones_like(x)], axis=-1) @ pose[:, :3]
    centre = -pose[:, :3].T @ pose[:, 3]
    hit = centre + (-centre[axis] / rays[..., axis])[..., None] * rays
    plane = hit[..., [a for a in range(3) if a != axis]]
    return ((plane > 0.3) & (plane < 1.9)).all(axis=-1)


def write_model(folder: Path, poses: np.ndarray, points: int = 900) -> None:
    """A binary model: one camera, the photos under ids that are not their numbers, points on the three planes."""
    random = np.random.default_rng(0)
    xyz = random.uniform(0.05, 3.2, (points, 3))
    xyz[np.arange(points), random.integers(0, 3, points)] = 0.0
    tracks: list[list[str]] = [[] for _ in xyz]
    lines = []
    for i, pose in enumerate(poses):
        local = xyz @ pose[:, :3].T + pose[:, 3]
        pixel = local[:, :2] / local[:, 2:] * FOCAL + (WIDTH / 2, HEIGHT / 2)
        seen = np.flatnonzero(
            (local[:, 2] > 0) & (pixel > 1).all(axis=1) & (pixel < (WIDTH - 1, HEIGHT - 1)).all(axis=1)
        )
        for place, point in enumerate(seen):
            tracks[point].append(f"{photo_id(i, len(poses))} {place}")
        x, y, z, w = pycolmap.Rotation3d(pose[:, :3]).quat
        head = [photo_id(i, len(poses)), w, x, y, z, *pose[:, 3], 1, f"{i + 1:04d}.jpg"]
        lines += [" ".join(map(str, head)), " ".join(f"{pixel[p, 0]} {pixel[p, 1]} {p + 1}" for p in seen)]
    (folder / "cameras.txt").write_text(f"1 PINHOLE {WIDTH} {HEIGHT} {FOCAL} {FOCAL} {WIDTH / 2} {HEIGHT / 2}\n")
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    rows = [
        f"{p + 1} {x} {y} {z} 128 128 128 0.1 {' '.join(t)}"
        for p, ((x, y, z), t) in enumerate(zip(xyz, tracks, strict=True))
        if len(t) > 1
    ]
    (folder / "points3D.txt").write_text("\n".join(rows) + "\n")
    pycolmap.Reconstruction(folder).write_binary(folder)
    for part in ("cameras", "images", "points3D"):
        (folder / f"{part}.txt").unlink()
