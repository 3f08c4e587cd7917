"""What the segmenter says of words in the indexed photos, on their coarse maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.protocols import Segmenter
from halonerf.queries.index_files import IndexedPhoto

CANONICAL = ("object", "things", "stuff", "texture")  # LERF's (Kerr et al., 2023, section 3.4)
REMEMBERED = 64  # words whose maps are kept: so many negatives, or parts of expressions, cost nothing again
READY_BYTES = 256e6  # of all encodings in half precision; up to here a copy in single precision is kept
PROBABILITY = 1e-4  # nearest to 0 and 1 that odds are taken of

WordMap = tuple[Tensor, Tensor]  # probability and known share of every cell of one photo, [h, w] each


class WordMapCache:
    """Asks the segmenter about words in photos that it encoded before.

    Args:
        batch: photos of one shape that are decoded together.
        sky: what the sky is called; where it is, other words are not. None does not ask.
    """

    def __init__(
        self, segmenter: Segmenter, photos: Sequence[IndexedPhoto], batch: int, sky: str | None, device: torch.device
    ) -> None:
        self.segmenter, self.photos, self.sky, self.device = segmenter, photos, sky, device
        self.batch = max(1, batch)
        self._groups = _alike(photos, segmenter.shared_keys, self.batch)
        size = sum(value.nbytes for photo in photos for value in photo.encoding.values())
        self._ready = [self._stacked(group) for group in self._groups] if size <= READY_BYTES else None
        self._kept: dict[str, list[WordMap]] = {}

    @torch.no_grad()
    def of(self, words: Sequence[str], negatives: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        """Of each photo: probability [h, w, P] and known share [h, w, P] of the words, negatives taken into account.

        A word's relevancy is the least of sigmoid(l - l_n) over the negatives n (LERF, eq. 5, with a segmenter's logits
        in place of cosines). What is both the word and more like it than like any negative has the smaller of the two:
        negatives lower a probability or leave it. A word that is a negative itself does not have to beat itself, and
        where a negative is unknown there is nothing to beat.
        """
        asked = [*words, *negatives, *([self.sky] if self.sky is not None else [])]
        self._ask([word for word in dict.fromkeys(asked) if word not in self._kept])
        answers = []
        for number in range(len(self.photos)):
            looks = [self._word(word, negatives, number) for word in words]
            answers.append((torch.stack([p for p, _ in looks], dim=-1), torch.stack([k for _, k in looks], dim=-1)))
        while len(self._kept) > REMEMBERED:
            del self._kept[next(iter(self._kept))]
        return answers

    def forget(self) -> None:
        """Drop the maps of all words."""
        self._kept.clear()

    def _word(self, word: str, negatives: Sequence[str], number: int) -> WordMap:
        probability, known = self._kept[word][number]
        for negative in negatives:
            if negative != word:
                other, certain = self._kept[negative][number]
                probability = torch.where(
                    certain > 0, torch.minimum(probability, relative_probability(probability, other)), probability
                )
        if self.sky is not None and self.sky != word:
            sky, certain = self._kept[self.sky][number]
            probability = probability * (1 - sky * certain)
        return probability, known

    def _ask(self, words: Sequence[str]) -> None:
        if not words:
            return
        found: list[Tensor | None] = [None] * len(self.photos)
        for number, group in enumerate(self._groups):
            encoded = self._ready[number] if self._ready is not None else self._stacked(group)
            for place, logits in zip(group, self.segmenter.decode(encoded, list(words)), strict=True):
                found[place] = logits.float().cpu()
        for number, word in enumerate(words):
            self._kept[word] = [
                downsized_logits(logits[number], photo.grid)
                for logits, photo in zip(found, self.photos, strict=True)
                if logits is not None
            ]

    def _stacked(self, group: Sequence[int]) -> dict[str, Tensor]:
        """The encodings of a group of photos as one, in single precision."""
        encodings = [self.photos[place].encoding for place in group]
        stacked = {key: torch.cat([encoding[key] for encoding in encodings]).to(self.device) for key in encodings[0]}
        return {key: value.float() if value.is_floating_point() else value for key, value in stacked.items()}


def relative_probability(probability: Tensor, negative: Tensor) -> Tensor:
    """sigmoid(l - l_n) of two probabilities of any one shape."""
    odds = [torch.logit(p, eps=PROBABILITY) for p in (probability, negative)]
    return torch.sigmoid(odds[0] - odds[1])


def downsized_logits(logits: Tensor, grid: tuple[int, int]) -> WordMap:
    """Mean probability of what is known in each cell of a coarse map, and how much is: [h, w] each. NaN is unknown."""
    known = (~torch.isnan(logits)).float()
    probability = torch.sigmoid(torch.nan_to_num(logits)) * known
    if logits.shape != grid:
        both = torch.stack([probability, known])[None]
        shrinks = logits.shape[0] > grid[0] or logits.shape[1] > grid[1]
        probability, known = interpolate(both, grid, mode="bilinear", align_corners=False, antialias=shrinks)[0]
    return torch.where(known > 0, probability / known.clamp(min=1e-6), 0.0).clamp(0, 1), known.clamp(0, 1)


def _alike(photos: Sequence[IndexedPhoto], shared_keys: Sequence[str], batch: int) -> list[list[int]]:
    """Batches of indices of photos whose encodings have equal shapes and equal entries `shared_keys`."""
    groups: dict[object, list[int]] = {}
    for place, photo in enumerate(photos):
        shapes = tuple((key, tuple(value.shape)) for key, value in sorted(photo.encoding.items()))
        shared = tuple(tuple(photo.encoding[key].flatten().tolist()) for key in shared_keys)
        groups.setdefault((shapes, shared), []).append(place)
    return [same[k : k + batch] for same in groups.values() for k in range(0, len(same), batch)]
