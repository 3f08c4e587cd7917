"""Photos of a page: a few far apart, reduced, each with its camera and its attribution; the landmark's name."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from halonerf.data.collection import Collection
from halonerf.data.commons.attribution import ATTRIBUTION, read_attribution
from halonerf.data.scene.scene import Scene

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


def describe_photos(scene: Scene, views: Sequence[int], captions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Photos for JSON: name, caption ("" without one), camera, and median depth of its points; no picture."""
    photos = []
    for view in views:
        camera, name = scene.views[view], scene.names[view]
        _, depth, _ = scene.observations(view)
        photos.append(
            {
                "name": name,
                "caption": captions.get(name, ""),
                "size": [camera.width, camera.height],
                "focal": [_rounded(camera.fx), _rounded(camera.fy)],
                "principal": [_rounded(camera.cx), _rounded(camera.cy)],
                "pose": [_rounded(value) for value in camera.camera_to_world.flatten().tolist()],
                "distance": _rounded(float(depth.median()) if len(depth) else 1.0),
            }
        )
    return photos


def captions_of(collection: Collection) -> dict[str, str]:
    """Each photo's caption, or its file name where it has none, of at most `MAX_CAPTION_CHARS` characters."""
    return {record.image_id: _shortened(record.caption or record.filename) for record in collection.records()}


def landmark_of(collection: Collection) -> str:
    """The most frequent landmark of the records, or the collection's name where they have none."""
    counts = Counter(record.landmark for record in collection.records() if record.landmark.strip())
    return counts.most_common(1)[0][0] if counts else collection.name


def reduced_jpeg(pixels: NDArray[np.uint8], size: int) -> bytes:
    """A picture [H, W, 3] as a JPEG file of at most `size` px on its long side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def data_url(jpeg: bytes) -> str:
    """A JPEG file as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def read_credits(folder: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """Attribution of the named photos from the table in `folder`; empty where there is no table."""
    if not (folder / ATTRIBUTION).is_file():
        return []
    wanted = set(names)
    return [row._asdict() for row in read_attribution(folder) if row.photo in wanted]


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CAPTION_CHARS else text[: MAX_CAPTION_CHARS - 1] + "…"


def _rounded(value: float) -> float:
    return round(float(value), 6)
