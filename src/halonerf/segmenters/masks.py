"""Hand-drawn masks in place of a network; a photo without a mask of a concept is unknown, not negative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from halonerf.config.option_types import Text
from halonerf.errors import BadInput
from halonerf.geometry import resize_mean
from halonerf.masks import MaskFolder, match_concepts

MIN_PROBABILITY = 1e-4  # outside a mask; a logit of -9.2, which rounds to 0 of 255

Place = Callable[[str, np.ndarray], np.ndarray]


class Masks:
    """A `MaskFolderSegmenter` of masks `<path>/<concept>/<photo without its ending>.png`, positive from one half on.

    Masks are drawn on the upright original photos. Where photos come in another frame (undistorted ones, for instance),
    `place` sets how masks are warped into it.

    Args:
        path: folder with one folder per concept.

    Raises: BadInput where the folder is missing or holds no mask.
    """

    data_options = ("path",)
    shared_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, path: Text) -> None:
        self.folder = MaskFolder.open(path)
        self._place: Place | None = None

    def vocabulary(self) -> list[str]:
        """The concepts that have masks, sorted."""
        return self.folder.concepts

    def place(self, place: Place | None) -> None:
        """Set how a mask is warped into the frame of the photos that `encode` gets; None: resampled to their size.

        place(name, mask [h, w] float32 in [0, 1] on the upright original photo) -> [H, W], the photo's size.
        """
        self._place = place

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Masks of every concept for the photos called `names`: `probability` [B, C, H, W], NaN where there is none.

        Raises: BadInput without names, or where a mask does not fit its photo or cannot be read.
        """
        if names is None or len(names) != len(images):
            raise BadInput(
                f"expected the names of the {len(images)} photos to look their masks up, got {names and list(names)}.\n"
                "Photos without names need a network: segmenter=timm_text"
            )
        height, width = images.shape[-2:]
        concepts = self.folder.concepts
        maps = images.new_full((len(images), len(concepts), height, width), torch.nan)
        for row, name in enumerate(names):
            for column, concept in enumerate(concepts):
                if self.folder.find(concept, name) is not None:
                    maps[row, column] = torch.from_numpy(self._mask(concept, name, height, width)).to(maps)
        return {"probability": maps}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, H, W]; NaN where there is no mask.

        A prompt matches its folder whatever its case, spaces or underscores, and by its regular English plural.
        """
        return logits_of_concepts(encoded["probability"], self.folder.concepts, prompts)

    def _mask(self, concept: str, name: str, height: int, width: int) -> np.ndarray:
        """One mask in the photo's frame, float32 [height, width] in [0, 1]; resampling softens its edges."""
        if self._place is not None:
            return self._place(name, self.folder.read(concept, name).astype(np.float32))
        mask = self.folder.read(concept, name, (width, height)).astype(np.float32)
        return resize_mean(torch.from_numpy(mask), height, width).numpy()


def logits_of_concepts(probability: Tensor, concepts: Sequence[str], prompts: Sequence[str]) -> Tensor:
    """Logits [B, P, H, W] of prompts, matched to concepts by `match_concepts`; NaN for a prompt that matches none.

    probability: [B, C, H, W] of the C concepts in [0, 1], NaN where unknown.
    """
    columns = match_concepts(prompts, concepts)
    unknown = torch.full_like(probability[:, 0], torch.nan)
    chosen = torch.stack([probability[:, columns[p]] if p in columns else unknown for p in prompts], dim=1)
    return torch.logit(chosen, eps=MIN_PROBABILITY)
