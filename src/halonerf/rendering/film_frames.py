"""Frames of a film along a camera path: the field with words highlighted, or two versions side by side or wiped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix, Sample
from halonerf.data.scene.scene import Scene
from halonerf.protocols import TrainableField
from halonerf.rendering.appearance import appearance_code
from halonerf.rendering.tiles import render_frame
from halonerf.types import View
from halonerf.visualization.overlays import caption, highlight, legend
from halonerf.visualization.palette import Colour
from halonerf.visualization.pictures import to_uint8

EDGE_PX = 2  # width of the line between the two halves of a wipe
MIN_TITLE_SHARE = 0.25  # of a mix: appearances with less are left out of its title

# View, appearance code [A] and Q texts to the texts' probabilities [H, W, Q] in [0, 1].
ProbabilityMaps = Callable[[View, Tensor, Sequence[str]], Tensor]


class FrameRenderer:
    """Renders samples of a camera path as film frames.

    Args:
        maps: computes the probabilities of words; None: no words are highlighted.
        colours: of each word (`halonerf.visualization.palette.concept_colours`).
        thresholds: of each word, where a sample has none.
        memory_mb: MB that rendering a part of a frame may take.
        compare: None, "side" (two pictures side by side) or "wipe" (a line that moves across and back).
        against: appearances of the second picture; None: the same appearances without words.
        duration: s, of the film, at whose end the line of a wipe is back at its start.
        titles: of appearances whose names a comparison does not show.
    """

    def __init__(
        self,
        field: TrainableField,
        scene: Scene,
        maps: ProbabilityMaps | None,
        colours: Mapping[str, Colour],
        thresholds: Mapping[str, float],
        memory_mb: float,
        compare: str | None = None,
        against: AppearanceMix | None = None,
        duration: float = 0.0,
        titles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.field, self.scene, self.maps, self.colours, self.memory_mb = field, scene, maps, colours, memory_mb
        self.thresholds = thresholds
        self.compare, self.against, self.duration, self.titles = compare, against, duration, titles
        self._codes: dict[Any, Tensor] = {}

    @torch.no_grad()
    def render(self, sample: Sample, view: View, own: int = 0) -> np.ndarray:
        """One frame, uint8 [H, W, 3], [H, 2 W, 3] side by side. own: the photo whose appearance "own" is."""
        words = [word for word, opacity in sample.words.items() if opacity > 0]
        code = self._code(sample.light, own)
        plain = self._colour(view, code)
        highlighted = self._highlight(plain, sample, view, code, words)
        if self.compare is None:
            return self._with_legend(highlighted, sample)
        if self.against is None:
            pictures, titles = [to_uint8(plain), to_uint8(highlighted)], ["without words", "with words"]
        else:
            code = self._code(self.against, own)
            other = self._highlight(self._colour(view, code), sample, view, code, words)
            pictures = [to_uint8(highlighted), to_uint8(other)]
            titles = [self._title(sample.light), self._title(self.against)]
        if self.compare == "wipe":  # it starts with the first picture; the second enters from the left
            joined = wipe(pictures[1], pictures[0], sample.seconds / max(self.duration, 1e-9))
            return caption(self._with_legend(joined, sample), *titles[::-1])
        return caption(self._with_legend(np.concatenate(pictures, axis=1), sample), *titles)

    def _with_legend(self, picture: np.ndarray, sample: Sample) -> np.ndarray:
        words = {word: (self.colours[word], opacity) for word, opacity in sample.words.items()}
        return legend(picture if picture.dtype == np.uint8 else to_uint8(picture), words)

    def _colour(self, view: View, code: Tensor) -> np.ndarray:
        return render_frame(self.field, view, code, memory_mb=self.memory_mb).colour.numpy()

    def _highlight(self, colour: np.ndarray, sample: Sample, view: View, code: Tensor, words: list[str]) -> np.ndarray:
        if not words or self.maps is None:
            return colour
        opacity, colours = [sample.words[word] for word in words], [self.colours[word] for word in words]
        maps = self.maps(view, code, words).numpy()
        thresholds = [sample.threshold or self.thresholds[word] for word in words]
        return highlight(colour, maps, opacity, thresholds, colours)

    def _title(self, mix: AppearanceMix) -> str:
        """The names of the appearances that make up most of a mix, the largest first."""
        names = {
            name if isinstance(name, str) else "a code": share
            for name, share in mix.items()
            if share >= MIN_TITLE_SHARE
        }
        return " + ".join(self.titles.get(name, name) for name in sorted(names, key=lambda name: -names[name]))

    def _code(self, mix: Mapping[Any, float], own: int) -> Tensor:
        """The code [A] of a mix; the code of each of its appearances is computed once."""
        for spec in mix:
            if spec not in self._codes:
                self._codes[spec] = appearance_code(spec, self.field, self.scene, own).detach()
        return torch.stack([weight * self._codes[spec] for spec, weight in mix.items()]).sum(dim=0)


def wipe(first: np.ndarray, second: np.ndarray, time: float) -> np.ndarray:
    """`first` left of a white line, `second` right of it, uint8 [H, W, 3].

    time: in [0, 1]; the line moves from the left edge to the right one and back.
    """
    width = first.shape[1]
    edge = round(width * (0.5 - 0.5 * math.cos(math.tau * time)))
    joined = np.concatenate([first[:, :edge], second[:, edge:]], axis=1)
    joined[:, max(0, edge - EDGE_PX // 2) : edge + EDGE_PX - EDGE_PX // 2 if 0 < edge < width else 0] = 255
    return joined
