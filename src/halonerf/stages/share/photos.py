"""Photos of a shared page: a few far apart, reduced, each with its camera and its attribution."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.data.collection import Collection
from halonerf.data.commons.attribution import ATTRIBUTION, read_attribution
from halonerf.data.scene.scene import Scene
from halonerf.types import ImageRecord

JPEG_QUALITY = 80
OPPOSITE_DISTANCE = 0.5  # world units between cameras at one point with opposite directions, in the choice of photos
MAX_CAPTION_CHARS = 300


def choose_photos(scene: Scene, max_photos: int) -> list[int]:
    """Views far apart in position and direction, ascending; the one that sees most points is among them."""
    if not len(scene) or max_photos < 1:
        return []
    cameras = torch.stack([torch.cat([v.centre, OPPOSITE_DISTANCE / 2 * v.camera_to_world[:, 2]]) for v in scene.views])
    first = max(range(len(scene)), key=lambda i: (len(scene.observations(i)[0]), -i))
    return sorted(farthest_points(cameras.cpu(), first, max_photos))


def farthest_points(points: Tensor, first: int, count: int) -> list[int]:
    """Farthest-point sampling: row `first` of points [N, D], then repeatedly the row farthest from those chosen.

    Returns: at most `count` rows; fewer where all others coincide with chosen ones.
    """
    chosen, distance = [first], (points - points[first]).norm(dim=1)
    while len(chosen) < min(count, len(points)) and float(distance.max()) > 1e-6:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).norm(dim=1))
    return chosen


def describe_photos(scene: Scene, collection: Collection, views: Sequence[int], size: int) -> list[dict[str, Any]]:
    """Photos for JSON: name, caption, picture (at most `size` px), camera, and median depth of its points."""
    records = {record.image_id: record for record in collection.records()}
    photos = []
    for view in views:
        camera, name = scene.views[view], scene.names[view]
        _, depth, _ = scene.observations(view)
        photos.append(
            {
                "name": name,
                "caption": _caption(records.get(name)),
                "picture": _data_url(scene.photo(view).numpy(), size),
                "size": [camera.width, camera.height],
                "focal": [_rounded(camera.fx), _rounded(camera.fy)],
                "principal": [_rounded(camera.cx), _rounded(camera.cy)],
                "pose": [_rounded(value) for value in camera.camera_to_world.flatten().tolist()],
                "distance": _rounded(float(depth.median()) if len(depth) else 1.0),
            }
        )
    return photos


def read_credits(folder: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """Attribution of the named photos from the table in `folder`; empty where there is no table."""
    if not (folder / ATTRIBUTION).is_file():
        return []
    wanted = set(names)
    return [row._asdict() for row in read_attribution(folder) if row.photo in wanted]


def _caption(record: ImageRecord | None) -> str:
    text = (record.caption or record.filename) if record else ""
    return text if len(text) <= MAX_CAPTION_CHARS else text[: MAX_CAPTION_CHARS - 1] + "…"


def _data_url(pixels: np.ndarray, size: int) -> str:
    """A reduced JPEG as a data URL."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _rounded(value: float) -> float:
    return round(float(value), 6)
