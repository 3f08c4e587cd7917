"""A finished scene of twenty photos of one house, with a field that is a board, and a segmenter that sees colours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from halonerf.files import write_at
from halonerf.types import Rendering, View
from helpers.made_folders import VIEW, write_ingest

GRID = (12, 16)  # elements down and across


class Board(nn.Module):
    """A board of elements that fills every picture, whatever the camera: each shows in one rectangle of pixels."""

    elements = GRID[0] * GRID[1]

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Parameter(torch.zeros(self.elements, 3))

    def load(self, path: Path) -> None:
        self.load_state_dict(load_file(path))

    def mean_appearance(self) -> Tensor:
        return torch.zeros(1)

    def appearance(self, name: str) -> Tensor:
        return torch.zeros(1)

    def render(self, view: View, appearance: Tensor, channels: Tensor | None = None) -> Rendering:
        parts = self.colours if channels is None else torch.cat([self.colours, channels], dim=1)
        picture = interpolate(parts.T.reshape(1, -1, *GRID), (view.height, view.width))[0].permute(1, 2, 0)
        ones = torch.ones(view.height, view.width)
        return Rendering(picture[..., :3], ones, ones, None if channels is None else picture[..., 3:])

    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        given = torch.cat([maps * weight[..., None], weight[..., None]], dim=-1).permute(2, 0, 1)[None]
        area = view.height * view.width / self.elements
        sums = interpolate(given, GRID, mode="area")[0].flatten(1).T * area
        return sums[:, :-1], sums[:, -1]


class Colours(nn.Module):
    """Sees the cathedral where a picture is red, and windows where it is green."""

    shared_keys: ClassVar[tuple[str, ...]] = ()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        return {"pixels": images}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        words = {"cathedral": 0, "window": 1, "dome": 2}
        return torch.logit(encoded["pixels"][:, [words[prompt] for prompt in prompts]], eps=1e-4)


COLOURS = {"_target_": f"{__name__}.Colours"}


def picture(**parts: tuple[slice, slice]) -> np.ndarray:
    """[48, 64, 3] uint8 with red, green and blue rectangles."""
    pixels = np.zeros((VIEW[1], VIEW[0], 3), np.uint8)
    for name, (rows, columns) in parts.items():
        pixels[rows, columns, ("red", "green", "blue").index(name)] = 255
    return pixels


HOUSE = (slice(8, 40), slice(16, 48))
WINDOW = (slice(16, 24), slice(20, 28))
ELSEWHERE = (slice(32, 40), slice(36, 44))


def write_board_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """A finished ingest of twenty photos of one house, and its field; photo 3 is half hidden, photo 5 has it wrong."""
    names = write_ingest(root / "ingest", 20)
    good = picture(red=HOUSE, green=WINDOW)
    photos = [good] * 3 + [picture(red=(HOUSE[0], slice(16, 32)), green=WINDOW)] + [good]
    photos += [picture(red=HOUSE, green=ELSEWHERE)] + [good] * 14
    for index, photo in enumerate(photos):
        write_photo(root / "ingest", index, photo)
    (root / "reconstruct").mkdir()
    field = {"config": {"field": {"_target_": f"{__name__}.Board"}}}
    (root / "reconstruct" / "manifest.json").write_text(json.dumps(field))
    colours = torch.from_numpy(good[::4, ::4].reshape(-1, 3).copy()).float() / 255
    save_file({"colours": colours.contiguous()}, root / "reconstruct" / "field.safetensors")
    return {part: root / part for part in ("collect", "ingest", "distill", "reconstruct")}, names


def write_photo(ingest: Path, index: int, photo: np.ndarray) -> None:
    """Replace the pixels of a photo in a finished ingest."""
    write_at(ingest / "images.u8", index * photo.size, photo.tobytes())
