"""Feature maps and text embeddings of a `features` folder: one vector per pixel or crop of each chosen photo.

maps/<view>.safetensors   `scale0`, `scale1`, … [D, h, w], half precision, unit vectors over the whole working image
words.safetensors         `texts` [P, D] of the concepts, `phrases` [C, D], `scale` [1], the factor of cosines
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from halonerf.data.formats.names import MAPS, TEXT_EMBEDDINGS, view_file


class FeatureMaps(Sequence[list[Tensor]]):
    """Feature maps of views of a finished `features` folder, read on access: per view, [D, h, w] of each scale."""

    def __init__(self, folder: Path, views: Sequence[int]) -> None:
        self.paths = [feature_map_path(folder, view) for view in views]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: Any) -> Any:
        return _LazyMaps(self.paths[place])


class _LazyMaps(Sequence[Tensor]):
    """The scales of one photo, each read on access."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with safe_open(path, framework="pt") as stream:
            self._scales = len(list(stream.keys()))

    def __len__(self) -> int:
        return self._scales

    def __getitem__(self, scale: Any) -> Any:
        if not 0 <= scale < self._scales:
            raise IndexError(scale)
        with safe_open(self.path, framework="pt") as stream:
            return stream.get_tensor(f"scale{scale}")


def feature_map_path(folder: Path, view: int) -> Path:
    """Path of a view's feature maps; there is a file where the photo was chosen."""
    return view_file(folder / MAPS, view, ".safetensors")


def read_text_embeddings(folder: Path) -> tuple[Tensor, Tensor, float]:
    """Text embeddings of a finished `features` folder: concepts [P, D], phrases [C, D], and the factor of cosines."""
    stored = load_file(folder / TEXT_EMBEDDINGS)
    return stored["texts"], stored["phrases"], float(stored["scale"])
