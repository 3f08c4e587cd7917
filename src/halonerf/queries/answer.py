"""Options and results of text queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from halonerf.data.formats.probability_maps import write_maps
from halonerf.errors import BadInput
from halonerf.files import write_atomic
from halonerf.queries.connected_parts import ConnectedPart, PartOptions
from halonerf.thresholds import Decision


@dataclass(frozen=True)
class QueryOptions(PartOptions):
    """Options of a query, those of `conf/stages/query.yaml`.

    negatives: text prompts that lower the probability of the query where they fit better. relevancy: whether LERF's
    canonical phrases are negatives, too. threshold: probability from which an element belongs to a part; None: each
    text's own (`halonerf.thresholds`). view: name of the photo whose camera shows the maps; None: the photos that show
    most of the first text. views: number of cameras. size: px, long side of the maps; None: the working size.
    part_radius, min_elements, max_parts: see `PartOptions`.

    Raises: BadInput for a value out of range.
    """

    negatives: Sequence[str] = ()
    relevancy: bool = False
    threshold: float | None = None
    view: str | None = None
    views: int = 1
    size: int | None = 320

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.negatives, str):
            raise BadInput(f"expected a list of negatives, as query.negatives=[sky,tree], got '{self.negatives}'")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise BadInput(f"expected query.threshold in (0, 1], got {self.threshold}")
        if self.views < 1:
            raise BadInput(f"expected query.views >= 1, got {self.views}")
        if self.size is not None and self.size < 16:
            raise BadInput(f"expected query.size to be at least 16 px, got {self.size}")


@dataclass(frozen=True)
class RenderedMap:
    """Probability and confidence rendered in one camera, [H, W, Q] each in [0, 1]. view: its index in the scene."""

    view: int
    photo: str
    probability: Tensor
    confidence: Tensor

    @property
    def stem(self) -> str:
        """Name of the map's files, without ending."""
        return f"{self.view:05d}"

    def write(self, folder: Path) -> None:
        """Write `<view>.npz`: `probability` uint8 [Q, H, W] (255 = certain), `confidence` float16 [Q, H, W]."""
        maps = (part.permute(2, 0, 1).numpy() for part in (self.probability, self.confidence))
        write_maps(folder / f"{self.stem}.npz", next(maps), confidence=next(maps))


@dataclass(frozen=True)
class QueryAnswer:
    """The result of a query with Q texts.

    texts: normalised. probability, confidence: [E, Q], of the field's elements; confidence in fully opaque pixels of
    the photos that were lifted, 0 where nothing is known. maps: rendered in cameras, the best camera first. parts: of
    each text. decisions: its threshold, and whether its parts are no more than the best guess. seconds: see
    `halonerf.queries.session.QuerySession.query`. notes: warnings about the result.
    """

    texts: list[str]
    probability: Tensor
    confidence: Tensor
    maps: list[RenderedMap]
    parts: list[list[ConnectedPart]]
    decisions: list[Decision]
    seconds: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def known(self) -> list[float]:
        """Of each text, the share of the elements of which something is known, in [0, 1]."""
        return [float(column) for column in (self.confidence > 0).float().mean(dim=0)]

    def write_elements(self, path: Path) -> None:
        """Write `probability` and `confidence`, float32 [E, Q], as safetensors."""
        tensors = {"probability": self.probability, "confidence": self.confidence}
        write_atomic(path, save({key: value.contiguous() for key, value in tensors.items()}))


def rounded_seconds(seconds: dict[str, float]) -> dict[str, float]:
    """Durations rounded to a tenth of a millisecond."""
    return {name: round(value, 4) for name, value in seconds.items()}
