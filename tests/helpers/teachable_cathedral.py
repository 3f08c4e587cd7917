"""The procedural cathedral down to `index`, with the packaged segmenter: its features learn words from marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halonerf.files import write_csv
from halonerf.stages.index.stage import Index
from helpers.made_cathedral import FIELD, HELD_OUT, true_mask, write_cathedral_folders
from helpers.made_folders import run_stage

SEGMENTER: dict[str, Any] = {"_target_": "halonerf.segmenters.TimmText", "image_size": 320}
FEW: dict[str, Any] = {"_target_": "halonerf.heads.FewShot"}
WORD, MARKED = "rose window", "0001.jpg"  # what is taught, and the photo that is marked
ARM, RING = 0.8, 1.35  # of the drawn cross and ring, in half sizes of the part
OPENED = (
    "collect",
    "ingest",
    "reconstruct",
    "index",
)  # by a session whose words are the segmenter's


def write_teachable_cathedral(root: Path) -> dict[str, Path]:
    """Finished folders down to `index`; the photo that is held out is not in it."""
    made = write_cathedral_folders(root)
    made["segment"] = root / "segment"
    made["segment"].mkdir()
    names = sorted(path.name for path in (made["collect"] / "photos").iterdir())
    rows = [{"photo": n, "score": "0.9", "chosen": str(n != HELD_OUT).lower(), "reason": ""} for n in names]
    write_csv(made["segment"] / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
    run_stage(Index(SEGMENTER, FIELD, max_photos=7), root / "index", made)
    return {**made, "index": root / "index"}


def truth(folders: dict[str, Path], photo: str) -> NDArray[np.bool_]:
    """Where the rose window is in a photo, [H, W]."""
    return true_mask(folders["collect"], WORD, photo).numpy() > 0.5


def marks_of(mask: NDArray[np.bool_]) -> list[tuple[list[list[float]], bool]]:
    """Three strokes as a person draws them: a cross on the part, which is positive, and a ring around it, which is not.

    Points in widths and heights of the photo.
    """
    (top, left), (bottom, right) = (np.quantile(np.argwhere(mask), share, axis=0) for share in (0.02, 0.98))
    (y, x), (up, aside) = np.argwhere(mask).mean(axis=0), ((bottom - top) / 2, (right - left) / 2)
    angles = np.linspace(0, 2 * np.pi, 40)
    ring = np.stack([x + RING * aside * np.cos(angles), y + RING * up * np.sin(angles)], axis=1)
    across, down = ([[x - ARM * aside, y], [x + ARM * aside, y]], [[x, y - ARM * up], [x, y + ARM * up]])
    size = np.array(mask.shape[::-1])
    inside = [(np.array(line) / size).clip(0.01, 0.99).tolist() for line in (across, down, ring)]
    return list(zip(inside, (True, True, False), strict=True))
