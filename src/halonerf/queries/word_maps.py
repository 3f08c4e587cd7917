"""The segmenter's maps of text prompts in the indexed photos, on their coarse grids, with a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.protocols import Segmenter
from halonerf.queries.index_files import IndexedPhoto

CANONICAL = ("object", "things", "stuff", "texture")  # LERF's canonical phrases (Kerr et al., 2023, section 3.4)
MAX_CACHED_WORDS = 64  # whose maps are kept for further queries, for negatives and operands of expressions
READY_BYTES = 256e6  # of all encodings in half precision, up to which a copy in single precision is kept
LOGIT_EPS = 1e-4  # probabilities are clamped to [eps, 1 - eps] before the logit

WordMap = tuple[Tensor, Tensor]  # probability and known share of the cells of one photo, [h, w] each in [0, 1]


class WordMapCache:
    """Decodes text prompts in photos that were encoded before, and keeps the maps of the last ones.

    Args:
        batch: photos of one shape that are decoded together.
        sky: text prompt for the sky, where the probability of others is lowered: p (1 - sky). None: no sky.
    """

    def __init__(
        self, segmenter: Segmenter, photos: Sequence[IndexedPhoto], batch: int, sky: str | None, device: torch.device
    ) -> None:
        self.segmenter, self.photos, self.sky, self.device = segmenter, photos, sky, device
        self.batch = max(1, batch)
        self._groups = _batches(photos, segmenter.shared_keys, self.batch)
        size = sum(value.nbytes for photo in photos for value in photo.encoding.values())
        self._ready = [self.stacked(group) for group in self._groups] if size <= READY_BYTES else None
        self._cache: dict[str, list[WordMap]] = {}

    @torch.no_grad()
    def maps(
        self, words: Sequence[str], negatives: Sequence[str], progress: Callable[[float], None] | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Probability and known share of the words in each photo, [h, w, P] each, negatives taken into account.

        The relevancy of a word is the minimum of sigmoid(l - l_n) over the negatives n (LERF, eq. 5, with a segmenter's
        logits in place of cosines). The result is the smaller of probability and relevancy, so that negatives never
        raise a probability. A word that is among the negatives is not compared with itself, and negatives have no
        effect where they are unknown.

        progress: called with the share of the photos that are decoded, as it grows.
        """
        prompts = [*words, *negatives, *([self.sky] if self.sky is not None else [])]
        self._decode([word for word in dict.fromkeys(prompts) if word not in self._cache], progress)
        results = []
        for photo in range(len(self.photos)):
            maps = [self._relative(word, negatives, photo) for word in words]
            results.append((torch.stack([p for p, _ in maps], dim=-1), torch.stack([k for _, k in maps], dim=-1)))
        while len(self._cache) > MAX_CACHED_WORDS:
            del self._cache[next(iter(self._cache))]
        return results

    def clear(self) -> None:
        """Drop the maps of all words."""
        self._cache.clear()

    def _relative(self, word: str, negatives: Sequence[str], photo: int) -> WordMap:
        """A word's map in a photo, relative to the negatives and the sky."""
        probability, known = self._cache[word][photo]
        for negative in negatives:
            if negative != word:
                other, other_known = self._cache[negative][photo]
                relative = torch.minimum(probability, relative_probability(probability, other))
                probability = torch.where(other_known > 0, relative, probability)
        if self.sky is not None and self.sky != word:
            sky, sky_known = self._cache[self.sky][photo]
            probability = probability * (1 - sky * sky_known)
        return probability, known

    def _decode(self, words: Sequence[str], progress: Callable[[float], None] | None) -> None:
        """Fill the cache with the maps of words in all photos."""
        if not words:
            return
        decoded: list[Tensor | None] = [None] * len(self.photos)
        for number, group in enumerate(self._groups):
            encoded = self._ready[number] if self._ready is not None else self.stacked(group)
            for photo, logits in zip(group, self.segmenter.decode(encoded, list(words)), strict=True):
                decoded[photo] = logits.float().cpu()
            if progress is not None:
                progress((number + 1) / len(self._groups))
        for number, word in enumerate(words):
            self._cache[word] = [
                downsized_logits(logits[number], photo.grid)
                for logits, photo in zip(decoded, self.photos, strict=True)
                if logits is not None
            ]

    def stacked(self, group: Sequence[int]) -> dict[str, Tensor]:
        """The encodings of a group of photos as one batch, in single precision."""
        encodings = [self.photos[photo].encoding for photo in group]
        stacked = {key: torch.cat([encoding[key] for encoding in encodings]).to(self.device) for key in encodings[0]}
        return {key: value.float() if value.is_floating_point() else value for key, value in stacked.items()}


def relative_probability(probability: Tensor, negative: Tensor) -> Tensor:
    """sigmoid(logit p - logit p_n) of probabilities p and p_n of one shape, in [0, 1]."""
    logits = [torch.logit(p, eps=LOGIT_EPS) for p in (probability, negative)]
    return torch.sigmoid(logits[0] - logits[1])


def downsized_logits(logits: Tensor, grid: tuple[int, int]) -> WordMap:
    """Mean probability of the known pixels in each cell of a coarse grid, and their share, [h, w] each.

    logits: [H, W], NaN where unknown. grid: h, w.
    """
    known = (~torch.isnan(logits)).float()
    probability = torch.sigmoid(torch.nan_to_num(logits)) * known
    if logits.shape != grid:
        both = torch.stack([probability, known])[None]
        antialias = logits.shape[0] > grid[0] or logits.shape[1] > grid[1]
        probability, known = interpolate(both, grid, mode="bilinear", align_corners=False, antialias=antialias)[0]
    return torch.where(known > 0, probability / known.clamp(min=1e-6), 0.0).clamp(0, 1), known.clamp(0, 1)


def _batches(photos: Sequence[IndexedPhoto], shared_keys: Sequence[str], batch: int) -> list[list[int]]:
    """Batches of indices of photos whose encodings have equal shapes and equal entries `shared_keys`."""
    groups: dict[object, list[int]] = {}
    for index, photo in enumerate(photos):
        shapes = tuple((key, tuple(value.shape)) for key, value in sorted(photo.encoding.items()))
        shared = tuple(tuple(photo.encoding[key].flatten().tolist()) for key in shared_keys)
        groups.setdefault((shapes, shared), []).append(index)
    return [same[k : k + batch] for same in groups.values() for k in range(0, len(same), batch)]
