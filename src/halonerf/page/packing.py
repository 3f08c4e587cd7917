"""Quantised Gaussians as one block of bytes, for a page that a browser opens.

centre        uint16 [N, 3]   contracted beyond one world unit so that near ones keep their precision
size          uint8 [N, 3]    standard deviations, evenly spaced in their logarithm between `sizes`
rotation      int8 [N, 4]     unit quaternion wxyz times 127
opacity       uint8 [N]
colour/L      uint8 [N, 3]    in light number L
probability/W uint8 [N]       of word number W
confidence/W  uint8 [N]       relative to the median of all that is known, which is 128; 0 is unknown
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halonerf.types import Splats
from halonerf.visualization.pictures import to_uint8

CONTRACTED_RADIUS = 2.0  # world units: all contracted centres lie within it
MIN_SCALE = 1e-5  # world units; smaller standard deviations are rounded up to it


class PackedArrays:
    """Named arrays in one block of bytes, little endian. table: type, shape and offset of each."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Append an array; each starts at a multiple of four bytes."""
        raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
        self.table[name] = {"type": values.dtype.name, "shape": list(values.shape), "start": self._size}
        padded = raw + bytes(-len(raw) % 4)
        self._chunks.append(padded)
        self._size += len(padded)

    def to_bytes(self) -> bytes:
        """The block of bytes."""
        return b"".join(self._chunks)

    def to_base64(self) -> str:
        """The block of bytes in base64."""
        return base64.b64encode(self.to_bytes()).decode("ascii")


def pack_splats(packed: PackedArrays, splats: Splats, kept: Tensor) -> dict[str, Any]:
    """Add centres, scales, rotations and opacities of the splats `kept`, indices [K].

    Returns: `reach` and `sizes`, world units, which decoding needs.
    """
    centre = (contract(splats.centres[kept].double()) / CONTRACTED_RADIUS + 1) / 2
    packed.add("centre", (centre * 65535).round().clamp(0, 65535).numpy().astype(np.uint16))
    scales = splats.scales[kept].double().clamp(min=MIN_SCALE)
    max_scale = max(float(scales.max()) if len(kept) else MIN_SCALE, 2 * MIN_SCALE)
    packed.add("size", to_uint8((scales / MIN_SCALE).log() / np.log(max_scale / MIN_SCALE)))
    rotation = torch.nn.functional.normalize(splats.rotations[kept].double(), dim=1)
    packed.add("rotation", (rotation * 127).round().numpy().astype(np.int8))
    packed.add("opacity", to_uint8(splats.opacities[kept]))
    return {"reach": CONTRACTED_RADIUS, "sizes": [MIN_SCALE, max_scale]}


def word_values(probability: Tensor, confidence: Tensor, median: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Probability and confidence [K] of a word for the kept splats, uint8 [K] each.

    median: the confidence that becomes 1/2.
    """
    known = confidence > 0
    relative = (255 * confidence / (confidence + max(median, 1e-9))).round().clamp(1, 255) * known
    return to_uint8(probability * known), relative.numpy().astype(np.uint8)


def median_confidence(confidences: Iterable[Tensor]) -> float:
    """Median of all confidences above 0 of several words, [E] each; 1 where there is none."""
    known = [confidence[confidence > 0].double().numpy() for confidence in confidences]
    values = np.concatenate(known) if known else np.zeros(0)
    return float(np.median(values)) if len(values) else 1.0


def contract(centres: Tensor) -> Tensor:
    """Points [N, 3] with those beyond one world unit moved to within two (mip-NeRF 360, eq. 10)."""
    distance = centres.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return torch.where(distance <= 1, centres, (2 - 1 / distance) * centres / distance)
