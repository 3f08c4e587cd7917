"""What every format is made of: splats in the chosen light, and what is known of each concept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.data.scenes import Scene
from halonerf.errors import BadInput
from halonerf.paths import Light
from halonerf.protocols import SemanticHead, TrainableField
from halonerf.stages.build import build
from halonerf.stages.export_concepts import Concepts
from halonerf.stages.export_splats import placed_splats
from halonerf.stages.lights import light_of
from halonerf.stages.query_scene import WARM, QueryScene, show_elements
from halonerf.surfels import open_splats
from halonerf.types import Splats


@dataclass(frozen=True)
class Words:
    """What to look for besides the concepts of `localize`: texts, and the options of `QueryScene`."""

    texts: Sequence[str]
    segmenter: Mapping[str, Any]
    field: Mapping[str, Any]
    sky: str | None
    batch: int


class Material:
    """A field, opened for export.

    Args:
        inputs: finished folders of `ingest`, `reconstruct` and `localize`, and those that words need.
        field: the fitted one, on the device where it is to be drawn. scene: as the field was fitted to it.
        head: config of the head that `localize` fitted.
        light: as `light_of` takes it. wanted: concepts; None: all. words: looked for besides.
    """

    def __init__(
        self,
        inputs: Mapping[str, Path],
        field: TrainableField,
        scene: Scene,
        head: Mapping[str, Any],
        light: Light,
        wanted: Sequence[str] | None,
        words: Words,
    ) -> None:
        self.inputs, self.field, self.scene = dict(inputs), field, scene
        self.head_config, self.light, self.wanted, self.words = head, light, wanted, words
        self.known: list[str] = json.loads((inputs["localize"] / "concepts.json").read_text(encoding="utf-8"))

    @cached_property
    def concepts(self) -> Concepts:
        """Those of `localize`, and the words."""
        head: SemanticHead = build(self.head_config)
        head.load(self.inputs["localize"] / "head.safetensors")
        found = Concepts.chosen(self.known, head.channels(), head.confidence(), self.wanted)
        if not self.words.texts:
            return found
        words = self.words
        asked = QueryScene(
            self.inputs, words.segmenter, words.field, self.head_config, words.sky, words.batch, self._device
        )
        answer = asked.query(words.texts, size=WARM)
        return found.and_words(answer.texts, answer.probability, answer.confidence)

    @property
    def splats(self) -> Splats:
        """Those that have a place, world frame."""
        return self._drawn[0]

    @property
    def colours(self) -> Tensor:
        """Of the splats in the chosen light, [N, 3] in [0, 1]."""
        return self._drawn[1]

    @torch.no_grad()
    def maps(self, view: int) -> np.ndarray:
        """How likely each concept is in each pixel of a photo, uint8 [P, H, W], 255 being certain."""
        camera, found = self.scene.views[view], self.concepts.found
        maps = np.zeros((len(found), camera.height, camera.width), np.uint8)
        with np.load(self.inputs["localize"] / "renders" / f"{view:05d}.npz", allow_pickle=False) as stored:
            drawn = stored["probability"]
        asked = [k for k, place in enumerate(found) if place is None]
        for k, place in enumerate(found):
            if place is not None:
                maps[k] = drawn[place]
        if asked:
            light = self.field.appearance(self.scene.names[view])
            said = (self.concepts.probability[:, asked], self.concepts.confidence[:, asked])
            shown, _ = show_elements(self.field, camera.to(self._device), light, *said)
            maps[asked] = (shown * 255).round().byte().permute(2, 0, 1).numpy()
        return maps

    @cached_property
    def _drawn(self) -> tuple[Splats, Tensor]:
        opened = open_splats(self.field, self.scene.views, device=self._device)
        splats, rows = placed_splats(opened.splats(), self._device)
        if not len(splats):
            raise BadInput("expected a field with something in a place, got none.\nFit another: seed=1")
        colours = opened.splat_colours(light_of(self.light, self.field, self.scene, 0))
        return splats, colours.detach().cpu()[rows.cpu()]

    @property
    def _device(self) -> torch.device:
        return self.field.mean_appearance().device
