"""The rules a map is scored by: which photos, at what size, in how many levels, and which pixels count.

    strict    Every photo with masks. The map at working size (`ingest.size`) is resized to the photo's native size.
              Pixels that undistortion left without a photo do not count.
    heldout   As strict, but only photos of the "test" split: neither fitted nor lifted.
    paper     HaLo-NeRF's evaluation (Dudai et al., Eurographics 2024): every photo with masks, fitted and lifted or
              not. The map at working size is resized to half of the native size, that to the native size, and rounded
              to 8 bits. All pixels count; those without a photo are negative. Where `ingest.size` is half of the
              photo's long side, the first resizing does nothing, and the map is the paper's: rendered at half size.

Everywhere, masks are drawn photo by photo and concept by concept: what nobody drew is not scored, and never "no". The
truth is a mask's pixels of at least half, `1 - L / 255 > 0.5` for HolyScenes' dark on white and `L / 255 > 0.5` for
white on black, which are one and the same. 2D maps are scored by the same rules as 3D ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from halonerf.artifacts import MANIFEST
from halonerf.errors import BadInput

PROTOCOLS = ("strict", "heldout", "paper")
VIEWS = ("all", "train", "test")


def scored_views(protocol: str, views: str) -> str:
    """Which split is scored, one of `VIEWS`, when `views` is asked for.

    Raises: BadInput for an unknown word, or one that the protocol does not leave open.
    """
    if protocol not in PROTOCOLS:
        raise BadInput(f"expected evaluate.protocol={' or '.join(PROTOCOLS)}, got '{protocol}'.")
    if views not in VIEWS:
        raise BadInput(f"expected evaluate.views=all, train or test, got '{views}'.")
    fixed = {"heldout": "test", "paper": "all"}.get(protocol, views)
    if views not in ("all", fixed):
        raise BadInput(
            f"expected evaluate.views={fixed}, for protocol={protocol} scores those, got '{views}'.\n"
            f"Use: evaluate.protocol=strict evaluate.views={views}"
        )
    return fixed


def check_held_out(localize: Path, split: list[str]) -> None:
    """Make sure that test photos were held out of the lifting, too.

    Args:
        localize: the finished folder of that stage; its manifest says whose maps were lifted.
        split: of every photo.

    Raises: BadInput where they were lifted, or where the scene holds none out.
    """
    if "test" not in split:
        raise BadInput(
            f"expected photos of the test split for protocol=heldout, but all {len(split)} photos are training ones.\n"
            "Hold some out with: ingest.test_every=8 ingest.test_from=0"
        )
    views = json.loads((localize / MANIFEST).read_text())["config"]["views"]
    if views != "train":
        raise BadInput(
            f"expected test photos to be held out of the lifting for protocol=heldout, but localize.views={views} "
            "lifted their 2D maps.\nUse: halonerf stage=evaluate evaluate.protocol=heldout localize.views=train"
        )


def at_native(protocol: str, drawn: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.generic]:
    """A map [h, w] in [0, 1] as it is scored at the photo's native size: floats, or bytes by the paper's rules.

    Args:
        shape: (height, width), px.
    """
    if protocol != "paper":
        return at_size(drawn, shape)
    half = max(1, shape[0] // 2), max(1, shape[1] // 2)
    return np.round(np.clip(at_size(at_size(drawn, half), shape), 0.0, 1.0) * 255).astype(np.uint8)


def counted(protocol: str, covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels that count, of those that the photo covers: [H, W]."""
    return np.ones_like(covered) if protocol == "paper" else covered


def at_size(drawn: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """A map [h, w] resized to `shape`: bilinear, averaging where it shrinks."""
    if drawn.shape == shape:
        return drawn
    shrinks = any(new < old for new, old in zip(shape, drawn.shape, strict=True))
    values = torch.from_numpy(np.ascontiguousarray(drawn))[None, None]
    return torch.nn.functional.interpolate(values, shape, mode="bilinear", antialias=shrinks)[0, 0].numpy()
