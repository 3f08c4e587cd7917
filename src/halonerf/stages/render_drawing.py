"""Frames of a film: what the field shows along a path, with words lit, and two ways side by side or wiped over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.data.scenes import Scene
from halonerf.frames import FIXED, parts, render_frame
from halonerf.paths import Mix, Sample
from halonerf.protocols import SemanticHead, TrainableField
from halonerf.stages.lights import light_of
from halonerf.stages.query_scene import QueryScene, show_elements
from halonerf.stages.render_words import caption, legend, light_up, tint
from halonerf.types import View

COMPARISONS = ("side", "wipe")
EDGE = 2  # px, of the line between two halves

# Probability of words [H, W, Q] in a view and a light.
Maps = Callable[[View, Tensor, Sequence[str]], Tensor]


class Drawing:
    """Draws samples of a path.

    Args:
        maps: of words; None where there are none.
        tints: number of each word's tint.
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
        tints: Mapping[str, int],
        memory_mb: float,
        compare: str | None = None,
        against: Mix | None = None,
        duration: float = 0.0,
        titles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.field, self.scene, self.maps, self.tints, self.memory_mb = field, scene, maps, tints, memory_mb
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
            pictures, titles = [_bytes(colour), _bytes(shown)], ["without words", "with words"]
        else:
            code = self._code(self.against, own)
            other = self._lit(self._colour(view, code), sample, view, code, words)
            pictures, titles = [_bytes(shown), _bytes(other)], [self._title(sample.light), self._title(self.against)]
        if self.compare == "wipe":  # it starts with the first, and the second comes in from the left
            joined = wiped(pictures[1], pictures[0], sample.seconds / max(self.duration, 1e-9))
            return caption(self._named(joined, sample), *titles[::-1])
        return caption(self._named(np.concatenate(pictures, axis=1), sample), *titles)

    def _named(self, picture: np.ndarray, sample: Sample) -> np.ndarray:
        shown = {word: (self.tints[word], opacity) for word, opacity in sample.words.items()}
        return legend(picture if picture.dtype == np.uint8 else _bytes(picture), shown)

    def _colour(self, view: View, code: Tensor) -> np.ndarray:
        return render_frame(self.field, view, code, memory_mb=self.memory_mb).colour.numpy()

    def _lit(self, colour: np.ndarray, sample: Sample, view: View, code: Tensor, words: list[str]) -> np.ndarray:
        if not words or self.maps is None:
            return colour
        opacity, tints = [sample.words[word] for word in words], [tint(self.tints[word]) for word in words]
        maps = self.maps(view, code, words).numpy()
        return light_up(colour, maps, opacity, sample.threshold, tints)

    def _title(self, mix: Mix) -> str:
        """A mix of lights in words: those that make up most of it."""
        names = {name if isinstance(name, str) else "a code": share for name, share in mix.items() if share >= 0.25}
        return " + ".join(self.titles.get(name, name) for name in sorted(names, key=lambda name: -names[name]))

    def _code(self, mix: Mapping[Any, float], own: int) -> Tensor:
        """Of a mix, its lights looked up once."""
        for light in mix:
            if light not in self._codes:
                self._codes[light] = light_of(light, self.field, self.scene, own).detach()
        return torch.stack([weight * self._codes[light] for light, weight in mix.items()]).sum(dim=0)


class WordMaps:
    """Where words are in a view: as the head of `localize` has it, or lifted from the index for any other word.

    Args:
        known: what the head was fitted to.
        texts: all that will be asked for.
        query: opened only where a text is not known.
    """

    def __init__(
        self,
        field: TrainableField,
        head: SemanticHead,
        known: Sequence[str],
        texts: Sequence[str],
        query: Callable[[], QueryScene],
        memory_mb: float,
    ) -> None:
        self.field, self.head, self.known, self.memory_mb = field, head, list(known), memory_mb
        self.texts, self.query, self.notes = list(texts), query, list[str]()
        self.other = [text for text in texts if text not in self.known]
        self._lifted: tuple[Tensor, Tensor] | None = None

    def __call__(self, view: View, appearance: Tensor, words: Sequence[str]) -> Tensor:
        """Probability [H, W, Q] of words, in main memory; drawn in parts."""
        if self.other and self._lifted is None:
            answer = self.query().query(self.other, size=16)
            self.notes, self._lifted = list(answer.notes), (answer.probability, answer.confidence)
        frame = torch.zeros(view.height, view.width, len(words))
        lifted = [(place, self.known.index(word)) for place, word in enumerate(words) if word in self.known]
        asked = [(place, self.other.index(word)) for place, word in enumerate(words) if word not in self.known]
        for part, (rows, columns) in parts(view, FIXED + 2 * max(len(self.known), len(words)), self.memory_mb):
            if lifted:
                said, _ = self.head.render(self.field, part, appearance)
                for place, column in lifted:
                    frame[rows, columns, place] = said[..., column].cpu()
            if asked and self._lifted is not None:
                probability, confidence = (t[:, [c for _, c in asked]].to(appearance.device) for t in self._lifted)
                said, _ = show_elements(self.field, part, appearance, probability, confidence)
                for number, (place, _) in enumerate(asked):
                    frame[rows, columns, place] = said[..., number]
        return frame


def wiped(first: np.ndarray, second: np.ndarray, time: float) -> np.ndarray:
    """The first picture left of a line, the second right of it; time in [0, 1]: the line goes right and comes back."""
    width = first.shape[1]
    edge = round(width * (0.5 - 0.5 * math.cos(math.tau * time)))
    joined = np.concatenate([first[:, :edge], second[:, edge:]], axis=1)
    joined[:, max(0, edge - EDGE // 2) : edge + EDGE - EDGE // 2 if 0 < edge < width else 0] = 255
    return joined


def _bytes(picture: np.ndarray) -> np.ndarray:
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)
