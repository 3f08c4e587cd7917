"""The work of asking how far each photo's maps agree with the other photos', in steps that a killed run goes on from.

agreement/sums.safetensors   what the photos added so far say of each element; gone at the end
agreement/<view>.json        of each concept, `halonerf.stages.choice_concepts.agreement`; null where nobody can say
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from halonerf.artifacts import write_json
from halonerf.data.scenes import Scene
from halonerf.protocols import RadianceField
from halonerf.stages.choice_agreement import Consensus, photos_in, shrunken
from halonerf.stages.choice_concepts import agreement
from halonerf.types import View

TOGETHER = 16  # photos added between two notes of the sums, 20 MB for 200,000 elements and 12 concepts

Maps = tuple[Tensor, Tensor]  # probability [P, H, W] in [0, 1], and where it is known, float [P, H, W]


class Work(NamedTuple):
    """What is done to some views: "photos" (segmented and measured), "sums" (lifted and added), "agree" (compared)."""

    kind: str
    views: tuple[int, ...]


class Agreeing:
    """Two passes over the photos: their sums, then each against the sums without its own.

    Args:
        folder: of the stage.
        scene: with the cameras that the field was fitted to.
        maps: a view's maps; None where nothing is known in it.
        concepts: how many.
        size: px, the long side at which maps are compared.
    """

    def __init__(
        self,
        folder: Path,
        scene: Scene,
        field: RadianceField,
        maps: Callable[[int], Maps | None],
        concepts: int,
        size: int,
    ) -> None:
        self.folder = folder / "agreement"
        self.folder.mkdir(exist_ok=True)
        self.scene, self.field, self.maps, self.concepts, self.size = scene, field, maps, concepts, size
        self._consensus: Consensus | None = None

    def items(self) -> list[Work]:
        """All sums come before the first comparison."""
        views = range(len(self.scene))
        groups = [tuple(views[start : start + TOGETHER]) for start in range(0, len(views), TOGETHER)]
        return [Work(kind, group) for kind in ("sums", "agree") for group in groups]

    def done(self, work: Work) -> bool:
        if work.kind == "agree":
            return all(self._path(view).is_file() for view in work.views)
        return photos_in(self._sums) > work.views[-1] or all(self._path(i).is_file() for i in range(len(self.scene)))

    def do(self, work: Work) -> None:
        consensus = self._opened()
        for view in work.views:
            given = self._given(view)
            if work.kind == "sums":
                consensus.add(self.field, *given) if given else consensus.skip()
            elif given is None:
                write_json(self._path(view), [None] * self.concepts)
            else:
                others, far = consensus.others(self.field, *given)
                write_json(self._path(view), agreement(given[1], others, far * given[2], given[2]))
        if work.kind == "sums":
            consensus.save(self._sums)

    def values(self) -> list[list[float | None]]:
        """Of every view, one value a concept. Called when all is done: the sums are of no use any more."""
        self._sums.unlink(missing_ok=True)
        return [json.loads(self._path(view).read_text()) for view in range(len(self.scene))]

    @property
    def _sums(self) -> Path:
        return self.folder / "sums.safetensors"

    def _path(self, view: int) -> Path:
        return self.folder / f"{view:05d}.json"

    def _opened(self) -> Consensus:
        if self._consensus is None:
            self._consensus = Consensus(self.field.elements, self.concepts)
            if self._sums.is_file():
                self._consensus.load(self._sums)
        return self._consensus

    def _given(self, view: int) -> tuple[View, Tensor, Tensor] | None:
        found = self.maps(view)
        return None if found is None else shrunken(self.scene.views[view], *found, self.size)
