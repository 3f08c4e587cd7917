"""Gaussians as few bytes, for a page that a browser opens: which are kept, and how they are rounded.

place      uint16 [N, 3]   centre, drawn together beyond one world unit so that near ones keep their precision
size       uint8 [N, 3]    standard deviations, evenly spaced in their logarithm between `sizes`
turn       int8 [N, 4]     unit quaternion wxyz times 127
opacity    uint8 [N]
colour/L   uint8 [N, 3]    in light number L
word/W     uint8 [N]       probability of word number W
sure/W     uint8 [N]       how much the photos said of it: 0 is unknown, 128 as much as of the middle one
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halonerf.types import Splats

REACH = 2.0  # world units of a drawn-together place at most
SMALLEST = 1e-5  # world units; smaller standard deviations are drawn like this one


class Packed:
    """Named arrays in one stretch of bytes, little end first."""

    def __init__(self) -> None:
        self.table: dict[str, dict[str, Any]] = {}
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Append an array; the next one starts at a multiple of four bytes."""
        raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
        self.table[name] = {"type": values.dtype.name, "shape": list(values.shape), "start": self._size}
        padded = raw + bytes(-len(raw) % 4)
        self._parts.append(padded)
        self._size += len(padded)

    def text(self) -> str:
        """All arrays in base64."""
        return base64.b64encode(b"".join(self._parts)).decode("ascii")


def pack_shapes(packed: Packed, splats: Splats, kept: Tensor) -> dict[str, Any]:
    """Add places, sizes, turns and opacities of the splats `kept`; what reading them needs to know."""
    place = (contract(splats.centres[kept].double()) / REACH + 1) / 2
    packed.add("place", (place * 65535).round().clamp(0, 65535).numpy().astype(np.uint16))
    scales = splats.scales[kept].double().clamp(min=SMALLEST)
    largest = max(float(scales.max()) if len(kept) else SMALLEST, 2 * SMALLEST)
    share = (scales / SMALLEST).log() / np.log(largest / SMALLEST)
    packed.add("size", to_bytes(share))
    turn = torch.nn.functional.normalize(splats.rotations[kept].double(), dim=1)
    packed.add("turn", (turn * 127).round().numpy().astype(np.int8))
    packed.add("opacity", to_bytes(splats.opacities[kept]))
    return {"reach": REACH, "sizes": [SMALLEST, largest]}


def pack_word(packed: Packed, number: int, probability: Tensor, confidence: Tensor, middle: float) -> None:
    """Add a word of every kept splat, [N] each. middle: the confidence that is half sure."""
    known = confidence > 0
    packed.add(f"word/{number}", to_bytes(probability * known))
    sure = (255 * confidence / (confidence + max(middle, 1e-9))).round().clamp(1, 255) * known
    packed.add(f"sure/{number}", sure.numpy().astype(np.uint8))


def contract(places: Tensor) -> Tensor:
    """Places [N, 3] with all that is beyond one world unit brought within two (mip-NeRF 360, eq. 10)."""
    distance = places.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return torch.where(distance <= 1, places, (2 - 1 / distance) * places / distance)


def to_bytes(values: Tensor) -> NDArray[np.uint8]:
    """[0, 1] in 255 steps."""
    return (values.detach().cpu().clamp(0, 1) * 255).round().numpy().astype(np.uint8)
