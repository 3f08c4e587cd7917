"""Masks of every photo and concept: PNG files, and one file in the format of COCO."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from halonerf.files import write_json
from halonerf.stages.export.names import inside
from halonerf.visualization.pictures import save_picture

PROBABILITY, BINARY, COCO = "probability", "binary", "coco.json"


def mask_files(folder: Path, concept: str, photo: str) -> tuple[Path, Path]:
    """Where a photo's probability and its binary mask go; `concept` as its files are called."""
    first, second = (inside(folder / kind / concept, f"{photo}.png") for kind in (PROBABILITY, BINARY))
    return first, second


def write_masks(folder: Path, concepts: Sequence[str], photo: str, maps: np.ndarray, threshold: float) -> None:
    """Write a photo's maps uint8 [P, H, W], 255 being certain, and 255 where they reach the threshold, else 0."""
    for concept, values in zip(concepts, maps, strict=True):
        probability, binary = mask_files(folder, concept, photo)
        for file, picture in ((probability, values), (binary, np.uint8(255) * (values >= threshold * 255))):
            file.parent.mkdir(parents=True, exist_ok=True)
            save_picture(file, picture)


def write_coco(
    folder: Path, concepts: Sequence[str], names: Sequence[str], photos: Iterable[tuple[str, tuple[int, int]]]
) -> int:
    """Write `coco.json` from the binary masks that are there; how many annotations it has.

    As COCO-Stuff does: one annotation a photo and concept, of all its pixels, as an uncompressed run-length encoding.
    Categories are numbered from 1, as the concepts are; images from 1, as the photos are.

    Args:
        concepts: as their files are called. names: as people call them. photos: image id, (width, height).
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (photo, (width, height)) in enumerate(photos, start=1):
        file = inside(Path("images"), photo).as_posix()
        images.append({"id": number, "file_name": file, "width": width, "height": height})
        for category, concept in enumerate(concepts, start=1):
            probability, binary = (np.asarray(Image.open(path)) for path in mask_files(folder, concept, photo))
            mask = binary > 0
            if mask.any():
                score = round(float(probability[mask].mean()) / 255, 4)
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
                    | {"score": score, **mask_outline(mask)}
                )
    categories = [
        {"id": number, "name": name, "supercategory": "building"} for number, name in enumerate(names, start=1)
    ]
    write_json(folder / COCO, {"images": images, "annotations": annotations, "categories": categories})
    return len(annotations)


def mask_outline(mask: np.ndarray) -> dict[str, Any]:
    """Of a mask [H, W] with something in it: `segmentation` (runs down the columns, the first of zeros), `area`, px,
    and `bbox`: left, top, width, height, px.
    """
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "segmentation": {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs},
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
    }
