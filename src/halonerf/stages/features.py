"""features: embeddings of photos by a retriever, densely or crop by crop, and of the concepts.

maps/<view>.safetensors   `scale0`, `scale1`, … [D, h, w], half precision, over the whole working image; unit vectors,
                          but for a dense encoder without texts; of each chosen photo, of all for a `FewShotHead`
words.safetensors         `texts` [P, D] of the concepts, `phrases` [C, D], `scale` [1]: factor on cosines; not without
                          texts
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.config.option_types import Component, HalfOpenFraction, Pixels, PositiveInt, Text
from halonerf.data.formats.feature_maps import FeatureMaps, feature_map_path
from halonerf.data.formats.names import MAPS, TEXT_EMBEDDINGS
from halonerf.data.formats.photo_choice import read_photo_choice
from halonerf.data.formats.probability_maps import read_concepts
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_atomic
from halonerf.loading import learns_from_few
from halonerf.pipeline.stage import Stage
from halonerf.protocols import DenseEncoder, Retriever
from halonerf.stages.specs import FeaturesSpec


class Features(FeaturesSpec, Stage):
    """Embed photos as feature maps, and the texts that they are compared with.

    Args:
        retriever: config of the retriever; where there are no scales, of a `DenseEncoder`.
        head: config of the head that will be fitted to the maps. Its `scales` are sides of square crops, as fractions
            of a photo's short side (LERF's pyramid); none: dense embeddings (DFF). A `FewShotHead` needs all photos.
        overlap: of neighbouring crops, as a fraction of their side.
        phrases: negatives that a text is compared with besides other texts.
        size: px, long side to which photos are scaled before they are embedded; None keeps the working size.
        batch: crops embedded together.
    """

    def __init__(
        self,
        retriever: Component,
        head: Component,
        overlap: HalfOpenFraction = 0.5,
        phrases: Annotated[Sequence[Text], MinLen(1)] = ("object", "things", "stuff", "texture"),
        size: Pixels | None = None,
        batch: PositiveInt = 64,
    ) -> None:
        super().__init__()
        scales = list(head.get("scales") or ())
        if any(not 0 < scale <= 1 for scale in scales):
            raise BadInput(f"expected head.scales in (0, 1], got {scales}")
        self.retriever_config, self.head_config, self.scales, self.overlap = retriever, head, scales, overlap
        self.phrases, self.size, self.batch = list(phrases), size, batch

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.concepts: list[str] = read_concepts(self.inputs["segment"])
        self.retriever: Retriever | DenseEncoder = build(self.retriever_config)
        self.all_photos = learns_from_few(self.head_config)
        if not self.scales and not isinstance(self.retriever, DenseEncoder):
            raise BadInput(
                f"expected a retriever with dense embeddings, got {type(self.retriever).__name__}, which has no "
                "embed_dense.\nEmbed crops instead: head=lerf, or densely: retriever=projected; with head=fewshot: "
                "retriever=pyramid"
            )
        if (self.scales or not self.all_photos) and not isinstance(self.retriever, Retriever):
            raise BadInput(
                f"expected a retriever that embeds texts, got {type(self.retriever).__name__}, which does not.\n"
                "Use retriever=projected, or the head that learns from examples: head=fewshot"
            )
        (self.folder / MAPS).mkdir(exist_ok=True)

    def items(self) -> list[int]:
        """Views of the chosen photos; of all where annotations of few photos are carried over to the others."""
        if self.all_photos:
            return list(range(len(self.scene)))
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
            assert isinstance(self.retriever, DenseEncoder)
            maps = [self.retriever.embed_dense(image[None])[0]]
        tensors = {f"scale{number}": found.half().cpu().contiguous() for number, found in enumerate(maps)}
        write_atomic(feature_map_path(self.folder, item), save(tensors))

    @torch.no_grad()
    def finish(self) -> None:
        if not isinstance(self.retriever, Retriever):
            return
        texts, phrases = (self.retriever.embed_texts(texts).cpu() for texts in (self.concepts, self.phrases))
        tensors = {"texts": texts, "phrases": phrases, "scale": torch.tensor([self.retriever.scale])}
        write_atomic(self.folder / TEXT_EMBEDDINGS, save(tensors))

    def summary(self) -> dict[str, Any]:
        return {"photos": len(self.items()), "dimension": self._width(), "scales": self.scales}

    def _width(self) -> int | None:
        """Dimension of the features; None without photos."""
        items = self.items()
        return FeatureMaps(self.folder, items[:1])[0][0].shape[0] if items else None

    def _image(self, item: int) -> Tensor:
        """A photo, [3, H, W] in [0, 1], at the size of the option `size`."""
        image = self.scene.photo(item).to(self.device).permute(2, 0, 1).float() / 255
        if self.size is None:
            return image
        scale = self.size / max(image.shape[1:])
        size = tuple(max(1, round(length * scale)) for length in image.shape[1:])
        resized = interpolate(image[None], size, mode="bilinear", antialias=scale < 1, align_corners=False)
        return resized[0].clamp(0, 1)

    def _pyramid(self, image: Tensor, scale: float) -> Tensor:
        """One level of LERF's pyramid: embeddings [D, rows, columns] of a grid of overlapping crops of [3, H, W]."""
        side = max(1, round(scale * min(image.shape[1:])))
        tops, lefts = (crop_starts(length, side, self.overlap) for length in image.shape[1:])
        crops = [image[:, top : top + side, left : left + side] for top in tops for left in lefts]
        parts = [torch.stack(crops[k : k + self.batch]) for k in range(0, len(crops), self.batch)]
        assert isinstance(self.retriever, Retriever)
        vectors = torch.cat([self.retriever.embed_images(part) for part in parts])
        return vectors.T.unflatten(1, (len(tops), len(lefts)))


def crop_starts(length: int, side: int, overlap: float) -> list[int]:
    """First pixels of crops along a side of `length` px: evenly spaced centres, border crops moved inwards."""
    side = min(side, length)
    count = max(1, round(length / (side * (1 - overlap))))
    return [min(max(0, round((k + 0.5) * length / count - side / 2)), length - side) for k in range(count)]
