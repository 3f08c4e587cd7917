"""Matches from existing tracks: points that both photos observe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from halonerf.config.option_types import PositiveInt
from halonerf.errors import BadInput
from halonerf.miners.published import read_published
from halonerf.types import Matches


class SfmTracks:
    """A `TrackMiner`: pairs of observations of the same 3D point of the reconstruction, or of a published key point.

    Args:
        path: a file of published key points (`halonerf.miners.published`); None: the reconstruction's points.
        short_side: px, of the photos that the file refers to; None: that of the scene's photos.
    """

    data_options = ("path",)

    def __init__(self, path: str | None = None, short_side: PositiveInt | None = 200) -> None:
        self.path, self.short_side = path, short_side

    def tracks(self, names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> list[tuple[Tensor, Tensor]] | None:
        """Published key points of photos of these sizes (width, height), px: pixels [N, 2] and ids [N] per photo; None
        without a file.

        Raises: BadInput where the file cannot be read, or holds none of the photos.
        """
        if self.path is None:
            return None
        found = read_published(Path(self.path).expanduser(), names)
        if not found:
            raise BadInput(
                f"expected key points of the scene's photos in {self.path}, but it holds none of the {len(names)} "
                f"(the first: '{names[0] if names else ''}').\nPhotos are matched by the ends of their paths. Use the "
                "reconstruction's points with: miner.path=null"
            )
        none = np.zeros((0, 2)), np.zeros(0, np.int64)
        seen = []
        for name, size in zip(names, sizes, strict=True):
            pixels, ids = found.get(name, none)
            scale = 1.0 if self.short_side is None else min(size) / self.short_side
            seen.append((torch.from_numpy((pixels * scale).astype(np.float32)), torch.from_numpy(ids)))
        return seen

    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Matches at the common points of two photos; score 1, since each point has passed the reconstruction's tests.

        Args:
            image0, image1: [3, H, W]; only their sizes are used.
            seen: for either photo, pixels [N, 2] and the index of the 3D point [N].

        Raises: BadInput without `seen`.
        """
        if seen is None:
            raise BadInput(
                "expected observations of a reconstruction for the miner 'sfm_tracks', got images only.\n"
                "Match by appearance instead, with another miner=…"
            )
        (pixels0, ids0), (pixels1, ids1) = seen
        inside0, inside1 = _inside(pixels0, image0), _inside(pixels1, image1)
        kept0, kept1 = torch.nonzero(inside0)[:, 0], torch.nonzero(inside1)[:, 0]
        _, rows0, rows1 = np.intersect1d(ids0[kept0].numpy(), ids1[kept1].numpy(), return_indices=True)
        points0, points1 = pixels0[kept0[torch.from_numpy(rows0)]], pixels1[kept1[torch.from_numpy(rows1)]]
        return Matches(points0, points1, torch.ones(len(points0)))


def _inside(pixels: Tensor, image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return (pixels >= 0).all(dim=1) & (pixels[:, 0] <= width) & (pixels[:, 1] <= height)
