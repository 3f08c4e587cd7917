"""What a query is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from halonerf.data.formats.probability_maps import write_maps
from halonerf.errors import BadInput
from halonerf.files import write_atomic
from halonerf.queries.connected_parts import ConnectedPart, PartOptions


@dataclass(frozen=True)
class QueryOptions(PartOptions):
    """How something is looked for.

    negatives: what every word has to be more like than. relevancy: whether LERF's canonical phrases are negatives, too.
    threshold: probability from which an element belongs to a part. view: name of the photo whose camera shows the maps;
    None: those that show most of the first text. views: how many cameras. size: px, long side of the maps; None: the
    working size. part_radius, min_elements, max_parts: see `PartOptions`.
    """

    negatives: Sequence[str] = ()
    relevancy: bool = False
    threshold: float = 0.5
    view: str | None = None
    views: int = 1
    size: int | None = 320

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.negatives, str):
            raise BadInput(f"expected a list of negatives, as query.negatives=[sky,tree], got '{self.negatives}'")
        if not 0 < self.threshold <= 1:
            raise BadInput(f"expected query.threshold in (0, 1], got {self.threshold}")
        if self.views < 1:
            raise BadInput(f"expected query.views >= 1, got {self.views}")
        if self.size is not None and self.size < 16:
            raise BadInput(f"expected query.size to be at least 16 px, got {self.size}")


@dataclass(frozen=True)
class RenderedMap:
    """One camera's maps: probability and confidence [H, W, Q] in [0, 1]. view: number in the scene."""

    view: int
    photo: str
    probability: Tensor
    confidence: Tensor

    @property
    def stem(self) -> str:
        """Of its files' names."""
        return f"{self.view:05d}"

    def write(self, folder: Path) -> None:
        """`<view>.npz`: `probability` uint8 [Q, H, W] (255 = certain), `confidence` float16 [Q, H, W]."""
        maps = (part.permute(2, 0, 1).numpy() for part in (self.probability, self.confidence))
        write_maps(folder / f"{self.stem}.npz", next(maps), confidence=next(maps))


@dataclass(frozen=True)
class QueryAnswer:
    """Where things are.

    texts: what was asked, Q of them. probability, confidence: [E, Q], of the field's elements; confidence in fully
    opaque pixels of the indexed photos, 0 where nothing is known. maps: what cameras see of that, the best first.
    parts: of each text. seconds: see `halonerf.queries.session.QuerySession.query`. notes: what whoever asked should
    know.
    """

    texts: list[str]
    probability: Tensor
    confidence: Tensor
    maps: list[RenderedMap]
    parts: list[list[ConnectedPart]]
    seconds: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def known(self) -> list[float]:
        """Of each text, the share of the elements of which something is known."""
        return [float(column) for column in (self.confidence > 0).float().mean(dim=0)]

    def write_elements(self, path: Path) -> None:
        """`probability` and `confidence`, float32 [E, Q], as safetensors."""
        tensors = {"probability": self.probability, "confidence": self.confidence}
        write_atomic(path, save({key: value.contiguous() for key, value in tensors.items()}))


def rounded_seconds(seconds: dict[str, float]) -> dict[str, Any]:
    """To a tenth of a millisecond."""
    return {name: round(value, 4) for name, value in seconds.items()}
