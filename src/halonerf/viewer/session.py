"""State of one window: its words, appearance and thresholds, and the pictures that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import torch
from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix
from halonerf.errors import BadInput
from halonerf.lifting import known_channels, split_known
from halonerf.rendering.appearance import MEAN
from halonerf.types import View
from halonerf.viewer.engine import Engine, TextResult
from halonerf.visualization.overlays import confidence_colours, highlight, relative_confidence
from halonerf.visualization.palette import Colour, palette_colour
from halonerf.visualization.pictures import to_uint8

MAX_WORDS = 24  # of a window
SKY_WIDTH = 24  # px, of the background behind the browser's Gaussians
SKY_OPACITY = 0.1  # of a pixel of the sky, at most
LITTLE_KNOWN = 0.2  # share of the elements below which a result comes with a warning


@dataclass(frozen=True)
class WindowWord:
    """A word of a window: its result, its colour, and whether it is highlighted."""

    result: TextResult
    colour: Colour
    highlighted: bool = True


@dataclass
class Session:
    """The state of one window, independent of the browser.

    threshold: probability from which an element is highlighted; None: each word's own. opacity: of the highlights.
    words: by text. confidence_word: the word whose confidence is shown instead of highlights; None: none. mix: names of
    lights, or codes, with their weights.
    """

    engine: Engine
    threshold: float | None = None
    opacity: float = 0.8
    words: dict[str, WindowWord] = field(default_factory=dict)
    confidence_word: str | None = None
    mix: AppearanceMix = field(default_factory=lambda: {MEAN: 1.0})

    def copy(self) -> Session:
        """A copy that later changes of this session leave as it is."""
        return replace(self, words=dict(self.words), mix=dict(self.mix))

    def find(self, text: str) -> WindowWord:
        """Find a text, add it to the words where it is new, and highlight it.

        Raises: BadInput for the reasons of `Engine.find`, or where the window has `MAX_WORDS` words.
        """
        result = self.engine.find(text)
        if result.text not in self.words and len(self.words) >= MAX_WORDS:
            raise BadInput(f"expected at most {MAX_WORDS} words in a window: remove one first")
        before = self.words.get(result.text)
        word = replace(before, highlighted=True) if before else WindowWord(result, self._new_colour(result.text))
        self.words[result.text] = word
        return word

    def remove(self, text: str) -> None:
        """Take a word out of the window; no error where it is not there."""
        self.words.pop(text, None)
        if self.confidence_word == text:
            self.confidence_word = None

    def change(self, text: str, highlighted: bool | None = None, colour: Colour | None = None) -> None:
        """Set whether a word is highlighted, and its colour; None leaves either as it is."""
        if text in self.words:
            word = self.words[text]
            self.words[text] = replace(
                word,
                highlighted=word.highlighted if highlighted is None else highlighted,
                colour=word.colour if colour is None else colour,
            )

    @property
    def highlighted(self) -> list[WindowWord]:
        """The words that are highlighted."""
        return [word for word in self.words.values() if word.highlighted]

    def code(self) -> Tensor:
        """The appearance code [A] of the mix. Raises: BadInput for an unknown light."""
        return self.engine.light(self.mix)

    def splat_colours(self) -> np.ndarray:
        """Colours of the browser's Gaussians, uint8 [N, 3]."""
        element = self.engine.splats.element
        if word := self._confidence_word():
            confidence = word.result.confidence[element]
            return to_uint8(confidence_colours(relative_confidence(confidence), (confidence > 0).float()))
        colours = self.engine.colours(self.code())
        if not self.highlighted:
            return to_uint8(colours)
        probability, _ = self._channels().chunk(2, dim=1)
        return to_uint8(self._highlight(colours, probability[element]))

    def sky(self, view: View) -> np.ndarray:
        """The background of a view as a small picture, uint8 [H, SKY_WIDTH, 3]: black in a view without sky.

        Pixels without sky have the mean colour of those with sky.
        """
        small = view.resized(SKY_WIDTH, max(2, round(SKY_WIDTH * view.height / view.width)))
        rendering = self.engine.render(small, self.code())
        is_sky = (rendering.opacity < SKY_OPACITY).float()[..., None]
        mean = (rendering.colour * is_sky).sum(dim=(0, 1)) / is_sky.sum().clamp(min=1)
        return to_uint8(torch.where(is_sky > 0, rendering.colour, mean))

    def picture(self, view: View) -> np.ndarray:
        """Render the field with its highlights, or the confidence, uint8 [H, W, 3]."""
        confidence_word, channels = self._confidence_word(), None
        if confidence_word:
            confidence = confidence_word.result.confidence
            channels = torch.stack([relative_confidence(confidence), (confidence > 0).float()], dim=1)
        elif self.highlighted:
            channels = self._channels()
        rendering = self.engine.render(view, self.code(), channels)
        picture = rendering.colour.clamp(0, 1)
        if confidence_word:
            assert rendering.channels is not None
            relative, known = rendering.channels.unbind(dim=-1)
            coloured = confidence_colours((relative / known.clamp(min=1e-4)).clamp(0, 1), known.clamp(0, 1))
            picture = torch.lerp(picture, coloured, rendering.opacity[..., None])
        elif self.highlighted:
            picture = self._highlight(picture, split_known(rendering)[0])
        return to_uint8(picture)

    def advice(self, result: TextResult, parts: int) -> str:
        """A summary of a result for the user, plain text. parts: how many connected parts it has."""
        if result.known == 0:
            return result.notes[0] if result.notes else f"Nothing is known of '{result.text}'."
        decision = result.read_at(self.threshold)
        if decision.highest < decision.threshold:
            return (
                f"'{result.text}' is nowhere at least {decision.threshold:.0%} probable; the most is "
                f"{decision.highest:.0%}. Lower the threshold to see where."
            )
        if decision.guess:
            return (
                f"'{result.text}': a guess. It is nowhere more probable than {decision.highest:.0%}; shown is the best "
                f"part. {result.known:.0%} of the building known, {result.seconds:.2f} s."
            )
        number = f"{parts} part{'s' * (parts != 1)}" if parts else "no part of any size"
        warning = " Few photos show anything of it: be careful." if result.known < LITTLE_KNOWN else ""
        return f"'{result.text}': {number}, {result.known:.0%} of the building known, {result.seconds:.2f} s.{warning}"

    def _channels(self) -> Tensor:
        """`known_channels` of the words that are highlighted."""
        results = [word.result for word in self.highlighted]
        probability = torch.stack([result.probability for result in results], dim=1)
        return known_channels(probability, torch.stack([result.confidence for result in results], dim=1))

    def _highlight(self, colour: Tensor, probability: Tensor) -> Tensor:
        """colour: [..., 3]. probability: [..., Q] of the words that are highlighted."""
        colours = [word.colour for word in self.highlighted]
        opacity = [self.opacity] * len(colours)
        thresholds = [word.result.read_at(self.threshold).threshold for word in self.highlighted]
        return torch.from_numpy(highlight(colour.numpy(), probability.numpy(), opacity, thresholds, colours))

    def _confidence_word(self) -> WindowWord | None:
        return self.words.get(self.confidence_word) if self.confidence_word else None

    def _new_colour(self, text: str) -> Colour:
        """A concept's colour; for another text the first one after the concepts' that no word of the window has."""
        concepts = self.engine.concepts
        if text in concepts:
            return palette_colour(concepts.index(text))
        taken = {word.colour for word in self.words.values()}
        return next(colour for n in count(len(concepts)) if (colour := palette_colour(n)) not in taken)
