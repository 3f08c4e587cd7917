"""A small encoder of photos, pixels and texts on the frozen towers of a text segmenter.

CLIP-shaped: one space for all three, cosines, a temperature. The segmenter's pyramid and text tower stay as they are;
three small projections into the common space are learnt, contrastively (experiments/dense_retriever.py makes those that
come with the package): of a pixel's features over the levels, as LSeg has them (Li et al., "Language-driven Semantic
Segmentation", ICLR 2022); of a whole picture's; and of a text's.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from halonerf.errors import BadInput, MissingArtifact

TEMPERATURE = 0.07  # of the cosines, as in LSeg and as CLIP starts with
HIDDEN = 128  # width of a projection's hidden layer
WEIGHTS = "model.safetensors"
PROBE = 32  # px; the smallest photo that a segmenter's pyramid takes without padding
PACKAGED = ("offline", "closeups")  # learnt from whole buildings too, or from close-ups alone as the segmenter was


class Projected(nn.Module):
    """Projections of a segmenter's features into one space.

    Args:
        segmenter: sees photos for `embed_dense` and reads texts: `encode` gives `level0`, `level1`, …, each of half the
            resolution before it, and `size`; `text` embeds words. It stays frozen.
        crops: the same segmenter at the scale that suits crops, for `embed_images`; only its `encode` is used.
        weights: a folder written by `save`, or the file in it; "offline" and "closeups" come with the package, for the
            segmenter's own offline weights; None starts from nothing, for training.
        width: numbers in an embedding; must be that of the weights.

    Raises:
        MissingArtifact: there is no such file. BadInput: it holds projections of other features.
    """

    data_options = ("weights",)

    def __init__(self, segmenter: Any, crops: Any, weights: str | None = "offline", width: int = 64) -> None:
        super().__init__()
        lacks = [part for part in ("encode", "text") if not hasattr(segmenter, part)]
        if lacks or not hasattr(crops, "encode"):
            raise BadInput(
                f"expected a segmenter that embeds texts apart from photos, got {type(segmenter).__name__} without "
                f"{' and '.join(lacks) or 'encode'}.\nUse segmenter=timm_text's config for retriever.segmenter."
            )
        self.segmenter, self.crops = segmenter, crops
        self.segmenter.requires_grad_(False).eval()
        self.crops.requires_grad_(False).eval()
        with torch.no_grad():
            probe = torch.zeros(1, 3, PROBE, PROBE)
            seen = pixel_features(segmenter.encode(probe)).shape[1]
            pooled = pooled_features(crops.encode(probe)).shape[1]
            read = segmenter.text(["a"]).shape[1]
        self.pixel = nn.Sequential(nn.Conv2d(seen, HIDDEN, 1), nn.ReLU(), nn.Conv2d(HIDDEN, width, 1))
        self.whole = nn.Sequential(nn.Linear(pooled, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, width))
        self.words = nn.Sequential(nn.Linear(read, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, width))
        if weights is not None:
            self._load(weights)

    @property
    def scale(self) -> float:
        """What cosines were multiplied by in training: the inverse of the temperature."""
        return 1 / TEMPERATURE

    def train(self, mode: bool = True) -> Projected:
        """As torch has it; the towers keep the statistics that they were trained with."""
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
        """Unit vectors [B, D, h, w] over the whole of images [B, 3, H, W] in [0, 1], in the segmenter's finest grid."""
        with torch.no_grad():
            features = pixel_features(self.segmenter.encode(images.float()))
        return self.pixel_vectors(features)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D] of P texts. Raises BadInput for a text that the segmenter cannot read."""
        with torch.no_grad():
            embeddings = self.segmenter.text(list(texts))
        return self.text_vectors(embeddings)

    def pixel_vectors(self, features: Tensor) -> Tensor:
        """Unit vectors [B, D, h, w] of `pixel_features` [B, F, h, w]."""
        return normalize(self.pixel(features), dim=1)

    def whole_vectors(self, features: Tensor) -> Tensor:
        """Unit vectors [B, D] of `pooled_features` [B, F]."""
        return normalize(self.whole(features), dim=1)

    def text_vectors(self, embeddings: Tensor) -> Tensor:
        """Unit vectors [P, D] of the segmenter's embeddings of texts, [P, T]."""
        return normalize(self.words(embeddings), dim=1)

    def save(self, path: Path) -> None:
        """Write the projections as the folder `path`, replacing what it held."""
        partial = path.with_name(f".{path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({name: value.cpu().contiguous() for name, value in self.projections().items()}, partial / WEIGHTS)
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)

    def projections(self) -> dict[str, Tensor]:
        """The state of the projections, without the towers'."""
        return {n: v for n, v in self.state_dict().items() if n.split(".")[0] in ("pixel", "whole", "words")}

    def _load(self, weights: str) -> None:
        packaged = files("halonerf.retrievers").joinpath("weights", f"{Path(weights).name}.safetensors")
        with as_file(packaged) as own:
            given = own if weights in PACKAGED else Path(weights).expanduser()
            path = given / WEIGHTS if given.is_dir() else given
            if not path.is_file():
                raise MissingArtifact(
                    f"expected the projections of a retriever in '{path}', found no such file.\n"
                    "Use the ones of the package with: retriever.weights=offline\n"
                    "Make your own with: python experiments/dense_retriever.py"
                )
            try:
                tensors = load_file(path)
            except SafetensorError as error:
                raise BadInput(
                    f"expected a safetensors file with projections in '{path}', but it cannot be read: {error}.\n"
                    "Use the ones of the package with: retriever.weights=offline"
                ) from error
        wanted = {name: tuple(value.shape) for name, value in self.projections().items()}
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        if wanted != found:
            name = min(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
            raise BadInput(
                f"expected projections of this segmenter's features in '{path}', but '{name}' is "
                f"{found.get(name, 'not there')} and not {wanted.get(name, 'known')}.\n"
                "Projections fit the segmenter that they were made with: see conf/retriever/projected.yaml"
            )
        self.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)


def pixel_features(encoded: dict[str, Tensor]) -> Tensor:
    """All levels of a pyramid in the grid of the finest, [B, F, h, w], without padding."""
    levels = _levels(encoded)
    size = levels[0].shape[-2:]
    upsampled = [interpolate(level, size, mode="bilinear", align_corners=False) for level in levels[1:]]
    rows, columns = (int(n) for n in encoded["size"][0])
    return torch.cat([levels[0], *upsampled], dim=1)[..., :rows, :columns]


def pooled_features(encoded: dict[str, Tensor]) -> Tensor:
    """Mean and largest value of every channel of every level, padding left out, [B, F]."""
    pooled = []
    for stride, level in enumerate(_levels(encoded)):
        rows, columns = (-(-int(n) // 2**stride) for n in encoded["size"][0])
        inside = level[..., :rows, :columns]
        pooled += [inside.mean(dim=(2, 3)), inside.amax(dim=(2, 3))]
    return torch.cat(pooled, dim=1)


def _levels(encoded: dict[str, Tensor]) -> list[Tensor]:
    return [encoded[name] for name in sorted(name for name in encoded if name.startswith("level"))]
