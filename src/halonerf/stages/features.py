"""features: what an encoder of photos and texts says of each chosen photo, pixel by pixel or crop by crop.

maps/<view>.safetensors   `scale0`, `scale1`, … [D, h, w], half precision, unit vectors over the whole working image
words.safetensors         `texts` [P, D] of the concepts, `phrases` [C, D], `scale` [1]: what cosines are multiplied by
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.data.formats.feature_maps import feature_map_path
from halonerf.data.formats.names import MAPS, TEXT_EMBEDDINGS
from halonerf.data.formats.photo_choice import read_photo_choice
from halonerf.data.formats.probability_maps import read_concepts
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_atomic
from halonerf.pipeline.stage import Stage
from halonerf.protocols import DenseRetriever, Retriever


class Features(Stage):
    """Embed photos densely, and the words that they will be compared with.

    Args:
        retriever: config of the encoder; dense ones are needed where there are no scales.
        head: config of the head that will lift what is found; only its `scales` are used: sides of square crops, in
            shares of a photo's short side (LERF's pyramid); none: densely, at once (DFF).
        overlap: of neighbouring crops, a share of their side.
        phrases: what a word is weighed against besides other words.
        size: px, long side to which photos are scaled before they are embedded; None keeps the working size.
        batch: crops embedded together.
    """

    name = "features"
    needs = ("ingest", "segment")

    def __init__(
        self,
        retriever: Mapping[str, Any],
        head: Mapping[str, Any],
        overlap: float = 0.5,
        phrases: Sequence[str] = ("object", "things", "stuff", "texture"),
        size: int | None = None,
        batch: int = 64,
    ) -> None:
        super().__init__()
        scales = list(head.get("scales") or ())
        if any(not 0 < scale <= 1 for scale in scales) or not 0 <= overlap < 1:
            raise BadInput(f"expected head.scales in (0, 1] and features.overlap in [0, 1), got {scales} and {overlap}")
        if not phrases or batch < 1 or (size is not None and size < 16):
            raise BadInput(
                "expected at least one of features.phrases, features.batch >= 1 and features.size >= 16 or null, got "
                f"{list(phrases)}, {batch} and {size}"
            )
        self.retriever_config, self.scales, self.overlap = retriever, scales, overlap
        self.phrases, self.size, self.batch = list(phrases), size, batch

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.concepts: list[str] = read_concepts(self.inputs["segment"])
        self.retriever: Retriever = build(self.retriever_config)
        if not self.scales and not isinstance(self.retriever, DenseRetriever):
            raise BadInput(
                f"expected a retriever that sees pixel by pixel, got {type(self.retriever).__name__}, which has no "
                "embed_dense.\nEmbed crops instead: head=lerf"
            )
        (self.folder / MAPS).mkdir(exist_ok=True)

    def items(self) -> list[int]:
        """Views of the chosen photos."""
        chosen = read_photo_choice(self.inputs["segment"])
        return [view for view, name in enumerate(self.scene.names) if name in chosen]

    def done(self, item: int) -> bool:
        return feature_map_path(self.folder, item).is_file()

    @torch.no_grad()
    def predict_step(self, item: int, index: int) -> None:
        image = self._image(item)
        if self.scales:
            maps = [self._pyramid(image, scale) for scale in self.scales]
        else:
            assert isinstance(self.retriever, DenseRetriever)
            maps = [self.retriever.embed_dense(image[None])[0]]
        tensors = {f"scale{number}": found.half().cpu().contiguous() for number, found in enumerate(maps)}
        write_atomic(feature_map_path(self.folder, item), save(tensors))

    @torch.no_grad()
    def finish(self) -> None:
        texts, phrases = (self.retriever.embed_texts(said).cpu() for said in (self.concepts, self.phrases))
        tensors = {"texts": texts, "phrases": phrases, "scale": torch.tensor([self.retriever.scale])}
        write_atomic(self.folder / TEXT_EMBEDDINGS, save(tensors))
        self.width = texts.shape[1]

    def summary(self) -> dict[str, Any]:
        return {"photos": len(self.items()), "numbers": self.width, "scales": self.scales}

    def _image(self, item: int) -> Tensor:
        """[3, H, W] in [0, 1], at the size that is asked for."""
        image = self.scene.photo(item).to(self.device).permute(2, 0, 1).float() / 255
        if self.size is None:
            return image
        share = self.size / max(image.shape[1:])
        size = tuple(max(1, round(length * share)) for length in image.shape[1:])
        shown = interpolate(image[None], size, mode="bilinear", antialias=share < 1, align_corners=False)
        return shown[0].clamp(0, 1)

    def _pyramid(self, image: Tensor, scale: float) -> Tensor:
        """One level of LERF's pyramid: embeddings of overlapping crops in their grid, [D, rows, columns]."""
        side = max(1, round(scale * min(image.shape[1:])))
        tops, lefts = (crop_starts(length, side, self.overlap) for length in image.shape[1:])
        crops = [image[:, top : top + side, left : left + side] for top in tops for left in lefts]
        parts = [torch.stack(crops[k : k + self.batch]) for k in range(0, len(crops), self.batch)]
        vectors = torch.cat([self.retriever.embed_images(part) for part in parts])
        return vectors.T.unflatten(1, (len(tops), len(lefts)))


def crop_starts(length: int, side: int, overlap: float) -> list[int]:
    """Where crops begin along a side of the photo: their centres tile it evenly, those at the borders moved inwards."""
    side = min(side, length)
    count = max(1, round(length / (side * (1 - overlap))))
    return [min(max(0, round((k + 0.5) * length / count - side / 2)), length - side) for k in range(count)]
