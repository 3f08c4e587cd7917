"""Frames of a film: what the field shows along a path, with words lit, and two ways side by side or wiped over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.camera_paths.path import LightMix, Sample
from halonerf.data.scene.scene import Scene
from halonerf.protocols import TrainableField
from halonerf.rendering.lights import appearance_code
from halonerf.rendering.tiles import render_frame
from halonerf.types import View
from halonerf.visualization.overlays import caption, highlight, legend
from halonerf.visualization.palette import Colour
from halonerf.visualization.pictures import to_uint8

COMPARISONS = ("side", "wipe")
EDGE = 2  # px, of the line between two halves

# Probability of words [H, W, Q] in a view and a light.
Maps = Callable[[View, Tensor, Sequence[str]], Tensor]


class FrameRenderer:
    """Draws samples of a path.

    Args:
        maps: of words; None where there are none.
        colours: of each word.
        memory_mb: MB that drawing a part of a frame may take.
        compare: None, "side" (two pictures beside each other) or "wipe" (a line that moves over and back).
        against: the light of the second picture; None: the same light without words.
        duration: s, of the film; the line of a wipe is back at its end.
        titles: of lights that a comparison is not to call by their own names.
    """

    def __init__(
        self,
        field: TrainableField,
        scene: Scene,
        maps: Maps | None,
        colours: Mapping[str, Colour],
        memory_mb: float,
        compare: str | None = None,
        against: LightMix | None = None,
        duration: float = 0.0,
        titles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.field, self.scene, self.maps, self.colours, self.memory_mb = field, scene, maps, colours, memory_mb
        self.compare, self.against, self.duration, self.titles = compare, against, duration, titles
        self._codes: dict[Any, Tensor] = {}

    @torch.no_grad()
    def picture(self, sample: Sample, view: View, own: int = 0) -> np.ndarray:
        """One frame, uint8 [H, W, 3]; side by side, twice as wide. own: the photo whose light "own" is."""
        words = [word for word, opacity in sample.words.items() if opacity > 0]
        code = self._code(sample.light, own)
        colour = self._colour(view, code)
        shown = self._lit(colour, sample, view, code, words)
        if self.compare is None:
            return self._named(shown, sample)
        if self.against is None:
            pictures, titles = [to_uint8(colour), to_uint8(shown)], ["without words", "with words"]
        else:
            code = self._code(self.against, own)
            other = self._lit(self._colour(view, code), sample, view, code, words)
            pictures = [to_uint8(shown), to_uint8(other)]
            titles = [self._title(sample.light), self._title(self.against)]
        if self.compare == "wipe":  # it starts with the first, and the second comes in from the left
            joined = wipe(pictures[1], pictures[0], sample.seconds / max(self.duration, 1e-9))
            return caption(self._named(joined, sample), *titles[::-1])
        return caption(self._named(np.concatenate(pictures, axis=1), sample), *titles)

    def _named(self, picture: np.ndarray, sample: Sample) -> np.ndarray:
        shown = {word: (self.colours[word], opacity) for word, opacity in sample.words.items()}
        return legend(picture if picture.dtype == np.uint8 else to_uint8(picture), shown)

    def _colour(self, view: View, code: Tensor) -> np.ndarray:
        return render_frame(self.field, view, code, memory_mb=self.memory_mb).colour.numpy()

    def _lit(self, colour: np.ndarray, sample: Sample, view: View, code: Tensor, words: list[str]) -> np.ndarray:
        if not words or self.maps is None:
            return colour
        opacity, colours = [sample.words[word] for word in words], [self.colours[word] for word in words]
        maps = self.maps(view, code, words).numpy()
        return highlight(colour, maps, opacity, sample.threshold, colours)

    def _title(self, mix: LightMix) -> str:
        """A mix of lights in words: those that make up most of it."""
        names = {name if isinstance(name, str) else "a code": share for name, share in mix.items() if share >= 0.25}
        return " + ".join(self.titles.get(name, name) for name in sorted(names, key=lambda name: -names[name]))

    def _code(self, mix: Mapping[Any, float], own: int) -> Tensor:
        """Of a mix, its lights looked up once."""
        for light in mix:
            if light not in self._codes:
                self._codes[light] = appearance_code(light, self.field, self.scene, own).detach()
        return torch.stack([weight * self._codes[light] for light, weight in mix.items()]).sum(dim=0)


def wipe(first: np.ndarray, second: np.ndarray, time: float) -> np.ndarray:
    """The first picture left of a line, the second right of it; time in [0, 1]: the line goes right and comes back."""
    width = first.shape[1]
    edge = round(width * (0.5 - 0.5 * math.cos(math.tau * time)))
    joined = np.concatenate([first[:, :edge], second[:, edge:]], axis=1)
    joined[:, max(0, edge - EDGE // 2) : edge + EDGE - EDGE // 2 if 0 < edge < width else 0] = 255
    return joined
