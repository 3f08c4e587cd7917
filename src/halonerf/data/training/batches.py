"""Training batches for text segmenters: crops of photos, text prompts, and the prompts' masks.

The masks must be complete: a photo without a mask of a concept does not show it.
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
    """Batch i, a function of seed and i: `images` [B, 3, S, S] in [0, 1], `prompts` (P), `targets` [B, P, S, S].

    Args:
        samples: drawn from uniformly.
        words: concept to its text prompts.
        negative_words: prompts for what no photo shows, one in every batch, with empty targets. May be empty.
        prompts: P, of different concepts; at most the number of concepts, and a negative one.
        batch: B. size: S, side of the crops, px.
        min_side, max_side, stretch: of the crops, see `halonerf.data.augmentation.crop_window`.
        plurals: share of prompts in the plural. relight: share of crops with random exposure and colour.
        batches: number of batches.
    """

    def __init__(
        self,
        samples: Sequence[MaskedSample],
        words: Mapping[str, Sequence[str]],
        negative_words: Sequence[str],
        prompts: int,
        batch: int,
        size: int,
        min_side: float,
        max_side: float,
        stretch: float,
        plurals: float,
        relight: float,
        batches: int,
        seed: int,
    ) -> None:
        self.samples, self.words, self.negative_words = samples, dict(words), list(negative_words)
        self.concepts = min(prompts - bool(negative_words), len(words))
        self.batch, self.size, self.framing = batch, size, (min_side, max_side, stretch)
        self.plurals, self.relight, self.batches, self.seed = plurals, relight, batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Tensor | list[str]]:  # type: ignore[override]
        random = np.random.default_rng((self.seed, index))
        concepts = [str(name) for name in random.choice(sorted(self.words), self.concepts, replace=False)]
        prompts = [self._prompt(concept, random) for concept in concepts]
        negative = [str(random.choice(self.negative_words))] if self.negative_words else []
        pairs = [
            self._crop(int(pick), concepts, random) for pick in random.integers(len(self.samples), size=self.batch)
        ]
        images, targets = (torch.stack(part) for part in zip(*pairs, strict=True))
        if negative:
            targets = torch.cat([targets, torch.zeros_like(targets[:, :1])], dim=1)
        return {"images": images, "prompts": [*prompts, *negative], "targets": targets}

    def _prompt(self, concept: str, random: np.random.Generator) -> str:
        name = str(random.choice(self.words[concept]))
        return plural(name) if random.random() < self.plurals else name

    def _crop(self, pick: int, concepts: Sequence[str], random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A sample's crop [3, S, S] and its concepts' masks [K, S, S]."""
        sample = self.samples[pick]
        pixels = sample.image()
        height, width = pixels.shape[:2]
        top, left, rows, columns = crop_window(height, width, *self.framing, random)
        window = (slice(top, top + rows), slice(left, left + columns))
        masks = np.stack([sample.mask(concept, height, width)[window] for concept in concepts])
        both = np.concatenate([pixels[window].transpose(2, 0, 1) / 255.0, masks]).astype(np.float32)
        if random.random() < 0.5:
            both = both[..., ::-1]
        crop = resampled(torch.from_numpy(np.ascontiguousarray(both)), self.size)
        return relit(crop[:3], random) if random.random() < self.relight else crop[:3], crop[3:]
