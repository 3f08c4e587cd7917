"""What one window shows: which words, in whose light; and the pictures that follow from that."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix
from halonerf.errors import BadInput
from halonerf.lifting import known_channels, split_known
from halonerf.rendering.appearance import MEAN
from halonerf.types import View
from halonerf.viewer.engine import Engine, Found
from halonerf.visualization.overlays import TINTS, confidence_colours, highlight, relative_confidence

MOST_WORDS = 24  # of a window
SKY = 24  # px, width of the sky behind the browser's Gaussians


@dataclass(frozen=True)
class ShownWord:
    """A word of a window: what it found, its tint (0 to 255), and whether it is lit."""

    found: Found
    tint: tuple[int, int, int]
    lit: bool = True


@dataclass
class Session:
    """The state of one window, without any window.

    threshold: probability from which a place is lit. opacity: of the tints. confidence_word: the word whose confidence is
    shown instead; None: none. mix: lights by name, or codes, with their weights.
    """

    engine: Engine
    threshold: float = 0.5
    opacity: float = 0.8
    words: dict[str, ShownWord] = field(default_factory=dict)
    confidence_word: str | None = None
    mix: AppearanceMix = field(default_factory=lambda: {MEAN: 1.0})

    def copy(self) -> Session:
        """What it is now, whatever becomes of this one."""
        return replace(self, words=dict(self.words), mix=dict(self.mix))

    def find(self, text: str) -> ShownWord:
        """Look for a text and light it. Raises: BadInput, also where the window has too many words."""
        found = self.engine.find(text)
        if found.text not in self.words and len(self.words) >= MOST_WORDS:
            raise BadInput(f"expected at most {MOST_WORDS} words in a window: remove one first")
        before = self.words.get(found.text)
        self.words[found.text] = replace(before, lit=True) if before else ShownWord(found, self._free_tint())
        return self.words[found.text]

    def forget(self, text: str) -> None:
        """Take a word out of the window."""
        self.words.pop(text, None)
        if self.confidence_word == text:
            self.confidence_word = None

    def change(self, text: str, lit: bool | None = None, tint: tuple[int, int, int] | None = None) -> None:
        """Light a word or not; give it another tint."""
        if text in self.words:
            word = self.words[text]
            self.words[text] = replace(
                word, lit=word.lit if lit is None else lit, tint=word.tint if tint is None else tint
            )

    @property
    def lit(self) -> list[ShownWord]:
        """The words that are lit."""
        return [word for word in self.words.values() if word.lit]

    def code(self) -> Tensor:
        """The code [A] of the mixed lights. Raises: BadInput for an unknown one."""
        return self.engine.light(self.mix)

    def splat_colours(self) -> np.ndarray:
        """What the browser's own Gaussians look like, uint8 [N, 3]."""
        element = self.engine.splats.element
        if word := self._doubted():
            confidence = word.found.confidence[element]
            return to_bytes(confidence_colours(relative_confidence(confidence), (confidence > 0).float()))
        colour, lit = self.engine.colours(self.code()), self.lit
        if not lit:
            return to_bytes(colour)
        known, _ = self._channels().chunk(2, dim=1)
        return to_bytes(self._light_up(colour, known[element]))

    def sky(self, view: View) -> np.ndarray:
        """A few pixels of what is behind everything in a view and this light, uint8 [H, W, 3]; dark without a sky."""
        small = view.resized(SKY, max(2, round(SKY * view.height / view.width)))
        shown = self.engine.render(small, self.code())
        open_sky = (shown.opacity < 0.1).float()[..., None]
        mean = (shown.colour * open_sky).sum(dim=(0, 1)) / open_sky.sum().clamp(min=1)
        return to_bytes(torch.where(open_sky > 0, shown.colour, mean))

    def picture(self, view: View) -> np.ndarray:
        """What the field itself shows, with the words that are lit, or the confidence: uint8 [H, W, 3]."""
        doubted, channels = self._doubted(), None
        if doubted:
            confidence = doubted.found.confidence
            channels = torch.stack([relative_confidence(confidence), (confidence > 0).float()], dim=1)
        elif self.lit:
            channels = self._channels()
        shown = self.engine.render(view, self.code(), channels)
        picture = shown.colour.clamp(0, 1)
        if doubted:
            assert shown.channels is not None
            sure, known_share = shown.channels.unbind(dim=-1)
            coloured = confidence_colours((sure / known_share.clamp(min=1e-4)).clamp(0, 1), known_share.clamp(0, 1))
            picture = torch.lerp(picture, coloured, shown.opacity[..., None])
        elif self.lit:
            picture = self._light_up(picture, split_known(shown)[0])
        return to_bytes(picture)

    def advice(self, found: Found, parts: int) -> str:
        """What somebody who asked for it should know, in one or two sentences; plain text. parts: how many it has."""
        if found.known == 0:
            return found.notes[0] if found.notes else f"Nothing is known of '{found.text}'."
        if found.strongest < self.threshold:
            return (
                f"'{found.text}' is nowhere at least {self.threshold:.0%} probable; the most is {found.strongest:.0%}. "
                "Lower the threshold to see where."
            )
        many = f"{parts} part{'s' * (parts != 1)}" if parts else "no part of any size"
        unsure = " Hardly any photo says anything of it: be careful." if found.known < 0.2 else ""
        return f"'{found.text}': {many}, {found.known:.0%} of the building known, {found.seconds:.2f} s.{unsure}"

    def _channels(self) -> Tensor:
        """`known_channels` of the words that are lit."""
        found = [word.found for word in self.lit]
        probability = torch.stack([each.probability for each in found], dim=1)
        return known_channels(probability, torch.stack([each.confidence for each in found], dim=1))

    def _light_up(self, colour: Tensor, probability: Tensor) -> Tensor:
        """colour: [..., 3]. probability: [..., Q] of the words that are lit."""
        tints = [word.tint for word in self.lit]
        return torch.from_numpy(
            highlight(colour.numpy(), probability.numpy(), [self.opacity] * len(tints), self.threshold, tints)
        )

    def _doubted(self) -> ShownWord | None:
        return self.words.get(self.confidence_word) if self.confidence_word else None

    def _free_tint(self) -> tuple[int, int, int]:
        taken = [word.tint for word in self.words.values()]
        return min(TINTS, key=lambda tint: (taken.count(tint), TINTS.index(tint)))


def to_bytes(colour: Tensor) -> np.ndarray:
    """[0, 1] to uint8."""
    return (colour.clamp(0, 1) * 255).round().byte().numpy()
