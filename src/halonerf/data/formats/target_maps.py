"""Training targets: probability maps predicted on close-ups, warped into photos taken from farther away.

    targets.csv          photo, label, map, close_up, kind, quality; one row per target
    photos/<name>.jpg    the photos, upright
    maps/<name>.npz      `probability` uint8 [H, W] (255 = certain), `region` bool [H, W], where it is known; of the
                         whole photo, at any resolution

`kind` is "positive" where the label is one of the close-up's own, "negative" where the close-up has other labels,
"open" where it has none. HaLo-NeRF's published folders hold the same in another layout (`read_published_targets`).
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
from halonerf.data.photo_io import read_photo
from halonerf.errors import BadInput, first_line
from halonerf.files import read_csv, write_atomic, write_csv, write_npz
from halonerf.geometry import resize_pixels
from halonerf.visualization.pictures import to_uint8

FIELDS = ("photo", "label", "map", "close_up", "kind", "quality")
POSITIVE, NEGATIVE, OPEN = "positive", "negative", "open"


@dataclass(frozen=True)
class Target:
    """Target of one label in one photo: `files` hold its probability and region."""

    photo: Path
    label: str
    files: tuple[Path, ...]  # one .npz of both arrays, or two .npy: probability, region
    close_up: str = ""
    kind: str = POSITIVE
    quality: float = 1.0  # in [0, 1], of the correspondences

    def image(self, size: int | None = None) -> Tensor:
        """The photo, [3, H, W] in [0, 1], with a long side of at most `size` px."""
        return photo_tensor(self.photo, size)

    def maps(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Probability [height, width] in [0, 1] and region, bool [height, width].

        After resampling, a pixel is inside the region where all that it covers is.

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
        except Exception as error:  # readers of damaged arrays also raise BadZipFile, EOFError, zlib.error, …
            raise BadInput(
                f"expected a target's map in {self.files[0]}, but it cannot be read: {first_line(error)}"
            ) from error
        probability, region = np.squeeze(probability), np.squeeze(region)
        numbers = all(array.dtype.kind in "biuf" for array in (probability, region))
        if not numbers or probability.shape != region.shape or probability.ndim != 2 or 0 in probability.shape:
            raise BadInput(
                f"expected a probability and a region, numbers of one size [H, W], in {self.files[0]}, got "
                f"{probability.dtype} {probability.shape} and {region.dtype} {region.shape}."
            )
        return probability, region


def read_targets(folder: Path) -> list[Target]:
    """All targets of a finished folder."""
    return [
        Target(
            photo=folder / "photos" / row["photo"],
            label=row["label"],
            files=(folder / "maps" / row["map"],),
            close_up=row["close_up"],
            kind=row["kind"],
            quality=float(row["quality"]),
        )
        for row in read_csv(folder / TARGETS)
    ]


def write_target_map(path: Path, probability: np.ndarray, region: np.ndarray) -> None:
    """Write a target's map: probability [H, W] in [0, 1], region bool [H, W]."""
    write_npz(path, compress=True, probability=to_uint8(probability) * region, region=region)


def write_target_photo(path: Path, pixels: np.ndarray) -> None:
    """Write a photo, uint8 [H, W, 3], as JPEG of high quality."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95, subsampling=0)
    write_atomic(path, buffer.getvalue())


def write_targets(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write `targets.csv`, the last file of a folder, from values by `FIELDS`; photos and maps must be there."""
    write_csv(folder / TARGETS, FIELDS, rows)


def read_published_targets(root: Path, table: Path, split: str = "train") -> list[Target]:
    """Targets in HaLo-NeRF's published layout.

    `<root>/<landmark>/<hash>.<ending>` is a photo, `<hash>_<label>.npy` and `<hash>_mask_<label>.npy` are its target
    and region, `<hash>_neg_…` those of a negative.

    Args:
        table: CSV with the columns hash, label_raw (as in file names), label (as text prompt), has_neg, spl.
        split: value of `spl` of the rows to read.

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
    targets = []
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
            targets.append(Target(photos[key], row["label"], files, kind=kind))
    return targets


def photo_tensor(path: Path, size: int | None = None) -> Tensor:
    """Upright photo, [3, H, W] in [0, 1], with a long side of at most `size` px."""
    pixels = read_photo(path)
    height, width = pixels.shape[:2]
    if size is not None and max(height, width) > size:
        scale = size / max(height, width)
        pixels = resize_pixels(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255
