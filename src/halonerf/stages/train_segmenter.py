"""train_segmenter: trains a text segmenter of building parts from scratch, on photos with complete masks.

    model.safetensors   the weights, in half precision
    metrics.json        average precision per concept on test photos: close-ups and whole buildings
    examples.png        some of those photos with their maps, one column per concept, ground truth outlined

Training data that is slow to make (renderings, downsized photos) is cached beside the stage's folders, for later runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from halonerf.config.option_types import (
    Component,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    Pixels,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
)
from halonerf.data.formats.names import EXAMPLES, METRICS
from halonerf.data.labels.words import plural
from halonerf.data.training.batches import SampleBatches
from halonerf.data.training.procedural import WHOLE, MaskedSample, SegmentationDataset
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_json
from halonerf.geometry import resize_mean
from halonerf.metrics import average_precision, mean_defined
from halonerf.pipeline.datamodule import WorkData
from halonerf.pipeline.stage import Stage
from halonerf.pipeline.validation import checked
from halonerf.prediction import resized_probabilities
from halonerf.stages.specs import TrainSegmenterSpec
from halonerf.visualization.pictures import grid, outline, overlay, save_picture

EPOCH_STEPS = 100  # between two checkpoints
EXAMPLE_PHOTOS = 5  # photos of each kind in the picture
SYNONYM_TEMPERATURE = 0.1  # of the cosines between words
WARM_UP = 0.1  # fraction of the steps in which the learning rate rises
MIN_CONCEPT_SHARE = 0.01  # of the pixels; bounds the weights of rare and absent concepts


class TrainSegmenter(TrainSegmenterSpec, Stage):
    """Make the training data, train, and score on test photos.

    Args:
        segmenter: config of a segmenter that is a torch module with `text` (words to embeddings) and `save`; it is
            built without weights.
        training_data: config of a `SegmentationDataset`, with training and test photos.
        prompts: words per step, one of them a negative word where there are any. batch: crops per step.
        crop: px, their side. min_crop, max_crop: side of the smallest and the largest crop, as fractions of the photo's
            short side. stretch: maximum logarithm of a crop's aspect ratio.
        plurals: fraction of the words in the plural. relight: fraction of the crops with augmented lighting.
        synonyms: weight of the loss that pulls names of one concept together (`synonym_loss`).
        balance: exponent b of the weight s ** -b of a concept on a fraction s of the pixels (`balanced_loss`).
        steps: of training. rate: peak learning rate. decay: weight decay.
        close_up: options of the segmenter that differ where close-ups are scored, such as {image_size: 128}.
        workers: processes that load data; one is enough.
        threads: of PyTorch; 0: its default.
    """

    def __init__(
        self,
        segmenter: Component,
        training_data: Component,
        prompts: PositiveInt = 8,
        batch: PositiveInt = 16,
        crop: Pixels = 128,
        min_crop: PositiveFraction = 0.5,
        max_crop: PositiveFraction = 1.0,
        stretch: NonNegativeFloat = 0.0,
        plurals: Fraction = 0.5,
        relight: Fraction = 1.0,
        synonyms: NonNegativeFloat = 0.1,
        balance: NonNegativeFloat = 0.0,
        steps: PositiveInt = 2000,
        rate: PositiveFloat = 2e-3,
        decay: NonNegativeFloat = 0.02,
        close_up: Mapping[str, Any] | None = None,
        workers: NonNegativeInt = 1,
        threads: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.threads = threads
        if min_crop > max_crop:
            raise BadInput(
                f"expected train_segmenter.min_crop <= train_segmenter.max_crop, got {min_crop} and {max_crop}."
            )
        self.segmenter_config, self.data_config, self.close_up = segmenter, training_data, close_up or {}
        checked({**segmenter, **self.close_up}, lambda option: f"train_segmenter.close_up.{option}")
        sizes = {"image_size": "train_segmenter.crop"}
        checked({**segmenter, "image_size": crop}, lambda option: sizes.get(option, f"segmenter.{option}"))
        self.workers = workers
        self.crop_options: dict[str, Any] = {
            "size": crop,
            "min_side": min_crop,
            "max_side": max_crop,
            "stretch": stretch,
        }
        self.batch_options: dict[str, Any] = {
            "prompts": prompts,
            "batch": batch,
            "plurals": plurals,
            "relight": relight,
        }
        self.synonyms, self.balance, self.steps, self.rate, self.decay = synonyms, balance, steps, rate, decay

    @property
    def max_epochs(self) -> int:  # type: ignore[override]
        """Number of epochs of `EPOCH_STEPS` steps that contain at least `steps`."""
        return -(-self.steps // EPOCH_STEPS)

    def prepare(self) -> None:
        """Open the training data; build the segmenter with random weights."""
        self.training_data: SegmentationDataset = build(self.data_config)
        self.words = self.training_data.vocabulary(self.folder.parent)
        self.negative_words = self.training_data.negative_words
        if self.batch_options["prompts"] <= bool(self.negative_words):
            raise BadInput(
                "expected train_segmenter.prompts of at least 2, a word and a negative one, or 1 without negatives."
            )
        self.segmenter = build(self.segmenter_config, weights=None, image_size=self.crop_options["size"])
        self.segmenter.to(memory_format=torch.channels_last)
        self.segmenter.vocabulary = self.words
        meanings = [*self.words.values(), *([negative] for negative in self.negative_words)]
        pairs = [(form, index) for index, names in enumerate(meanings) for n in names for form in (n, plural(n))]
        self.names, self.meaning = [form for form, _ in pairs], torch.tensor([index for _, index in pairs])

    def datamodule(self) -> WorkData:
        batches = SampleBatches(
            self.training_data.train(self.folder.parent),
            self.words,
            self.negative_words,
            **self.crop_options,
            **self.batch_options,
            batches=self.max_epochs * EPOCH_STEPS,
            seed=self.seed,
        )
        return WorkData(batches, epoch_steps=EPOCH_STEPS, seed=self.seed, workers=min(1, self.workers))

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        """`balanced_loss` with the masks, area-averaged to the maps' resolution, plus the weighted `synonym_loss`.

        Maps alone train the text tower slowly: a network first learns where any part is, whatever the word.
        """
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        logits = self.segmenter(images, batch["prompts"]).float()
        targets = resize_mean(batch["targets"], *logits.shape[-2:])
        maps = balanced_loss(logits, targets, self.balance)
        self.log("loss", maps, prog_bar=True)
        if not self.synonyms:
            return maps
        words = synonym_loss(self.segmenter.text(self.names).float(), self.meaning.to(logits.device))
        self.log("loss_words", words, prog_bar=True)
        return maps + self.synonyms * words

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle cosine schedule (Smith & Topin, "Super-Convergence", 2018)."""
        optimiser = torch.optim.AdamW(self.segmenter.parameters(), lr=self.rate, weight_decay=self.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.rate, total_steps=self.max_epochs * EPOCH_STEPS, pct_start=WARM_UP
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def finish(self) -> None:
        """Save the weights, and score the saved ones."""
        self.metrics: dict[str, dict[str, float | None]] = {}
        weights = self.folder / "model.safetensors"
        self.segmenter.save(weights)
        sizes = {"close": self.close_up, "whole": {}}
        tests = self.training_data.test(self.folder.parent)
        rows = []
        for part, options in sizes.items():
            saved = build(self.segmenter_config, weights=str(weights), **options)
            samples = [sample for sample in tests if (sample.subject == WHOLE) == (part == "whole")]
            self.metrics[part] = self._scores(saved, samples)
            rows += [self._example(saved, sample) for sample in evenly_spaced(samples, EXAMPLE_PHOTOS)]
        write_json(self.folder / METRICS, self.metrics)
        save_picture(self.folder / EXAMPLES, grid(rows))

    def summary(self) -> dict[str, Any]:
        return {part: scores["mean"] for part, scores in self.metrics.items()}

    def _scores(self, segmenter: Any, samples: Sequence[MaskedSample]) -> dict[str, float | None]:
        """Average precision of each concept, averaged over the photos that show it, and their "mean"."""
        found: dict[str, list[float]] = {concept: [] for concept in self.words}
        for sample in samples:
            pixels = sample.image()
            for concept, probability in zip(self.words, self._maps(segmenter, pixels), strict=True):
                truth = sample.mask(concept, *pixels.shape[:2])
                if truth.any():
                    found[concept].append(average_precision(probability, truth))
        means = {concept: mean_defined(values) for concept, values in found.items()}
        means["mean"] = mean_defined(means.values())
        return {concept: None if np.isnan(value) else round(value, 4) for concept, value in means.items()}

    def _maps(self, segmenter: Any, pixels: np.ndarray) -> np.ndarray:
        """Probabilities of the concepts in a photo [H, W, 3], uint8 [P, H, W] of 255, as `segment` stores them."""
        images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            logits = segmenter.decode(segmenter.encode(images), list(self.words))
        return np.round(resized_probabilities(logits[0], *pixels.shape[:2])[0].numpy() * 255).astype(np.uint8)

    def _example(self, segmenter: Any, sample: MaskedSample) -> list[np.ndarray]:
        """Pictures uint8 [H, W, 3]: the photo, then each concept's map with the ground truth outlined."""
        pixels = sample.image()
        truths = [sample.mask(concept, *pixels.shape[:2]) for concept in self.words]
        maps = [overlay(pixels, probability / 255) for probability in self._maps(segmenter, pixels)]
        return [pixels, *(outline(drawn, truth) for drawn, truth in zip(maps, truths, strict=True))]


def balanced_loss(logits: Tensor, targets: Tensor, power: float) -> Tensor:
    """Binary cross-entropy, a scalar, averaged over each word's pixels, then over words weighted by rarity.

    A word whose targets cover a fraction s of the pixels has weight max(s, `MIN_CONCEPT_SHARE`) ** -power; the weights
    are normalised to mean 1. Power 0 gives the plain mean. Near 0.5 all words contribute about the same at the start of
    training, when a network has learnt no more than their frequencies.

    Args:
        logits, targets: [B, P, h, w], targets in [0, 1].
    """
    errors = binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=(0, 2, 3))
    weight = targets.mean(dim=(0, 2, 3)).clamp(min=MIN_CONCEPT_SHARE) ** -power
    return (errors * weight / weight.mean()).mean()


def synonym_loss(embedding: Tensor, meaning: Tensor) -> Tensor:
    """Supervised contrastive loss of words by meaning, a scalar (Khosla et al., 2020, eq. 2).

    embedding: [N, D], of any norm. meaning: [N], index of each word's meaning; a word without a synonym is only a
    negative of others.
    """
    unit = normalize(embedding, dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    likelihood = (unit @ unit.T / SYNONYM_TEMPERATURE).masked_fill(itself, -torch.inf).log_softmax(dim=1)
    same = (meaning[:, None] == meaning) & ~itself
    synonyms = same.sum(dim=1)
    return -(likelihood.masked_fill(~same, 0).sum(dim=1) / synonyms.clamp(min=1))[synonyms > 0].mean()


def evenly_spaced(samples: Sequence[MaskedSample], count: int) -> list[MaskedSample]:
    """At most `count` samples, evenly spaced."""
    picks = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return [samples[pick] for pick in picks]
