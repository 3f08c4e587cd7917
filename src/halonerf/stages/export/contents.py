"""What every format is written from: scene, splats with colours, and probability and confidence of each concept."""

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
from halonerf.stages.export.frame import ExportFrame
from halonerf.stages.export.names import folder_names, property_names
from halonerf.thresholds import decide
from halonerf.types import Splats
from halonerf.visualization.palette import Colour, concept_colours
from halonerf.visualization.pictures import to_uint8


@dataclass(frozen=True)
class ExtraTexts:
    """Text prompts that are exported besides the concepts of `localize`, and options of `QuerySession` for them."""

    texts: Sequence[str]
    segmenter: Mapping[str, Any]
    field: Mapping[str, Any]
    sky: str | None
    batch: int


@dataclass(frozen=True)
class ExportOptions:
    """threshold: probability from which something counts as a concept; None: each concept's own.

    opacity: from which a splat is a point. voxels: of the mesh, along its longest side. memory_mb: MB that these may
    take.
    """

    threshold: float | None = None
    opacity: float = 0.3
    voxels: int = 256
    memory_mb: float = 2000.0


class ExportContents:
    """An opened scene for the writers of all formats; each quantity is computed when it is first used.

    Args:
        inputs: finished folders of `ingest`, `reconstruct` and `localize`, and those that extra texts need.
        field: the fitted field, on the device where it is rendered.
        scene: with the cameras that the field was fitted to.
        frame: of all coordinates in the files.
        head: config of the head that `localize` fitted.
        light: of the splats' colours, as `appearance_code` takes it. light_name: its name in the files.
        wanted: concepts to export; None: all.
        words: extra text prompts.
    """

    def __init__(
        self,
        inputs: Mapping[str, Path],
        field: TrainableField,
        scene: Scene,
        frame: ExportFrame,
        head: Mapping[str, Any],
        light: AppearanceSpec,
        light_name: str,
        wanted: Sequence[str] | None,
        words: ExtraTexts,
        options: ExportOptions,
    ) -> None:
        self.inputs, self.field, self.scene, self.frame = dict(inputs), field, scene, frame
        self.head_config, self.light, self.light_name = head, light, light_name
        self.wanted, self.words, self.options = wanted, words, options
        self.known: list[str] = read_concepts(inputs["localize"])

    @cached_property
    def concepts(self) -> ExportedConcepts:
        """The wanted concepts of `localize`, then the extra texts."""
        head = open_head(self.head_config, self.inputs["localize"])
        names = choose_concepts(self.known, self.wanted)
        layers = WordLayers(head, self.known, [*names, *self.words.texts], self._open_session)
        return ExportedConcepts(layers.texts, *layers.elements, layers.columns, self.known)

    def _open_session(self) -> QuerySession:
        words = self.words
        return QuerySession(
            self.inputs, words.segmenter, words.field, self.head_config, words.sky, words.batch, self.device
        )

    @cached_property
    def thresholds(self) -> list[float]:
        """Probability from which something counts as each concept: as given, or by `halonerf.thresholds`."""
        given, concepts = self.options.threshold, self.concepts
        if given is not None:
            return [given] * len(concepts.names)
        columns = zip(concepts.probability.T.cpu().numpy(), concepts.confidence.T.cpu().numpy(), strict=True)
        return [decide(probability, confidence).threshold for probability, confidence in columns]

    @property
    def splats(self) -> Splats:
        """The splats with finite centres, world frame."""
        return self._coloured_splats[0]

    @property
    def colours(self) -> Tensor:
        """Colours of the splats in the chosen light, [N, 3] in [0, 1]."""
        return self._coloured_splats[1]

    @property
    def comments(self) -> list[str]:
        """Lines for the headers of files."""
        return [f"{self.scene.name}, exported by HaloNeRF", f"frame {self.frame.name}, light {self.light_name}"]

    @property
    def device(self) -> torch.device:
        """Where the field is."""
        return self.field.mean_appearance().device

    @torch.no_grad()
    def maps(self, view: int) -> np.ndarray:
        """Probability of each concept in the pixels of a photo, uint8 [P, H, W], 255 for 1."""
        camera, positions = self.scene.views[view], self.concepts.positions
        maps = np.zeros((len(positions), camera.height, camera.width), np.uint8)
        rendered = read_levels(render_path(self.inputs["localize"], view))
        extra = [k for k, position in enumerate(positions) if position is None]
        for k, position in enumerate(positions):
            if position is not None:
                maps[k] = rendered[position]
        if extra:
            code = self.field.appearance(self.scene.names[view])
            values = (self.concepts.probability[:, extra], self.concepts.confidence[:, extra])
            probability, _ = render_known(self.field, camera.to(self.device), code, *values)
            maps[extra] = to_uint8(probability.permute(2, 0, 1))
        return maps

    @cached_property
    def _coloured_splats(self) -> tuple[Splats, Tensor]:
        opened = open_splats(self.field, self.scene.views, device=self.device)
        splats, rows = finite_splats(opened.splats(), self.device)
        if not len(splats):
            raise BadInput("expected a field with elements at finite positions, got none.\nFit another: seed=1")
        colours = opened.splat_colours(appearance_code(self.light, self.field, self.scene, 0))
        return splats, colours.detach().cpu()[rows.cpu()]


