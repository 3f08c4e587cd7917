"""Teaches a text segmenter parts of buildings from photos with complete masks, from nothing.

    model.safetensors   the weights, in half precision
    metrics.json        average precision per concept on what was never trained on: close-ups and whole buildings
    examples.png        some of those photos with their maps, a column for each concept, the truth outlined

What the lessons are slow to make (renders, shrunken photos) is kept beside the stage's folders, for the next course.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits, normalize

from halonerf.data.formats.names import EXAMPLES, METRICS
from halonerf.data.labels.words import plural
from halonerf.data.training.batches import SampleBatches
from halonerf.data.training.procedural import WHOLE, MaskedSample, SegmentationDataset
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_json
from halonerf.metrics import average_precision, mean_defined
from halonerf.pipeline.datamodule import WorkData
from halonerf.pipeline.stage import Stage
from halonerf.prediction import resized_probabilities
from halonerf.stages.specs import TrainSegmenterSpec
from halonerf.visualization.pictures import grid, outline, overlay, save_picture

EPOCH_STEPS = 100  # between two checkpoints
EXAMPLE_PHOTOS = 5  # photos of each kind in the picture
TEMPERATURE = 0.1  # of the cosines between words
WARM_UP = 0.1  # share of the steps in which the learning rate rises
RAREST = 0.01  # share of the pixels below which a concept's weight no longer grows, so that absent ones do not rule


class TrainSegmenter(TrainSegmenterSpec, Stage):
    """Make lessons, learn, and score on photos never learnt from.

    Args:
        segmenter: config of a segmenter that is a torch module with `text` (words to embeddings) and `save`; it is
            built without weights.
        training_data: config of what is learnt from and scored on (`halonerf.data.training.procedural.SegmentationDataset`).
        prompts: words a step. batch: crops a step. crop: px, their side. smallest, largest: of a photo's short side,
            what a crop covers. stretch: the logarithm of its sides' ratio at most.
        plurals: share of the words asked in the plural. relight: share of the crops seen in other light.
        synonyms: weight of the loss that pulls names of one concept together.
        balance: a concept that covers a share s of the pixels weighs s to the power of minus this.
        steps: of training. rate: peak learning rate. decay: weight decay.
        close_up: options of the segmenter that differ where close-ups are scored, such as {image_size: 128}.
        workers: processes that read ahead; one is enough.
        threads: PyTorch's; 0: as many as it likes.
    """

    def __init__(
        self,
        segmenter: Mapping[str, Any],
        training_data: Mapping[str, Any],
        prompts: int = 8,
        batch: int = 16,
        crop: int = 128,
        min_crop: float = 0.5,
        max_crop: float = 1.0,
        stretch: float = 0.0,
        plurals: float = 0.5,
        relight: float = 1.0,
        synonyms: float = 0.1,
        balance: float = 0.0,
        steps: int = 2000,
        rate: float = 2e-3,
        decay: float = 0.02,
        close_up: Mapping[str, Any] | None = None,
        workers: int = 1,
        threads: int = 0,
    ) -> None:
        super().__init__()
        self.threads = threads
        if not 0 < min_crop <= max_crop <= 1:
            raise BadInput(
                f"expected 0 < train_segmenter.min_crop <= train_segmenter.max_crop <= 1, got {min_crop} and {max_crop}."
            )
        self.segmenter_config, self.lessons_config, self.close_up = segmenter, training_data, close_up or {}
        self.workers = workers
        self.framing: dict[str, Any] = {"size": crop, "smallest": min_crop, "largest": max_crop, "stretch": stretch}
        self.asking: dict[str, Any] = {"prompts": prompts, "batch": batch, "plurals": plurals, "relight": relight}
        self.synonyms, self.balance, self.steps, self.rate, self.decay = synonyms, balance, steps, rate, decay

    @property
    def max_epochs(self) -> int:  # type: ignore[override]
        """Epochs of `EPOCH_STEPS` steps each, the last of them whole."""
        return -(-self.steps // EPOCH_STEPS)

    def prepare(self) -> None:
        """Make the lessons that are not there yet; build the segmenter with random weights."""
        self.training_data: SegmentationDataset = build(self.lessons_config)
        self.words, self.negative_words = (
            self.training_data.vocabulary(self.folder.parent),
            self.training_data.negative_words,
        )
        if self.asking["prompts"] <= bool(self.negative_words):
            raise BadInput("expected train_segmenter.prompts of at least 2: a word and a negative, or 1 without any.")
        self.segmenter = build(self.segmenter_config, weights=None, image_size=self.framing["size"])
        self.segmenter.to(memory_format=torch.channels_last)
        meanings = [*self.words.values(), *([negative] for negative in self.negative_words)]
        pairs = [(form, index) for index, names in enumerate(meanings) for n in names for form in (n, plural(n))]
        self.spoken, self.meaning = [form for form, _ in pairs], torch.tensor([index for _, index in pairs])

    def datamodule(self) -> WorkData:
        batches = SampleBatches(
            self.training_data.train(self.folder.parent),
            self.words,
            self.negative_words,
            **self.framing,
            **self.asking,
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
        maps = balanced_loss(logits, targets, self.balance)
        self.log("loss", maps, prog_bar=True)
        if not self.synonyms:
            return maps
        words = synonym_loss(self.segmenter.text(self.spoken).float(), self.meaning.to(logits.device))
        self.log("loss_words", words, prog_bar=True)
        return maps + self.synonyms * words

    def configure_optimizers(self) -> Any:
        """AdamW; the rate rises, then falls along a cosine (Smith & Topin, "Super-Convergence", 2018)."""
        optimiser = torch.optim.AdamW(self.segmenter.parameters(), lr=self.rate, weight_decay=self.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.rate, total_steps=self.max_epochs * EPOCH_STEPS, pct_start=WARM_UP
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def finish(self) -> None:
        """Save the weights, and score what was saved."""
        self.metrics: dict[str, dict[str, float | None]] = {}
        weights = self.folder / "model.safetensors"
        self.segmenter.save(weights)
        sizes = {"close": self.close_up, "whole": {}}
        tests = self.training_data.test(self.folder.parent)
        rows = []
        for part, options in sizes.items():
            saved = build(self.segmenter_config, weights=str(weights), **options)
            lessons = [lesson for lesson in tests if (lesson.subject == WHOLE) == (part == "whole")]
            self.metrics[part] = self._scores(saved, lessons)
            rows += [self._example(saved, lesson) for lesson in spread(lessons, EXAMPLE_PHOTOS)]
        write_json(self.folder / METRICS, self.metrics)
        save_picture(self.folder / EXAMPLES, grid(rows))

    def summary(self) -> dict[str, Any]:
        return {part: scores["mean"] for part, scores in self.metrics.items()}

    def _scores(self, segmenter: Any, lessons: Sequence[MaskedSample]) -> dict[str, float | None]:
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
        return np.round(resized_probabilities(logits[0], *pixels.shape[:2])[0].numpy() * 255).astype(np.uint8)

    def _example(self, segmenter: Any, lesson: MaskedSample) -> list[np.ndarray]:
        """The photo, and each concept's map with the truth outlined."""
        pixels = lesson.image()
        truths = [lesson.mask(concept, *pixels.shape[:2]) for concept in self.words]
        maps = [overlay(pixels, probability / 255) for probability in self._maps(segmenter, pixels)]
        return [pixels, *(outline(drawn, truth) for drawn, truth in zip(maps, truths, strict=True))]


def balanced_loss(logits: Tensor, targets: Tensor, power: float) -> Tensor:
    """Binary cross-entropy [B, P, h, w] averaged over each word's pixels, then over words weighed by their rarity.

    A word whose targets cover a share s of the pixels weighs s ** -power, s being at least `RAREST`; weights have
    the mean 1. With power 0 it is the plain mean. Towards 0.5 every word costs about the same at the beginning,
    where a network knows no more than how frequent each is.
    """
    errors = binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=(0, 2, 3))
    weight = targets.mean(dim=(0, 2, 3)).clamp(min=RAREST) ** -power
    return (errors * weight / weight.mean()).mean()


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


def spread(lessons: Sequence[MaskedSample], count: int) -> list[MaskedSample]:
    """At most `count` of them, evenly spaced."""
    picks = np.linspace(0, len(lessons) - 1, min(count, len(lessons))).round().astype(int)
    return [lessons[pick] for pick in picks]
