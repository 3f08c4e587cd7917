"""Format `masks`: probability and binary masks of every photo and concept as PNG, and one COCO file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from halonerf.files import write_json
from halonerf.stages.export.contents import ExportContents
from halonerf.stages.export.names import inside
from halonerf.visualization.palette import Colour
from halonerf.visualization.pictures import save_picture

PROBABILITY, BINARY, COCO = "probability", "binary", "coco.json"


class ConceptMasks:
    """Masks of the concepts in every photo, rendered from 3D."""

    name = "masks"
    summary = (
        "probability/<concept>/<photo>.png: 8 bit, 255 is certain; binary/<concept>/<photo>.png: 255 from the "
        "threshold on. coco.json: the binary masks in COCO format, one annotation per photo and concept. Masks are "
        "rendered from the concepts in 3D, and match the pictures in images, which are without lens distortion."
    )
    wants_images = True

    def files(self, contents: ExportContents, folder: Path, view: int) -> list[Path]:
        """Two masks per concept."""
        photo = contents.scene.names[view]
        return [path for concept in contents.concepts.folders for path in mask_files(folder, concept, photo)]

    def write_photo(self, contents: ExportContents, folder: Path, view: int) -> None:
        """Write the masks of a view."""
        photo, maps = contents.scene.names[view], contents.maps(view)
        write_masks(folder, contents.concepts.folders, photo, maps, contents.thresholds)

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Write coco.json from the masks of all views; numbers of `photos` and `annotations`."""
        scene, concepts = contents.scene, contents.concepts
        photos = [(name, (view.width, view.height)) for name, view in zip(scene.names, scene.views, strict=True)]
        colours = dict(zip(concepts.names, concepts.colours, strict=True))
        return {"photos": len(scene), "annotations": write_coco(folder, concepts.folders, colours, photos)}


def mask_files(folder: Path, concept: str, photo: str) -> tuple[Path, Path]:
    """Paths of a photo's probability mask and binary mask. concept: its name in files."""
    first, second = (inside(folder / kind / concept, f"{photo}.png") for kind in (PROBABILITY, BINARY))
    return first, second


def write_masks(
    folder: Path, concepts: Sequence[str], photo: str, maps: np.ndarray, thresholds: float | Sequence[float]
) -> None:
    """Write a photo's probabilities and, as 255 and 0, where they reach their threshold.

    Args:
        concepts: P names in files. maps: uint8 [P, H, W], 255 for probability 1. thresholds: in (0, 1], or one.
    """
    for concept, values, threshold in zip(concepts, maps, np.broadcast_to(thresholds, len(concepts)), strict=True):
        probability, binary = mask_files(folder, concept, photo)
        for file, picture in ((probability, values), (binary, np.uint8(255) * (values >= threshold * 255))):
            file.parent.mkdir(parents=True, exist_ok=True)
            save_picture(file, picture)


def write_coco(
    folder: Path, concepts: Sequence[str], names: Mapping[str, Colour], photos: Iterable[tuple[str, tuple[int, int]]]
) -> int:
    """Atomically write `coco.json` from the binary masks in `folder`; the number of annotations.

    As in COCO-Stuff: one annotation per photo and concept, with all its pixels as an uncompressed run-length encoding.
    Categories and images are numbered from 1, in the order of concepts and photos; a category has a colour, as in COCO
    panoptic files.

    Args:
        concepts: names in files. names: of the categories, in the same order, with their colours.
        photos: name, (width, height).
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
                    | {"score": score, **encode_mask(mask)}
                )
    categories = [
        {"id": number, "name": name, "supercategory": "building", "color": list(colour)}
        for number, (name, colour) in enumerate(names.items(), start=1)
    ]
    write_json(folder / COCO, {"images": images, "annotations": annotations, "categories": categories})
    return len(annotations)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A mask, bool [H, W] with a true pixel, in COCO's terms.

    Returns: `segmentation` (lengths of runs down the columns, the first of zeros), `area` (px), and `bbox` (left, top,
    width, height, px).
    """
    flat = mask.T.ravel()
    boundaries = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], boundaries, [flat.size]])).tolist()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "segmentation": {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs},
        "area": int(mask.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
    }
