"""Finished `collect` and `distill` folders of made-up landmarks: photos show a colour, labels name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from halonerf.data.collection import write_collection
from halonerf.data.labels.table import write_labels
from halonerf.types import ImageRecord, PseudoLabel

COLOURS = {"portal": (200, 60, 60), "dome": (60, 190, 70), "tower": (60, 80, 210), "window": (210, 200, 60)}


def write_landmark(root: Path, name: str, labels: Sequence[str], shown: Sequence[str], seed: int) -> dict[str, Path]:
    """The landmark's two folders. Photo i, of its own size, has the colour of `shown[i]` and the label `labels[i]`."""
    random = np.random.default_rng(seed)
    photos = root / name / "photos"
    photos.mkdir(parents=True)
    names = [f"é{index:03d}.png" for index in range(len(labels))]
    for image, part in zip(names, shown, strict=True):
        width, height = random.integers(34, 70, 2)
        colour = np.array(COLOURS[part]) * random.uniform(0.7, 1.2)
        pixels = np.clip(colour + random.normal(0, 25, (height, width, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(photos / image)
    folders = {stage: root / name / stage for stage in ("collect", "distill")}
    for folder in folders.values():
        folder.mkdir()
    write_collection(folders["collect"], name, photos, [ImageRecord(image, landmark=name) for image in names])
    rows = [PseudoLabel(image, label, 0.9 if label else 0.0) for image, label in zip(names, labels, strict=True)]
    write_labels(folders["distill"] / "labels.csv", rows)
    return folders
