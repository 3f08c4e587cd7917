"""What a text segmenter is taught with: batches of crops of photos, words, and where the words are.

The masks must be complete: a photo without a mask of a concept does not show it. (People's masks are not like that.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from halonerf.data.augmentation import relit, resampled, square_crop
from halonerf.data.lessons import Lesson


def plural(word: str) -> str:
    """The regular English plural: tower -> towers, gallery -> galleries, arch -> arches."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else word + "s"


class LessonBatches(Sequence):
    """Batch i of a course, drawn from seed and i alone: `images` [B, 3, S, S], `prompts`, `targets` [B, P, S, S].

    Args:
        lessons: what is drawn from, evenly.
        words: how each concept may be called; a regular plural half of the time besides.
        strangers: words for what no photo shows, one of them in every batch: their target is nothing.
        prompts: P, words a batch, of different concepts.
        size: px, side of the crops. smallest: of the photo's short side, the smallest crop's side.
        batches: how many there are.
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        words: Mapping[str, Sequence[str]],
        strangers: Sequence[str],
        prompts: int,
        batch: int,
        size: int,
        smallest: float,
        batches: int,
        seed: int,
    ) -> None:
        self.lessons, self.words, self.strangers = lessons, dict(words), list(strangers)
        self.prompts, self.batch, self.size, self.smallest = min(prompts, len(words) + 1), batch, size, smallest
        self.batches, self.seed = batches, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> dict[str, Tensor | list[str]]:  # type: ignore[override]
        random = np.random.default_rng((self.seed, index))
        concepts = list(random.choice(sorted(self.words), self.prompts - 1, replace=False))
        prompts = [self._called(concept, random) for concept in concepts]
        stranger = str(random.choice(self.strangers))
        pairs = [
            self._crop(int(pick), concepts, random) for pick in random.integers(len(self.lessons), size=self.batch)
        ]
        images, targets = (torch.stack(part) for part in zip(*pairs, strict=True))
        targets = torch.cat([targets, torch.zeros_like(targets[:, :1])], dim=1)
        return {"images": images, "prompts": [*prompts, stranger], "targets": targets}

    def _called(self, concept: str, random: np.random.Generator) -> str:
        name = str(random.choice(self.words[concept]))
        return plural(name) if random.random() < 0.5 else name

    def _crop(self, pick: int, concepts: Sequence[str], random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One lesson's crop [3, S, S] and its masks [P - 1, S, S]."""
        lesson = self.lessons[pick]
        pixels = lesson.image()
        height, width = pixels.shape[:2]
        top, left, side = square_crop(height, width, self.smallest, random)
        window = (slice(top, top + side), slice(left, left + side))
        masks = np.stack([lesson.mask(concept, height, width)[window] for concept in concepts])
        both = np.concatenate([pixels[window].transpose(2, 0, 1) / 255.0, masks]).astype(np.float32)
        if random.random() < 0.5:
            both = both[..., ::-1]
        crop = resampled(torch.from_numpy(np.ascontiguousarray(both)), self.size)
        return relit(crop[:3], random), crop[3:]
