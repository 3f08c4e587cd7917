"""What is noted of each photo once it is segmented, for the terms of its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from halonerf.data.scenes import Scene
from halonerf.protocols import TrainableField
from halonerf.stages.asking import Question
from halonerf.stages.building import building_part
from halonerf.stages.choice import photo_measures
from halonerf.stages.choice_building import geometry_score, occlusion_score
from halonerf.stages.choice_concepts import certainty


@dataclass(frozen=True)
class Measures:
    """The same for every photo.

    field: needed for the term "occlusion" alone, with the scene's cameras as it was fitted to them.
    """

    terms: tuple[str, ...]
    scene: Scene
    question: Question
    field: TrainableField | None

    def of(self, view: int, probability: np.ndarray, known: np.ndarray, building: np.ndarray | None) -> dict[str, Any]:
        """JSON types: `photo_measures`, `known` (a concept), and a value of each term that needs the pixels.

        Args:
            probability: [P, H, W] in [0, 1]. known: bool [P, H, W]. building: [H, W], its probability, if asked for.
        """
        valid = self.scene.valid(view).numpy()
        pixels = self.scene.observations(view)[0].numpy().reshape(-1, 2)
        measures: dict[str, Any] = {
            "known": known.any(axis=(1, 2)).tolist(),
            **photo_measures(self.scene.photo(view).numpy(), valid, pixels),
        }
        if "certainty" in self.terms:
            measures["certainty"] = certainty(probability, known)
        part = None if building is None else building_part(building * valid)
        if part is not None and "geometry" in self.terms:
            measures["geometry"] = geometry_score(part)
        if part is not None and "occlusion" in self.terms:
            measures["occlusion"] = occlusion_score(part, self._shown(view), valid)
        return measures

    @torch.no_grad()
    def _shown(self, view: int) -> np.ndarray:
        """Where the building is in the field's picture of a view, in the light of its photo; bool [H, W]."""
        assert self.field is not None
        name, code = self.scene.names[view], self.field.appearance(self.scene.names[view])
        colour = self.field.render(self.scene.views[view].to(code.device), code).colour
        return self.question.building_mask(colour.clamp(0, 1).permute(2, 0, 1), name)
