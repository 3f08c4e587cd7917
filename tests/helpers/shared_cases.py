"""Inputs of odd kinds that once failed, in `shared/cases`: what is run on each, and what has to come out.

`PYTHONPATH=tests python -m helpers.shared_cases` prints them as a table: input, exit code, and what came out.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from halonerf.artifacts import MANIFEST
from halonerf.data.formats.probability_maps import read_levels, segment_map_path
from halonerf.data.scene.scene import Scene
from halonerf.masks import read_mask
from helpers.bad_command_lines import run_here

FOLDER = Path(os.environ.get("HALONERF_SHARED", Path(__file__).parents[3] / "shared")) / "cases"


@dataclass(frozen=True)
class Case:
    """What is run on a folder of `FOLDER`.

    line: command line after `halonerf`, with {case} for the folder; empty: nothing, the folder is only read.
    result: from the folder, the folder of the run and the messages to what came out, in words.
    expected: exit code, and a part of the words.
    """

    folder: str
    line: str
    result: Callable[[Path, Path, str], str]
    expected: tuple[int, str]

    def run(self, here: Path) -> tuple[int, str]:
        """Exit code and what came out, where `here` is an empty folder and the current one."""
        folder = FOLDER / self.folder
        code, messages = run_here(self.line.format(case=shlex.quote(str(folder)))) if self.line else (0, "")
        if "Traceback" in messages:
            raise AssertionError(messages)
        return code, self.result(folder, here, messages)


def error(folder: Path, here: Path, messages: str) -> str:
    """The error, without the progress before it."""
    return messages[messages.find("halonerf: ") :].strip()


def metadata(folder: Path, here: Path, messages: str) -> str:
    """Every photo that has a caption or categories."""
    rows = [row for row in _records(here) if row["caption"] or row["categories"]]
    text = "; ".join(f"{row['image_id']}: {row['caption'][:40]} ({row['categories']})" for row in rows)
    return " ".join(unicodedata.normalize("NFC", text).split())


def photos(folder: Path, here: Path, messages: str) -> str:
    """The number of photos listed."""
    return f"{len(_records(here))} photos"


def split(folder: Path, here: Path, messages: str) -> str:
    """Photos of each part of the split."""
    parts = [view["split"] for view in json.loads((_last(here, "ingest") / "scene.json").read_text())["views"]]
    return f"{parts.count('train')} train, {parts.count('test')} test"


def registered(folder: Path, here: Path, messages: str) -> str:
    """The number of photos in the scene."""
    return f"{len(Scene(_last(here, 'ingest')).names)} photos registered"


def masks_in_place(folder: Path, here: Path, messages: str) -> str:
    """Least IoU of a segmenter's maps with the masks, drawn on upright photos, turned like the stored photos here."""
    scene, maps, overlaps = Scene(_last(here, "ingest")), _last(here, "segment"), []
    for view, name in enumerate(scene.names):
        drawn = folder / "masks" / "domes" / f"{Path(name).stem}.png"
        if not drawn.is_file():
            continue
        orientation = Image.open(folder / "scene" / "images" / name).getexif()[0x0112]
        mask = Image.open(drawn).convert("L").rotate({3: 180, 6: 90}[orientation], expand=True)
        found = read_levels(segment_map_path(maps, view))[0] >= 128
        truth = np.asarray(mask.resize(found.shape[::-1], Image.Resampling.BOX)) >= 128
        overlaps.append((found & truth).sum() / (found | truth).sum())
    return f"{len(overlaps)} masks, {'all in place' if min(overlaps) > 0.8 else f'least IoU {min(overlaps):.2f}'}"


def marked(folder: Path, here: Path, messages: str) -> str:
    """The number of marked pixels of every mask."""
    files = sorted(path for path in folder.rglob("*.*") if path.name != "README.md")
    return ", ".join(str(int(read_mask(path).sum())) for path in files)


def _records(here: Path) -> list[dict[str, str]]:
    with (_last(here, "collect") / "records.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _last(here: Path, stage: str) -> Path:
    (manifest,) = here.glob(f"artifacts/*/{stage}/*/{MANIFEST}")
    return manifest.parent


COLLECT = "stage=collect scene=photos scene.path={case}/photos"
TABLE = f"{COLLECT} scene.metadata={{case}}/"
COLMAP = "stage=ingest scene=colmap scene.path={case}/scene ingest.size=96"
SEGMENT = (
    "stage=segment scene=colmap scene.path={case}/scene segmenter=masks segmenter.path={case}/masks ingest.size=96"
)
INGEST = "stage=ingest scene=photos scene.path={case}/photos"
CASES = [
    Case("broken_symlink", COLLECT, photos, (0, "3 photos")),
    Case("colmap_equirectangular", COLMAP, error, (2, "EQUIRECTANGULAR, which has no focal length")),
    Case("colmap_exif_turned", SEGMENT, masks_in_place, (0, "6 masks, all in place")),
    Case("colmap_exif_upside_down", SEGMENT, masks_in_place, (0, "6 masks, all in place")),
    Case("colmap_text_spaces", COLMAP, registered, (0, "10 photos registered")),
    Case("colon_export", COLLECT, photos, (0, "1 photos")),
    Case("exif_crash", INGEST, error, (2, "of 10 pairs matched, 0 have a two-view geometry")),
    Case("metadata_csv", f"{TABLE}u2028.csv", metadata, (0, "a.jpg: North portal of the cathedral")),
    Case("metadata_csv", f"{TABLE}huge.csv", metadata, (0, "a.jpg: ")),
    Case("metadata_csv", f"{TABLE}nfd.csv", metadata, (0, "Sacré.jpg: Façade")),
    Case("metadata_csv", f"{TABLE}case.csv", metadata, (0, "B.JPG: Dome (); a.jpg: Portal")),
    Case("metadata_csv", f"{TABLE}commons.csv", metadata, (0, "a.jpg: Portal")),
    Case("metadata_csv", f"{TABLE}dups.csv", metadata, (0, "a.jpg: Portal")),
    Case("metadata_csv", f"{TABLE}semicolon.csv", metadata, (0, "a.jpg: Portal, west (X Y)")),
    Case("metadata_csv", f"{TABLE}cp1252.csv", metadata, (0, "Sacré.jpg: Façade")),
    Case("mask_exif", "", marked, (0, "1500, 1500")),
    Case("masks_empty", "", marked, (0, "1500, 1500, 1500, 1500, 1500")),
    Case("names_dropped", COLLECT, photos, (0, "5 photos")),
    Case("options", "stage=collect scene=photos scene.path=", error, (2, "scene.path to be non-empty text, got ''")),
    Case("rotation_only", f"{INGEST} ingest.feature_size=480 ingest.features=2000", error, (2, "no parallax")),
    Case("tsv_split_spelling", COLMAP, split, (0, "6 train, 4 test")),
]


def main() -> None:
    """Print the table."""
    print("| case | halonerf … | exit | result |\n|---|---|---|---|")
    for case in CASES:
        with tempfile.TemporaryDirectory() as here:
            os.chdir(here)
            code, text = case.run(Path(here))
            os.chdir("/")
        line = case.line.format(case="CASE")
        print(f"| {case.folder} | `{line}` | {code} | {text.replace(chr(10), '<br>').replace('|', chr(92) + '|')} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
