"""Evaluation protocols: which photos are scored, at what size, with how many levels, and which pixels count.

    strict    Every photo with masks. The map at working size (`ingest.size`) is resized to the photo's native size.
              Pixels that undistortion left uncovered do not count.
    heldout   As strict, but only photos of the "test" split: neither fitted nor lifted.
    paper     HaLo-NeRF's evaluation (Dudai et al., Eurographics 2024): every photo with masks, fitted and lifted or
              not. The map at working size is resized to half of the native size, that to the native size, and stored in
              8 bits as 1 - p, without the fraction of a level, so that p is rounded up. All pixels count; uncovered
              ones are negative. Where `ingest.size` is half of the photo's long side, the first resizing does nothing,
              and the map is the paper's: rendered at half size.

In all protocols, a photo without a mask of a concept is not scored for it, and never counts as negative. The ground
truth is a mask's pixels above one half, `1 - L / 255 > 0.5` for HolyScenes' dark on white and `L / 255 > 0.5` for white
on black, which is the same. 2D maps are scored by the same rules as 3D maps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from halonerf.artifacts import MANIFEST
from halonerf.errors import BadInput

PROTOCOLS = ("strict", "heldout", "paper")
VIEWS = ("all", "train", "test")


def scored_views(protocol: str, views: str) -> str:
    """The split that is scored, one of `VIEWS`, for a protocol and the option `views`.

    Raises: BadInput for an unknown value, or a split that the protocol excludes.
    """
    if protocol not in PROTOCOLS:
        raise BadInput(f"expected evaluate.protocol={' or '.join(PROTOCOLS)}, got '{protocol}'.")
    if views not in VIEWS:
        raise BadInput(f"expected evaluate.views=all, train or test, got '{views}'.")
    fixed = {"heldout": "test", "paper": "all"}.get(protocol, views)
    if views not in ("all", fixed):
        raise BadInput(
            f"expected evaluate.views={fixed}, since protocol={protocol} scores these photos, got '{views}'.\n"
            f"Use: evaluate.protocol=strict evaluate.views={views}"
        )
    return fixed


def check_held_out(localize: Path, split: list[str]) -> None:
    """Check that the test photos were held out of lifting, too.

    Args:
        localize: the finished folder of that stage; its manifest names the photos whose maps were lifted.
        split: of every photo.

    Raises: BadInput where test photos were lifted, or where the scene has none.
    """
    if "test" not in split:
        raise BadInput(
            f"expected photos of the test split for protocol=heldout, but all {len(split)} photos are training ones.\n"
            "Hold some out with: ingest.test_every=8 ingest.test_from=0"
        )
    views = _manifest(localize)["config"]["views"]
    if views != "train":
        raise BadInput(
            f"expected test photos to be held out of the lifting for protocol=heldout, but localize.views={views} "
            "lifted their 2D maps.\nUse: halonerf stage=evaluate evaluate.protocol=heldout localize.views=train"
        )


def check_taught(segment: Path) -> None:
    """Check that no test photo taught the segmenter or decided the concepts, where a stage cannot see to that itself.

    Stages leave held-out photos out wherever they know the split. They do not know it where labels are merged by their
    number over all records, and where `adapt_segmenter` learns without pairs from a landmark that is this very scene.

    Args:
        segment: the finished folder of that stage, in the store of artifacts beside those of the stages that it read.

    Raises: BadInput for either.
    """
    manifest = _manifest(segment)
    config, inputs = manifest.get("config", {}), manifest.get("inputs", {})
    merged = _read(segment, "distill", inputs).get("config", {}).get("min_count", 1) > 1
    if merged and (config.get("adapted") or not config.get("concepts")):
        raise BadInput(
            "expected labels that do not depend on test photos for protocol=heldout, but distill.min_count merged "
            "labels by their number in all records.\nUse: distill.min_count=1, or give segment.concepts=[portal,window]"
        )
    read = _read(segment, "adapt_segmenter", inputs).get("inputs", {})
    own = [
        name
        for stage, key in read.items()
        if (name := stage.removesuffix("/collect")) != stage and key == inputs.get("collect")
    ]
    if taught := [name for name in own if f"{name}/ingest" not in read and not name.startswith("test:")]:
        raise BadInput(
            f"expected a segmenter that no test photo taught for protocol=heldout, but adapt_segmenter read all photos "
            f"of this scene as '{taught[0]}'.\nLeave it out of adapt_segmenter.landmarks and validation; a scene that "
            "adapts to itself (no landmarks) holds its test photos out."
        )


def _read(folder: Path, stage: str, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Manifest of a stage's output that the output in `folder` was made from; empty where there is none."""
    found = sorted(folder.parents[2].glob(f"*/{stage}/{inputs[stage]}/{MANIFEST}")) if stage in inputs else []
    return _manifest(found[0].parent) if found else {}


def _manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def native_map(protocol: str, probability: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.generic]:
    """A map [h, w] in [0, 1] as scored at the photo's native size, [H, W]: floats; uint8 with the protocol "paper".

    Args:
        shape: H, W, px.
    """
    if protocol != "paper":
        return resized_map(probability, shape)
    half = max(1, shape[0] // 2), max(1, shape[1] // 2)
    absent = resized_map(1 - resized_map(probability, half), shape)  # dark is yes in the paper's pictures
    return 255 - (np.clip(absent, 0, 1) * 255).astype(np.uint8)


def scored_pixels(protocol: str, covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels that count, bool [H, W]. covered: bool [H, W], the pixels that the undistorted photo covers."""
    return np.ones_like(covered) if protocol == "paper" else covered


def resized_map(probability: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """A probability map [h, w] resized to `shape`, (H, W): bilinear, with antialiasing where it shrinks."""
    if probability.shape == shape:
        return probability
    shrinks = any(new < old for new, old in zip(shape, probability.shape, strict=True))
    values = torch.from_numpy(np.ascontiguousarray(probability))[None, None]
    return torch.nn.functional.interpolate(values, shape, mode="bilinear", antialias=shrinks)[0, 0].numpy()
