"""SAM (Kirillov et al., ICCV 2023) and SAM 2 (Ravi et al., 2024): the mask of the object that points lie on.

Through transformers. The image encoder takes nearly all of the time, so that what it gives is kept for the last photos.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from halonerf.config.option_types import PositiveInt, Text
from halonerf.errors import BadInput
from halonerf.hub import PretrainedSource

PUBLISHED = "facebook/sam2.1-hiera-small"


class _Encoded(NamedTuple):
    """A photo after the image encoder.

    embedding: as the model takes it. size, input_size: height and width, px, of the photo, and of it in the input.
    """

    embedding: Any
    size: tuple[int, int]
    input_size: tuple[int, int]


class Sam(nn.Module):
    """An `InteractiveSegmenter`: masks by SAM or SAM 2, whichever the weights are of.

    One point is ambiguous, a pane or its window: of the three masks for it that with the highest predicted IoU is
    taken. Several points get the one mask that is meant for them (Kirillov et al., section 3).

    Args:
        weights: hub id, or a local folder in the hub's layout, of a SAM or SAM 2.
        cached_photos: photos whose embeddings are kept, the last ones; of SAM 2 one has 17 MB, of SAM 4 MB.

    Raises: MissingArtifact, BadInput: the weights cannot be read (`PretrainedSource.model`), or are of another model.
    """

    data_options = ("weights",)
    runtime_options: ClassVar[tuple[str, ...]] = ("cached_photos",)

    def __init__(self, weights: Text = PUBLISHED, cached_photos: PositiveInt = 16) -> None:
        super().__init__()
        from transformers import AutoConfig, Sam2Model, Sam2Processor, SamModel, SamProcessor

        option = "interactive_segmenter=sam interactive_segmenter.weights"
        source = PretrainedSource(weights, "SAM or SAM 2", PUBLISHED, option, "interactive_segmenter=null")
        kind = source.part(AutoConfig).model_type
        if kind not in ("sam", "sam2", "sam2_video"):  # SAM 2 is published as a part of its model for videos
            raise BadInput(
                f"expected SAM or SAM 2 in '{weights}', got a model of type '{kind}'.\n"
                f"Use published weights, such as: {option}={PUBLISHED}"
            )
        model, processor = (SamModel, SamProcessor) if kind == "sam" else (Sam2Model, Sam2Processor)
        self.model: Any = source.model(model)
        self.image_processor: Any = source.part(processor).image_processor
        self.cached_photos = cached_photos
        self._encoded: OrderedDict[tuple[tuple[int, ...], bytes], _Encoded] = OrderedDict()  # by shape and digest
        self.eval()

    @torch.no_grad()
    def masks(
        self, picture: NDArray[np.uint8], points: Sequence[NDArray[np.float64]], positive: Sequence[NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """See `halonerf.protocols.InteractiveSegmenter`: masks [N, H, W]."""
        photo = self._encode(picture)
        pairs = zip(points, positive, strict=True)
        found = [self._mask(photo, where, signs) for where, signs in pairs]
        return np.stack(found) if found else np.zeros((0, *photo.size), bool)

    def _mask(self, photo: _Encoded, points: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask [H, W] of the object of points [P, 2], of which `positive` [P] lie on it."""
        device = next(self.model.parameters()).device
        scale = np.array(photo.input_size[::-1]) / np.array(photo.size[::-1])
        where = torch.from_numpy(points * scale - 0.5).float().to(device)  # the model adds half a pixel
        signs = torch.from_numpy(positive.astype(np.int64)).to(device)
        answer = self.model(
            image_embeddings=photo.embedding,
            input_points=where[None, None],
            input_labels=signs[None, None],
            multimask_output=len(points) == 1,
        )
        best = int(answer.iou_scores[0, 0].argmax())
        (upright,) = self.image_processor.post_process_masks(
            answer.pred_masks[:, :, best : best + 1].cpu(),
            original_sizes=[photo.size],
            reshaped_input_sizes=[photo.input_size],
        )
        mask: NDArray[np.bool_] = upright[0, 0].numpy()
        return mask

    def _encode(self, picture: NDArray[np.uint8]) -> _Encoded:
        """The picture [H, W, 3] after the image encoder, from the cache where it is there."""
        key = (picture.shape, hashlib.blake2b(picture.tobytes(), digest_size=16).digest())
        if key not in self._encoded:
            device: torch.device = next(self.model.parameters()).device
            inputs = self.image_processor(picture, return_tensors="pt")
            pixels: Tensor = inputs["pixel_values"].to(device)
            height, width = picture.shape[:2]
            reshaped = inputs.get("reshaped_input_sizes")  # SAM keeps the aspect and pads; SAM 2 stretches to a square
            size = pixels.shape[-2:] if reshaped is None else reshaped[0]
            input_size = (int(size[0]), int(size[1]))
            self._encoded[key] = _Encoded(self.model.get_image_embeddings(pixels), (height, width), input_size)
        self._encoded.move_to_end(key)
        while len(self._encoded) > self.cached_photos:
            self._encoded.popitem(last=False)
        return self._encoded[key]
