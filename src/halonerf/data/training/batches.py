"""What a text segmenter is taught with: batches of crops of photos, words, and where the words are.

The masks must be complete: a photo without a mask of a concept does not show it. (People's masks are not like that.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from halonerf.data.augmentation import crop_window, relit, resampled
from halonerf.data.labels.words import plural
from halonerf.data.training.procedural import MaskedSample


class SampleBatches(Sequence):
    """Batch i of a course, drawn from seed and i alone: `images` [B, 3, S, S], `prompts`, `targets` [B, P, S, S].

    Args:
        lessons: what is drawn from, evenly.
        words: how each concept may be called.
        negative_words: words for what no photo shows, one of them in every batch: their target is nothing. May be empty.
        prompts: P, words a batch, of different concepts; at most as many as there are, and a negative.
        size: px, side of the crops. smallest, largest: of the photo's short side, the crops' sides. stretch: their
            sides' ratio lies within exp(-stretch) and exp(stretch) before they are made square.
        plurals: share of the words said in the plural. relight: share of the crops seen in other light.
        batches: how many there are.
    """

    def __init__(
        self,
        lessons: Sequence[MaskedSample],
        words: Mapping[str, Sequence[str]],
        negative_words: Sequence[str],
        prompts: int,
        batch: int,
        size: int,
        smallest: float,
        largest: float,
        stretch: float,
        plurals: float,
        relight: float,
        batches: int,
        seed: int,
    ) -> None:
        self.lessons, self.words, self.negative_words = lessons, dict(words), list(negative_words)
        self.concepts = min(prompts - bool(negative_words), len(words))
        self.batch, self.size, self.framing = batch, size, (smallest, largest, stretch)
        self.plurals, self.relight, self.batches, self.seed = plurals, relight, batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Tensor | list[str]]:  # type: ignore[override]
        random = np.random.default_rng((self.seed, index))
        concepts = [str(name) for name in random.choice(sorted(self.words), self.concepts, replace=False)]
        prompts = [self._called(concept, random) for concept in concepts]
        negative = [str(random.choice(self.negative_words))] if self.negative_words else []
        pairs = [
            self._crop(int(pick), concepts, random) for pick in random.integers(len(self.lessons), size=self.batch)
        ]
        images, targets = (torch.stack(part) for part in zip(*pairs, strict=True))
        if negative:
            targets = torch.cat([targets, torch.zeros_like(targets[:, :1])], dim=1)
        return {"images": images, "prompts": [*prompts, *negative], "targets": targets}

    def _called(self, concept: str, random: np.random.Generator) -> str:
        name = str(random.choice(self.words[concept]))
        return plural(name) if random.random() < self.plurals else name

    def _crop(self, pick: int, concepts: Sequence[str], random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One lesson's crop [3, S, S] and its concepts' masks, one a plane of S x S."""
        lesson = self.lessons[pick]
        pixels = lesson.image()
        height, width = pixels.shape[:2]
        top, left, rows, columns = crop_window(height, width, *self.framing, random)
        window = (slice(top, top + rows), slice(left, left + columns))
        masks = np.stack([lesson.mask(concept, height, width)[window] for concept in concepts])
        both = np.concatenate([pixels[window].transpose(2, 0, 1) / 255.0, masks]).astype(np.float32)
        if random.random() < 0.5:
            both = both[..., ::-1]
        crop = resampled(torch.from_numpy(np.ascontiguousarray(both)), self.size)
        return relit(crop[:3], random) if random.random() < self.relight else crop[:3], crop[3:]
