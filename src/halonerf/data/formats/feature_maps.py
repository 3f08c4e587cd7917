"""features: what an encoder of photos and texts says of each chosen photo, pixel by pixel or crop by crop.

maps/<view>.safetensors   `scale0`, `scale1`, … [D, h, w], half precision, unit vectors over the whole working image
words.safetensors         `texts` [P, D] of the concepts, `phrases` [C, D], `scale` [1]: what cosines are multiplied by
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from halonerf.data.formats.names import MAPS, WORD_EMBEDDINGS, view_file


class FeatureMaps(Sequence[list[Tensor]]):
    """The maps of some views of a finished `features`, read when asked for: a list of [D, h, w], one a scale."""

    def __init__(self, folder: Path, views: Sequence[int]) -> None:
        self.paths = [map_path(folder, view) for view in views]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: Any) -> Any:
        return _LazyMaps(self.paths[place])


class _LazyMaps(Sequence[Tensor]):
    """The scales of one photo; only the one that is asked for is read."""

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


def map_path(folder: Path, view: int) -> Path:
    """Where a view's embeddings are, if it was chosen."""
    return view_file(folder / MAPS, view, ".safetensors")


def read_words(folder: Path) -> tuple[Tensor, Tensor, float]:
    """Embeddings of the concepts [P, D] and phrases [C, D] of a finished `features`, and what cosines are scaled by."""
    words = load_file(folder / WORD_EMBEDDINGS)
    return words["texts"], words["phrases"], float(words["scale"])
