"""The photos that a page shows: few, far apart, small, each with its camera and whom it is owed to."""

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

QUALITY = 80  # of JPEG
TURNED = 0.5  # world units that cameras lie apart which look in opposite directions from one place
LONGEST = 300  # characters of a caption


def choose_photos(scene: Scene, most: int) -> list[int]:
    """Views far apart from each other, ascending, the one that sees most points among them."""
    if not len(scene) or most < 1:
        return []
    places = torch.stack([torch.cat([v.centre, TURNED / 2 * v.camera_to_world[:, 2]]) for v in scene.views])
    first = max(range(len(scene)), key=lambda i: (len(scene.observations(i)[0]), -i))
    return sorted(far_apart(places.cpu(), first, most))


def far_apart(places: Tensor, first: int, most: int) -> list[int]:
    """Rows of [N, D]: `first`, then each time the one farthest from those taken; none twice at one place."""
    taken, distance = [first], (places - places[first]).norm(dim=1)
    while len(taken) < min(most, len(places)) and float(distance.max()) > 1e-6:
        taken.append(int(distance.argmax()))
        distance = torch.minimum(distance, (places - places[taken[-1]]).norm(dim=1))
    return taken


def describe_photos(scene: Scene, collection: Collection, views: Sequence[int], size: int) -> list[dict[str, Any]]:
    """For the page: name, caption, picture (`size` px at most), camera, and how far off what it shows is."""
    records = {record.image_id: record for record in collection.records()}
    shown = []
    for view in views:
        camera, name = scene.views[view], scene.names[view]
        _, depth, _ = scene.observations(view)
        shown.append(
            {
                "name": name,
                "caption": _caption(records.get(name)),
                "picture": _embedded(scene.photo(view).numpy(), size),
                "size": [camera.width, camera.height],
                "focal": [_short(camera.fx), _short(camera.fy)],
                "middle": [_short(camera.cx), _short(camera.cy)],
                "pose": [_short(value) for value in camera.camera_to_world.flatten().tolist()],
                "distance": _short(float(depth.median()) if len(depth) else 1.0),
            }
        )
    return shown


def credits_of(folder: Path, names: Sequence[str]) -> list[dict[str, str]]:
    """Author and licence of each photo, as the collection in `folder` notes them; none where it notes none."""
    if not (folder / ATTRIBUTION).is_file():
        return []
    wanted = set(names)
    return [row._asdict() for row in read_attribution(folder) if row.photo in wanted]


def _caption(record: ImageRecord | None) -> str:
    text = (record.caption or record.filename) if record else ""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _embedded(pixels: np.ndarray, size: int) -> str:
    """As a data address."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stored.getvalue()).decode("ascii")


def _short(value: float) -> float:
    return round(float(value), 6)
