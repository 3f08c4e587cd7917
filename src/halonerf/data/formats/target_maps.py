"""Targets: what was seen close up, said of the same places in photos taken from farther away.

A folder of targets (`TargetFolder`):

    targets.csv          photo, label, map, close_up, kind, quality; one row a target
    photos/<name>.jpg    the photos, upright
    maps/<name>.npz      `probability` uint8 [H, W] (255 = certain), `region` bool [H, W]: pixels that count; at the
                         photo's size or any other resolution of the whole of it

`kind` is "positive" where the label is the close-up's own, "negative" where the close-up is known by another, "open"
where nobody knows what it is about.
The original's published folders (`read_original`) hold the same in another layout.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.data.formats.names import TARGETS
from halonerf.data.photo_io import read_photo, shrink
from halonerf.errors import BadInput
from halonerf.files import write_atomic, write_csv, write_npz
from halonerf.visualization.pictures import to_uint8

FIELDS = ("photo", "label", "map", "close_up", "kind", "quality")
POSITIVE, NEGATIVE, OPEN = "positive", "negative", "open"


@dataclass(frozen=True)
class Target:
    """One label's target in one photo: where `files` hold the probability and the region."""

    photo: Path
    label: str
    files: tuple[Path, ...]  # one .npz of both arrays, or two .npy: probability, region
    close_up: str = ""
    kind: str = POSITIVE
    quality: float = 1.0  # in [0, 1], of the correspondences

    def image(self, size: int | None = None) -> Tensor:
        """The photo, [3, H, W] in [0, 1], shrunk until its long side is at most `size` px."""
        return photo_tensor(self.photo, size)

    def maps(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Probability [height, width] in [0, 1] and region, bool [height, width].

        A pixel counts where all of what it covers does.

        Raises: BadInput for arrays that are not two maps of one size.
        """
        probability, region = self._arrays()
        both = torch.from_numpy(np.stack([probability, region]).astype(np.float32))[None]
        if both.shape[-2:] != (height, width):
            both = interpolate(both, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
        return both[0, 0].clamp(0, 1), both[0, 1] > 1 - 1e-4

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        try:
            if len(self.files) == 1:
                with np.load(self.files[0], allow_pickle=False) as stored:
                    probability, region = stored["probability"] / 255.0, stored["region"]
            else:
                probability, region = (np.load(path, allow_pickle=False) for path in self.files)
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(f"expected a target's map in {self.files[0]}, but it cannot be read: {error}") from error
        probability, region = np.squeeze(probability), np.squeeze(region)
        if probability.shape != region.shape or probability.ndim != 2:
            raise BadInput(
                f"expected a probability and a region of one size [H, W] in {self.files[0]}, got "
                f"{probability.shape} and {region.shape}."
            )
        return probability, region


def read_targets(folder: Path) -> list[Target]:
    """The targets of a folder that `write_targets` finished."""
    with open(folder / TARGETS, newline="", encoding="utf-8") as stream:
        return [
            Target(
                photo=folder / "photos" / row["photo"],
                label=row["label"],
                files=(folder / "maps" / row["map"],),
                close_up=row["close_up"],
                kind=row["kind"],
                quality=float(row["quality"]),
            )
            for row in csv.DictReader(stream)
        ]


def write_map(path: Path, probability: np.ndarray, region: np.ndarray) -> None:
    """Write one target's map: probability [H, W] in [0, 1], region bool [H, W]."""
    write_npz(path, compress=True, probability=to_uint8(probability) * region, region=region)


def write_photo(path: Path, pixels: np.ndarray) -> None:
    """Write a photo [H, W, 3] uint8 as JPEG of high quality."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95, subsampling=0)
    write_atomic(path, buffer.getvalue())


def write_table(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write the table that says the folder is whole; its photos and maps must be there."""
    write_csv(folder / TARGETS, FIELDS, rows)


def read_original(root: Path, table: Path, split: str = "train") -> list[Target]:
    """Targets in the layout that the original published: `<root>/<landmark>/<hash>.<ending>` is a photo,
    `<hash>_<label>.npy` and `<hash>_mask_<label>.npy` its target and region, `<hash>_neg_…` those of a negative.

    Args:
        table: CSV with the columns hash, label_raw (as in the file names), label (as it is to be read), has_neg, spl.
        split: the rows whose `spl` this is.

    Raises: BadInput where a column or a file is missing.
    """
    with open(table, newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = {"hash", "label_raw", "label", "has_neg", "spl"} - set(reader.fieldnames or ())
        if missing:
            raise BadInput(f"expected the columns hash, label_raw, label, has_neg, spl in {table}; {missing} missing.")
        rows = [row for row in reader if row["spl"] == split]
    photos = {
        path.stem: path for path in sorted(root.glob("*/*")) if "_" not in path.stem and path.suffix.lower() != ".npy"
    }
    found = []
    for row in rows:
        key, raw = row["hash"], row["label_raw"]
        if key not in photos:
            raise BadInput(f"expected a photo {root}/<landmark>/{key}.jpg, as {table} names it, found none.")
        for kind, infix in ((POSITIVE, ""), (NEGATIVE, "_neg")):
            if kind == NEGATIVE and row["has_neg"].strip().lower() not in ("true", "1", "1.0"):
                continue
            files = tuple(photos[key].with_name(f"{key}{infix}{part}_{raw}.npy") for part in ("", "_mask"))
            absent = [path for path in files if not path.is_file()]
            if absent:
                raise BadInput(f"expected the {kind} target of '{raw}' in {absent[0]}, found no such file.")
            found.append(Target(photos[key], row["label"], files, kind=kind))
    return found


def photo_tensor(path: Path, size: int | None = None) -> Tensor:
    """A photo, [3, H, W] in [0, 1], upright and shrunk until its long side is at most `size` px."""
    pixels = read_photo(path)
    height, width = pixels.shape[:2]
    if size is not None and max(height, width) > size:
        scale = size / max(height, width)
        pixels = shrink(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255