def choose_concepts(known: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The wanted ones of the known concepts, in the order of `wanted`; all for None.

    Raises: BadInput for one that is not known.
    """
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise BadInput(
            f"expected export.concepts among {', '.join(known)}; got {', '.join(unknown)}.\n"
            f"Export other texts with: export.words=[{','.join(unknown)}]"
        )
    return list(known) if wanted is None else list(wanted)


@dataclass(frozen=True)
class ExportedConcepts:
    """P concepts and extra texts in all elements of the field.

    probability, confidence: [E, P]; both 0 where unknown. positions: of each, in the scene's list of concepts; None
    for an extra text. known: that list.
    """

    names: list[str]
    probability: Tensor
    confidence: Tensor
    positions: list[int | None]
    known: list[str]

    @cached_property
    def folders(self) -> list[str]:
        """A file name for each."""
        return folder_names(self.names)

    @cached_property
    def properties(self) -> list[str]:
        """An ASCII name for each."""
        return property_names(self.names)

    @cached_property
    def colours(self) -> list[Colour]:
        """The colour of each, by its position in the scene's list of concepts."""
        colours = concept_colours(self.names, self.known)
        return [colours[name] for name in self.names]

    def of_splats(self, splats: Splats) -> tuple[Tensor, Tensor]:
        """Probability and confidence of each splat, [N, P] each."""
        rows = splats.element.cpu()
        return self.probability[rows], self.confidence[rows]

    def paint(self, splats: Splats, colours: Tensor, thresholds: float | Sequence[float]) -> Tensor:
        """Colour each splat by the rarest concept that reaches its threshold there, [N, 3] in [0, 1].

        A splat with several concepts shows the one with the fewest splats: a window in a tower, not the tower. Splats
        of no concept are grey, by the brightness of `colours`, [N, 3] in [0, 1].
        """
        grey = (0.6 * colours.mean(dim=1, keepdim=True) + 0.1).expand(-1, 3)
        if not self.names:
            return grey
        inside = self.of_splats(splats)[0] >= torch.as_tensor(thresholds)
        rarest = torch.where(inside, inside.sum(dim=0), len(inside) + 1).argmin(dim=1)
        table = torch.tensor(self.colours) / 255
        return torch.where(inside.any(dim=1, keepdim=True), table[rarest], grey)

    def describe(self) -> list[dict[str, Any]]:
        """For JSON: name, name in files, name of properties, and colour (0 to 255) of each."""
        return [
            {"name": name, "file": folder, "property": prop, "colour": list(colour)}
            for name, folder, prop, colour in zip(self.names, self.folders, self.properties, self.colours, strict=True)
        ]


def finite_splats(splats: Splats, device: torch.device | str = "cpu") -> tuple[Splats, Tensor]:
    """The splats with finite centres, on `device`, and their rows [M] in `splats`."""
    rows = splats.centres.isfinite().all(dim=1).nonzero()[:, 0]
    return splats[rows].to(device), rows
