"""What every format is made of: splats in the chosen light, and what is known of each concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.camera_paths.path import AppearanceSpec
from halonerf.data.formats.probability_maps import read_concepts, read_levels, render_path
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.lifting import render_known
from halonerf.loading import open_head
from halonerf.protocols import TrainableField
from halonerf.queries.session import QuerySession
from halonerf.queries.word_layers import WordLayers
from halonerf.rendering.appearance import appearance_code
from halonerf.rendering.surfels import open_splats
from halonerf.stages.export.names import folder_names, property_names
from halonerf.types import Splats


@dataclass(frozen=True)
class ExtraTexts:
    """What to look for besides the concepts of `localize`: texts, and the options of `QuerySession`."""

    texts: Sequence[str]
    segmenter: Mapping[str, Any]
    field: Mapping[str, Any]
    sky: str | None
    batch: int


class ExportContents:
    """A field, opened for export.

    Args:
        inputs: finished folders of `ingest`, `reconstruct` and `localize`, and those that words need.
        field: the fitted one, on the device where it is to be drawn. scene: as the field was fitted to it.
        head: config of the head that `localize` fitted.
        light: as `appearance_code` takes it. wanted: concepts; None: all. words: looked for besides.
    """

    def __init__(
        self,
        inputs: Mapping[str, Path],
        field: TrainableField,
        scene: Scene,
        head: Mapping[str, Any],
        light: AppearanceSpec,
        wanted: Sequence[str] | None,
        words: ExtraTexts,
    ) -> None:
        self.inputs, self.field, self.scene = dict(inputs), field, scene
        self.head_config, self.light, self.wanted, self.words = head, light, wanted, words
        self.known: list[str] = read_concepts(inputs["localize"])

    @cached_property
    def concepts(self) -> ExportedConcepts:
        """The concepts of `localize` that are exported, and the words."""
        head = open_head(self.head_config, self.inputs["localize"])
        names = choose_concepts(self.known, self.wanted)
        layers = WordLayers(head, self.known, [*names, *self.words.texts], self._open_session)
        return ExportedConcepts(layers.texts, *layers.elements, layers.columns)

    def _open_session(self) -> QuerySession:
        words, device = self.words, self._device
        return QuerySession(self.inputs, words.segmenter, words.field, self.head_config, words.sky, words.batch, device)

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
        drawn = read_levels(render_path(self.inputs["localize"], view))
        asked = [k for k, place in enumerate(found) if place is None]
        for k, place in enumerate(found):
            if place is not None:
                maps[k] = drawn[place]
        if asked:
            light = self.field.appearance(self.scene.names[view])
            said = (self.concepts.probability[:, asked], self.concepts.confidence[:, asked])
            shown, _ = render_known(self.field, camera.to(self._device), light, *said)
            maps[asked] = (shown * 255).round().byte().permute(2, 0, 1).numpy()
        return maps

    @cached_property
    def _drawn(self) -> tuple[Splats, Tensor]:
        opened = open_splats(self.field, self.scene.views, device=self._device)
        splats, rows = placed_splats(opened.splats(), self._device)
        if not len(splats):
            raise BadInput("expected a field with something in a place, got none.\nFit another: seed=1")
        colours = opened.splat_colours(appearance_code(self.light, self.field, self.scene, 0))
        return splats, colours.detach().cpu()[rows.cpu()]

    @property
    def _device(self) -> torch.device:
        return self.field.mean_appearance().device


@dataclass(frozen=True)
class ExportedConcepts:
    """P concepts. probability, confidence: [E, P] of the field's elements; unknown: both 0.

    found: of each concept, its place among those that `localize` drew, or None for a word that was asked besides.
    """

    names: list[str]
    probability: Tensor
    confidence: Tensor
    found: list[int | None]

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


def choose_concepts(known: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The wanted ones of the known concepts; all for None. Raises: BadInput for one that is not known."""
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise BadInput(
            f"expected export.concepts among {', '.join(known)}; got {', '.join(unknown)}.\n"
            f"Look for other words with: export.words=[{','.join(unknown)}]"
        )
    return list(known) if wanted is None else list(wanted)


def placed_splats(splats: Splats, device: torch.device | str = "cpu") -> tuple[Splats, Tensor]:
    """Those splats that have a place, and their rows [M] in what was given."""
    rows = splats.centres.isfinite().all(dim=1).nonzero()[:, 0]
    return splats[rows].to(device), rows
