"""Teaches a text segmenter parts of buildings on procedural landmarks, from nothing.

    model.safetensors   the weights, in half precision
    metrics.json        average precision per concept on buildings never trained on: close-ups and whole buildings
    examples.png        some of those photos with their maps

The rendered photos are kept beside the stage's folders, in `renders/`, for the next course.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits, normalize

from halonerf.artifacts import write_json
from halonerf.data.closeups import LessonBatches, plural
from halonerf.data.datamodule import WorkData
from halonerf.data.lessons import WHOLE, Course, Lesson, render_lessons
from halonerf.metrics import average_precision, mean_defined
from halonerf.pictures import grid, overlay, save_picture
from halonerf.stages.base import Stage
from halonerf.stages.build import build
from halonerf.stages.segment import at_size

EPOCH_STEPS = 100  # between two checkpoints
EXAMPLES = 5  # photos of each kind in the picture
SYNONYMS = 0.1  # weight of the words' loss; it moves little but the text tower
TEMPERATURE = 0.1  # of the cosines between words
WARM_UP = 0.1  # share of the steps in which the learning rate rises


class TrainSegmenter(Stage):
    """Render lessons, learn, and score on other buildings.

    Args:
        segmenter: config of a segmenter that is a torch module with `text` (words to embeddings) and `save`; it is
            built without weights.
        kinds: types of buildings.
        first_seed: seed of the first building; evaluations of the whole road use seeds below 1000.
        buildings: of each kind, to learn from. test_buildings: of each kind, after those, to score on.
        photos: a building. whole: share of them that show all of it.
        width: px, long side of the photos. samples: light paths a pixel.
        words: how each concept may be called. strangers: words for what no photo shows.
        prompts: words a step. batch: crops a step. crop: px, their side. smallest: of the photo's short side.
        steps: of training. rate: peak learning rate. decay: weight decay.
        workers: processes that render and read ahead.
    """

    name = "train_segmenter"
    learns = True

    def __init__(
        self,
        segmenter: Mapping[str, Any],
        words: Mapping[str, Sequence[str]],
        strangers: Sequence[str],
        kinds: Sequence[str] = ("cathedral", "mosque", "synagogue"),
        first_seed: int = 1000,
        buildings: int = 14,
        test_buildings: int = 2,
        photos: int = 24,
        whole: float = 0.25,
        width: int = 224,
        samples: int = 8,
        prompts: int = 8,
        batch: int = 16,
        crop: int = 128,
        smallest: float = 0.5,
        steps: int = 2000,
        rate: float = 2e-3,
        decay: float = 0.02,
        workers: int = 2,
    ) -> None:
        super().__init__()
        self.segmenter_config, self.words, self.strangers = segmenter, words, strangers
        self.kinds, self.first_seed = kinds, first_seed
        self.buildings, self.test_buildings, self.workers = buildings, test_buildings, workers
        self.course = Course(photos, whole, width, samples)
        self.prompts, self.batch, self.crop, self.smallest = prompts, batch, crop, smallest
        self.steps, self.rate, self.decay = steps, rate, decay

    @property
    def max_epochs(self) -> int:  # type: ignore[override]
        """Epochs of `EPOCH_STEPS` steps each, the last of them whole."""
        return -(-self.steps // EPOCH_STEPS)

    def prepare(self) -> None:
        """Render what is not rendered yet; build the segmenter with random weights."""
        self.lessons = self._rendered(self.first_seed, self.buildings)
        self.segmenter = build(self.segmenter_config, weights=None, image_size=self.crop)
        self.segmenter.to(memory_format=torch.channels_last)
        meanings = [*self.words.values(), *([stranger] for stranger in self.strangers)]
        pairs = [(form, index) for index, names in enumerate(meanings) for n in names for form in (n, plural(n))]
        self.spoken, self.meaning = [form for form, _ in pairs], torch.tensor([index for _, index in pairs])

    def datamodule(self) -> WorkData:
        batches = LessonBatches(
            self.lessons,
            self.words,
            self.strangers,
            prompts=self.prompts,
            batch=self.batch,
            size=self.crop,
            smallest=self.smallest,
            batches=self.max_epochs * EPOCH_STEPS,
            seed=self.seed,
        )
        return WorkData(batches, epoch_steps=EPOCH_STEPS, seed=self.seed, workers=min(1, self.workers))

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        """Binary cross-entropy with the masks, averaged over the areas of the maps' pixels, and what words mean.

        Maps alone teach the letters slowly: a network first learns where any part is, whatever the word.
        """
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        logits = self.segmenter(images, batch["prompts"]).float()
        targets = adaptive_avg_pool2d(batch["targets"], logits.shape[-2:])
        maps = binary_cross_entropy_with_logits(logits, targets)
        words = synonym_loss(self.segmenter.text(self.spoken).float(), self.meaning.to(logits.device))
        self.log_dict({"loss": maps, "loss_words": words}, prog_bar=True)
        return maps + SYNONYMS * words

    def configure_optimizers(self) -> Any:
        """AdamW; the rate rises, then falls along a cosine (Smith & Topin, "Super-Convergence", 2018)."""
        optimiser = torch.optim.AdamW(self.segmenter.parameters(), lr=self.rate, weight_decay=self.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.rate, total_steps=self.max_epochs * EPOCH_STEPS, pct_start=WARM_UP
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def finish(self) -> None:
        """Save the weights, and score what was saved."""
        weights = self.folder / "model.safetensors"
        self.segmenter.save(weights)
        saved = build(self.segmenter_config, weights=str(weights))
        tests = self._rendered(self.first_seed + self.buildings, self.test_buildings)
        far, close = ([lesson for lesson in tests if (lesson.aim == WHOLE) == is_far] for is_far in (True, False))
        self.metrics = {"close": self._scores(saved, close), "whole": self._scores(saved, far)}
        write_json(self.folder / "metrics.json", self.metrics)
        rows = [self._example(saved, lesson) for lesson in [*spread(close, EXAMPLES), *spread(far, EXAMPLES)]]
        save_picture(self.folder / "examples.png", grid(rows))

    def summary(self) -> dict[str, Any]:
        return {part: scores["mean"] for part, scores in self.metrics.items()}

    def _rendered(self, first: int, count: int) -> list[Lesson]:
        """Photos of `count` buildings of each kind from seed `first` on."""
        seeds = range(first, first + count)
        return render_lessons(self.folder.parent / "renders", self.course, self.kinds, seeds, self.workers)

    def _scores(self, segmenter: Any, lessons: Sequence[Lesson]) -> dict[str, float | None]:
        """Average precision of each concept, mean over the photos that show it, and the mean of those."""
        found: dict[str, list[float]] = {concept: [] for concept in self.words}
        for lesson in lessons:
            pixels = lesson.image()
            for concept, probability in zip(self.words, self._maps(segmenter, pixels), strict=True):
                truth = lesson.mask(concept, *pixels.shape[:2])
                if truth.any():
                    found[concept].append(average_precision(probability, truth))
        means = {concept: mean_defined(values) for concept, values in found.items()}
        means["mean"] = mean_defined(means.values())
        return {concept: None if np.isnan(value) else round(value, 4) for concept, value in means.items()}

    def _maps(self, segmenter: Any, pixels: np.ndarray) -> np.ndarray:
        """Probabilities [P, H, W] of the concepts, 8 bit as they are stored elsewhere."""
        images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            logits = segmenter.decode(segmenter.encode(images), list(self.words))
        return np.round(at_size(logits[0], *pixels.shape[:2])[0].numpy() * 255).astype(np.uint8)

    def _example(self, segmenter: Any, lesson: Lesson) -> list[np.ndarray]:
        pixels = lesson.image()
        return [pixels, *(overlay(pixels, probability / 255) for probability in self._maps(segmenter, pixels))]


def synonym_loss(embedding: Tensor, meaning: Tensor) -> Tensor:
    """Words of one meaning close, others apart (Khosla et al., "Supervised Contrastive Learning", 2020, eq. 2).

    embedding: [N, D], of any length. meaning: [N]; a word without another of its meaning only pushes.
    """
    unit = normalize(embedding, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    likelihood = (unit @ unit.T / TEMPERATURE).masked_fill(itself, -torch.inf).log_softmax(dim=1)
    same = (meaning[:, None] == meaning) & ~itself
    friends = same.sum(dim=1)
    return -(likelihood.masked_fill(~same, 0).sum(dim=1) / friends.clamp(min=1))[friends > 0].mean()


def spread(lessons: Sequence[Lesson], count: int) -> list[Lesson]:
    """At most `count` of them, evenly spaced."""
    picks = np.linspace(0, len(lessons) - 1, min(count, len(lessons))).round().astype(int)
    return [lessons[pick] for pick in picks]
