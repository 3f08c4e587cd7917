"""What an export says of concepts: those that `localize` found, and any other words besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.stages.export_names import folder_names, property_names
from halonerf.types import Splats


@dataclass(frozen=True)
class Concepts:
    """P concepts. probability, confidence: [E, P] of the field's elements; unknown: both 0.

    found: of each concept, its place among those that `localize` drew, or None for a word that was asked besides.
    """

    names: list[str]
    probability: Tensor
    confidence: Tensor
    found: list[int | None]

    @classmethod
    def chosen(
        cls, known: Sequence[str], probability: Tensor, confidence: Tensor, wanted: Sequence[str] | None
    ) -> Concepts:
        """Those of the known that are wanted, or all. Raises: BadInput for one that is not known."""
        names = list(known) if wanted is None else list(wanted)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise BadInput(
                f"expected export.concepts among {', '.join(known)}; got {', '.join(unknown)}.\n"
                f"Look for other words with: export.words=[{','.join(unknown)}]"
            )
        places = [list(known).index(name) for name in names]
        return cls(names, probability[:, places].cpu(), confidence[:, places].cpu(), list(places))

    def and_words(self, names: Sequence[str], probability: Tensor, confidence: Tensor) -> Concepts:
        """With words [E, Q] that are not among the concepts yet."""
        new = [i for i, name in enumerate(names) if name not in self.names]
        return Concepts(
            [*self.names, *(names[i] for i in new)],
            torch.cat([self.probability, probability[:, new].cpu()], dim=1),
            torch.cat([self.confidence, confidence[:, new].cpu()], dim=1),
            [*self.found, *(None for _ in new)],
        )

    @cached_property
    def folders(self) -> list[str]:
        """A file name for each."""
        return folder_names(self.names)

    @cached_property
    def properties(self) -> list[str]:
        """An ASCII name for each."""
        return property_names(self.names)

    @cached_property
    def colours(self) -> Tensor:
        """A colour for each, [P, 3] in [0, 1]; they repeat after twenty."""
        from matplotlib import colormaps

        table = np.asarray(colormaps["tab20"](np.arange(20)))[:, :3]
        strong_first = np.concatenate([table[0::2], table[1::2]])
        return torch.from_numpy(strong_first[np.arange(len(self.names)) % 20]).float().reshape(-1, 3)

    def of(self, splats: Splats) -> tuple[Tensor, Tensor]:
        """Probability and confidence of each splat, [N, P]."""
        rows = splats.element.cpu()
        return self.probability[rows], self.confidence[rows]

    def paint(self, splats: Splats, colours: Tensor, threshold: float) -> Tensor:
        """Splats in the colour of a concept, [N, 3]; as grey as colours [N, 3] where none reaches the threshold.

        Where several do, the smallest shows: a window in a tower, not the tower alone.
        """
        grey = (0.6 * colours.mean(dim=1, keepdim=True) + 0.1).expand(-1, 3)
        if not self.names:
            return grey
        lit = self.of(splats)[0] >= threshold
        smallest = torch.where(lit, lit.sum(dim=0), len(lit) + 1).argmin(dim=1)
        return torch.where(lit.any(dim=1, keepdim=True), self.colours[smallest], grey)

    def describe(self) -> list[dict[str, Any]]:
        """For JSON: how each is called in files, and its colour, 0 to 255."""
        return [
            {"name": name, "file": folder, "property": prop, "colour": [round(255 * c) for c in colour]}
            for name, folder, prop, colour in zip(
                self.names, self.folders, self.properties, self.colours.tolist(), strict=True
            )
        ]
