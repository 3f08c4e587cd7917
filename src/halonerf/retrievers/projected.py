"""Embeddings of photos, pixels and texts by small projections of a text segmenter's frozen features.

As in CLIP: one space for all three, cosines, a temperature. The segmenter's pyramid and text tower are frozen; three
small projections into the common space are learnt contrastively (experiments/dense_retriever.py makes those of the
package): of a pixel's features over the levels, as in LSeg (Li et al., "Language-driven Semantic Segmentation", ICLR
2022); of a whole photo's; and of a text's.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from halonerf.config.option_types import PositiveInt
from halonerf.errors import BadInput, MissingArtifact
from halonerf.files import atomic_folder

TEMPERATURE = 0.07  # of the cosines, as in LSeg and as CLIP's initial one
HIDDEN = 128  # width of a projection's hidden layer
WEIGHTS = "model.safetensors"
PROBE_SIZE = 32  # px; smallest photo for which a segmenter's pyramid needs no padding
PACKAGED = ("offline", "closeups")  # trained on whole buildings too, or on close-ups only, as the segmenter


class Projected(nn.Module):
    """A `DenseRetriever` of projections of a segmenter's features.

    Args:
        segmenter: encodes photos for `embed_dense` and texts: `encode` gives `level0`, `level1`, …, each of half the
            resolution before it, and `size`; `dense_features` makes features of pixels of them; `text` embeds texts. It
            stays frozen.
        crops: the same segmenter at the scale that suits crops, for `embed_images`; only its `encode` is used.
        weights: a folder written by `save`, or the file in it; "offline" and "closeups" come with the package, for the
            segmenter's offline weights; None initialises at random, for training from scratch.
        width: D, dimension of the embeddings; must be that of the weights.

    Raises: MissingArtifact: there is no such file. BadInput: it holds projections of other features.
    """

    data_options = ("weights",)

    def __init__(self, segmenter: Any, crops: Any, weights: str | None = "offline", width: PositiveInt = 64) -> None:
        super().__init__()
        lacks = [part for part in ("encode", "text", "dense_features") if not hasattr(segmenter, part)]
        if lacks or not hasattr(crops, "encode"):
            raise BadInput(
                f"expected a segmenter that embeds texts separately from photos, got {type(segmenter).__name__} "
                f"without {' and '.join(lacks) or 'encode'}.\nUse segmenter=timm_text's config for retriever.segmenter."
            )
        self.segmenter, self.crops = segmenter, crops
        self.segmenter.requires_grad_(False).eval()
        self.crops.requires_grad_(False).eval()
        with torch.no_grad():
            probe = torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE)
            pixel_width = segmenter.dense_features(segmenter.encode(probe)).shape[1]
            pooled_width = pooled_features(crops.encode(probe)).shape[1]
            text_width = segmenter.text(["a"]).shape[1]
        self.pixel = nn.Sequential(nn.Conv2d(pixel_width, HIDDEN, 1), nn.ReLU(), nn.Conv2d(HIDDEN, width, 1))
        self.whole = nn.Sequential(nn.Linear(pooled_width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, width))
        self.words = nn.Sequential(nn.Linear(text_width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, width))
        if weights is not None:
            self._load(weights)

    @property
    def scale(self) -> float:
        """Factor on cosines in training: the inverse of the temperature."""
        return 1 / TEMPERATURE

    def train(self, mode: bool = True) -> Projected:
        """Set the projections' mode; the segmenters stay in evaluation mode."""
        super().train(mode)
        self.segmenter.eval()
        self.crops.eval()
        return self

    def embed_images(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Unit vectors [B, D] of B photos [3, H, W] in [0, 1]: one tensor, or photos of any sizes."""
        photos = list(images)
        shapes: dict[torch.Size, list[int]] = {}
        for index, photo in enumerate(photos):
            shapes.setdefault(photo.shape, []).append(index)
        order = [index for same in shapes.values() for index in same]
        with torch.no_grad():
            batches = [torch.stack([photos[i] for i in same]).float() for same in shapes.values()]
            features = torch.cat([pooled_features(self.crops.encode(batch)) for batch in batches])
        return self.whole_vectors(features[torch.tensor(order, device=features.device).argsort()])

    def embed_dense(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D, h, w] of images [B, 3, H, W] in [0, 1], at the segmenter's finest resolution."""
        with torch.no_grad():
            features = self.segmenter.dense_features(self.segmenter.encode(images.float()))
        return self.pixel_vectors(features)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D] of P texts. Raises BadInput for a text that the segmenter cannot read."""
        with torch.no_grad():
            embeddings = self.segmenter.text(list(texts))
        return self.text_vectors(embeddings)

    def pixel_vectors(self, features: Tensor) -> Tensor:
        """Unit vectors [B, D, h, w] of the segmenter's `dense_features` [B, F, h, w]."""
        return normalize(self.pixel(features), dim=1)

    def whole_vectors(self, features: Tensor) -> Tensor:
        """Unit vectors [B, D] of `pooled_features` [B, F]."""
        return normalize(self.whole(features), dim=1)

    def text_vectors(self, embeddings: Tensor) -> Tensor:
        """Unit vectors [P, D] of the segmenter's embeddings of texts, [P, T]."""
        return normalize(self.words(embeddings), dim=1)

    def save(self, path: Path) -> None:
        """Atomically write the projections as the folder `path`, replacing it."""
        with atomic_folder(path) as fresh:
            save_file({name: value.cpu().contiguous() for name, value in self.projections().items()}, fresh / WEIGHTS)

    def projections(self) -> dict[str, Tensor]:
        """State dict of the projections only."""
        return {n: v for n, v in self.state_dict().items() if n.split(".")[0] in ("pixel", "whole", "words")}

    def _load(self, weights: str) -> None:
        packaged = files("halonerf.retrievers").joinpath("weights", f"{Path(weights).name}.safetensors")
        with as_file(packaged) as own:
            given = own if weights in PACKAGED else Path(weights).expanduser()
            path = given / WEIGHTS if given.is_dir() else given
            if not path.is_file():
                raise MissingArtifact(
                    f"expected the projections of a retriever in '{path}', found no such file.\n"
                    "Use those of the package with: retriever.weights=offline\n"
                    "Train your own with: python experiments/dense_retriever.py"
                )
            try:
                tensors = load_file(path)
            except SafetensorError as error:
                raise BadInput(
                    f"expected a safetensors file with projections in '{path}', but it cannot be read: {error}.\n"
                    "Use those of the package with: retriever.weights=offline"
                ) from error
        wanted = {name: tuple(value.shape) for name, value in self.projections().items()}
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        if wanted != found:
            name = min(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
            raise BadInput(
                f"expected projections of this segmenter's features in '{path}', but '{name}' is "
                f"{found.get(name, 'not there')} and not {wanted.get(name, 'known')}.\n"
                "Projections fit the segmenter that they were trained with: see conf/retriever/projected.yaml"
            )
        self.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)


def pooled_features(encoded: dict[str, Tensor]) -> Tensor:
    """Features [B, F] of a whole photo: mean and maximum of every channel of every level, without padding."""
    pooled = []
    for stride, level in enumerate(_levels(encoded)):
        rows, columns = (-(-int(n) // 2**stride) for n in encoded["size"][0])
        inside = level[..., :rows, :columns]
        pooled += [inside.mean(dim=(2, 3)), inside.amax(dim=(2, 3))]
    return torch.cat(pooled, dim=1)


def _levels(encoded: dict[str, Tensor]) -> list[Tensor]:
    return [encoded[name] for name in sorted(name for name in encoded if name.startswith("level"))]
