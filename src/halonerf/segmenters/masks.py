"""People's masks in place of a network: what is drawn is known, what is not drawn is unknown, never "no"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.errors import BadInput
from halonerf.masks import MaskFolder, match_concepts

CERTAIN = 1e-4  # probability of the side that was not drawn; a logit of 9.2, which eight bits round to 0 and 255

Place = Callable[[str, np.ndarray], np.ndarray]


class Masks:
    """Looks masks up in `<path>/<concept>/<photo without its ending>.png`, half and above is "yes".

    Masks are drawn on upright original photos. Whoever shows photos in another frame (undistorted ones, say) tells
    how to get there with `place`.

    Args:
        path: folder with one folder a concept.

    Raises: BadInput where the folder is missing or holds no mask.
    """

    data_options = ("path",)

    def __init__(self, path: str) -> None:
        self.folder = MaskFolder.open(path)
        self._place: Place | None = None

    def vocabulary(self) -> list[str]:
        """The concepts somebody drew, sorted."""
        return self.folder.concepts

    def place(self, place: Place | None) -> None:
        """Set how a drawing gets into the frame of the photos that `encode` sees.

        place(name, drawing [h, w] float32 in [0, 1] on the upright original) -> [H, W], the photo's size.
        """
        self._place = place

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Every concept's mask of the photos called `names`: `probability` [B, C, H, W], NaN where none was drawn.

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
                    maps[row, column] = torch.from_numpy(self._drawn(concept, name, height, width)).to(maps)
        return {"probability": maps}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, H, W]: NaN for what nobody drew.

        A prompt finds its folder whatever its case, spaces or underscores, and by its regular English plural.
        """
        probability = encoded["probability"]
        columns = match_concepts(prompts, self.folder.concepts)
        unknown = torch.full_like(probability[:, 0], torch.nan)
        chosen = torch.stack([probability[:, columns[p]] if p in columns else unknown for p in prompts], dim=1)
        return torch.logit(chosen, eps=CERTAIN)

    def _drawn(self, concept: str, name: str, height: int, width: int) -> np.ndarray:
        """One mask in the photo's frame, float32 [height, width] in [0, 1]; edges are soft after resampling."""
        if self._place is not None:
            return self._place(name, self.folder.read(concept, name).astype(np.float32))
        drawing = self.folder.read(concept, name, (width, height)).astype(np.float32)
        return interpolate(torch.from_numpy(drawing)[None, None], size=(height, width), mode="area")[0, 0].numpy()
