"""The matches that a reconstruction has found already: points that both photos saw."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.types import Matches


class SfmTracks:
    """Pairs the observations of the same 3D point. Exact and free, but only where the reconstruction has points."""

    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Score 1 for every point: each has passed the reconstruction's own tests.

        Args:
            image0, image1: [3, H, W]; only their sizes count.
            seen: for either photo, pixels [N, 2] and the index of the 3D point [N].

        Raises: BadInput without `seen`: a reconstruction is what this miner reads.
        """
        if seen is None:
            raise BadInput(
                "the miner 'sfm_tracks' reads what a reconstruction saw in the photos, and was given images alone.\n"
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
