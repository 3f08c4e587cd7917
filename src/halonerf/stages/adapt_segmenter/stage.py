"""adapt_segmenter: teacher-student adaptation of a segmenter to distant views by close-ups, without masks.

model.safetensors or model/   the adapted segmenter, for segmenter.weights=…
scores.csv                    method (base, adapted), landmark, concept, ap, photos, ap_small, small
metrics.json                  means, and the validation after every epoch
examples.png                  photos of test landmarks: photo, base, adapted; ground truth outlined
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from halonerf.config.option_types import (
    Component,
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    Pixels,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Text,
)
from halonerf.data.collection import Collection
from halonerf.data.formats.names import EXAMPLES, METRICS
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_csv, write_json
from halonerf.pipeline.datamodule import WorkData
from halonerf.pipeline.optim import adamw
from halonerf.pipeline.stage import Stage
from halonerf.pipeline.validation import checked
from halonerf.protocols import TaughtSegmenter, TrainableSegmenter
from halonerf.stages.adapt_segmenter.dataset import (
    AdaptationBatches,
    group_targets,
    read_landmark_targets,
    read_original_targets,
    unpaired_photos,
)
from halonerf.stages.adapt_segmenter.losses import (
    DEFAULT_WEIGHTS,
    LossWeights,
    TeacherStudentLosses,
    batches_by_size,
    set_trainable,
)
from halonerf.stages.adapt_segmenter.scoring import (
    LandmarkEvaluation,
    concept_means,
    example_rows,
    mean_ap,
    score_methods,
)
from halonerf.stages.specs import AdaptSegmenterSpec
from halonerf.visualization.pictures import grid, save_picture

SCORE_COLUMNS = ("method", "landmark", "concept", "ap", "photos", "ap_small", "small")
EXAMPLE_PHOTOS = 3  # of each test landmark in the picture


class AdaptSegmenter(AdaptSegmenterSpec, Stage):
    """Adapt a segmenter by four weighted losses after HaLo-NeRF; the teacher is the segmenter before adaptation.

    Args:
        segmenter: config of a `TrainableSegmenter`.
        teacher: options of the segmenter that differ for the teacher on crops.
        retriever: config of a retriever that ranks candidate crops; None: the teacher's confidence does.
        landmarks: name to scene config, to learn from; none: the scene itself.
        validation: name to scene config, with masks: the best epoch there is kept; none: the last one is.
        test: name to scene config, with masks: base and adapted are scored there at the end.
        original: folder of further targets in the original's published layout; original_table: its CSV.
        words: prompts for all photos besides their labels; None: the labels of all landmarks.
        losses: weights of `warped` (targets from close-ups), `entropy` (of the maps of a photo's labels), `crop` (with
            the teacher on the best of `candidates` random crops), `detail` (with the teacher on crops fixed per photo).
        consensus: weight of the teacher's map of the whole photo relative to a close-up (`target_loss`); 0: none.
        candidates, detail_crops: number of crops. crop_sides: smallest and largest, as fractions of the short side.
        target_share: fraction of a batch's photos that have targets.
        plurals: fraction of the prompts in the plural. relight: of the student's photos with augmented lighting.
        size: px, maximum long side of the photos. batch: photos per step. prompts: minimum number per step.
        epochs, epoch_steps: of training. rate: peak learning rate, reached after the fraction `warm_up` of all steps;
            then the `schedule` "cosine" (to zero) or "constant". decay: weight decay.
        patience: epochs without a better validation before training stops; 0: never.
        update_batchnorm: whether batch norms update their statistics.
        max_scored_photos: per validation or test landmark; None: all.
        min_confidence: in [0, 1]; distilled labels of lower confidence are dropped.
        workers: processes that load data.
        threads: of PyTorch; 0: its default.
    """

    def __init__(
        self,
        segmenter: Component,
        teacher: Mapping[str, Any] | None = None,
        retriever: Component | None = None,
        landmarks: Mapping[str, Component] | None = None,
        validation: Mapping[str, Component] | None = None,
        test: Mapping[str, Component] | None = None,
        original: str | None = None,
        original_table: str | None = None,
        words: Sequence[Text] | None = None,
        losses: Mapping[str, NonNegativeFloat] = DEFAULT_WEIGHTS,
        consensus: NonNegativeFloat = 2.0,
        candidates: PositiveInt = 2,
        detail_crops: PositiveInt = 4,
        crop_sides: Sequence[PositiveFraction] = (0.3, 0.6),
        target_share: Fraction = 1.0,
        plurals: Fraction = 0.5,
        relight: Fraction = 0.5,
        size: Pixels = 500,
        batch: PositiveInt = 8,
        prompts: PositiveInt = 6,
        epochs: PositiveInt = 10,
        epoch_steps: PositiveInt = 25,
        rate: PositiveFloat = 3e-4,
        schedule: Literal["cosine", "constant"] = "cosine",
        warm_up: Fraction = 0.1,
        decay: NonNegativeFloat = 0.01,
        patience: NonNegativeInt = 0,
        update_batchnorm: bool = False,
        max_scored_photos: PositiveInt | None = None,
        min_confidence: Fraction = 0.0,
        workers: NonNegativeInt = 1,
        threads: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.threads = threads
        self.segmenter_config, self.teacher_options, self.retriever_config = segmenter, teacher or {}, retriever
        if teacher:
            checked({**segmenter, **teacher}, lambda option: f"adapt_segmenter.teacher.{option}")
        self.landmarks, self.validation, self.test = landmarks or {}, validation or {}, test or {}
        self.original, self.original_table, self.words = original, original_table, words
        self.weights = LossWeights.of(losses)
        self.consensus, self.candidates = consensus, candidates
        self.detail_crops, self.crop_sides = detail_crops, tuple(crop_sides)
        self.target_share, self.plurals, self.relight = target_share, plurals, relight
        self.size, self.batch, self.prompts, self.min_confidence = size, batch, prompts, min_confidence
        self.max_epochs, self.epoch_steps = epochs, epoch_steps
        self.rate, self.schedule, self.warm_up, self.decay, self.patience = rate, schedule, warm_up, decay, patience
        self.update_batchnorm, self.max_scored_photos, self.workers = update_batchnorm, max_scored_photos, workers
        self.history: list[float] = []  # validation before the first epoch and after each

    def prepare(self) -> None:
        landmarks = list(self.landmarks) or [""]
        unpaired = unpaired_photos(self.inputs, landmarks, self.words, self.min_confidence)
        targets = read_landmark_targets(self.inputs, landmarks) if self.weights.warped else []
        targets += read_original_targets(self.original, self.original_table)
        if not unpaired and not targets:
            raise BadInput(
                "expected photos with a distilled label to adapt with, found none in "
                f"{', '.join(self.landmarks) or 'the scene'}.\n"
                "Set prompts for all photos with: adapt_segmenter.words=[portal,window]"
            )
        if not targets and not any(self.weights[name] for name in ("entropy", "crop", "detail")):
            raise BadInput(
                "expected targets from close-ups, found none: no photo is a close-up of a part of another.\n"
                "Find more pairs with mine.min_ratio=1.2 or another miner=…, or learn from crops with "
                "adapt_segmenter.losses.crop=1"
            )
        paired = group_targets(targets)
        words = self.words or sorted({label for photo in [*unpaired, *paired] for label in photo.labels})
        self.batches = AdaptationBatches(
            unpaired,
            paired,
            target_share=self.target_share,
            words=words,
            prompts=self.prompts,
            batch=self.batch,
            plurals=self.plurals,
            relight=self.relight,
            size=self.size,
            crop_sides=(self.crop_sides[0], self.crop_sides[1]),
            candidates=self.candidates if self.weights.crop else 0,
            details=self.detail_crops if self.weights.detail else 0,
            batches=self.max_epochs * self.epoch_steps,
            seed=self.seed,
        )
        self.segmenter = build(self.segmenter_config)
        if not isinstance(self.segmenter, TrainableSegmenter):
            raise BadInput(
                f"expected a segmenter that can be trained, got {type(self.segmenter).__name__}.\n"
                "Choose one that can: segmenter=timm_text or segmenter=clipseg"
            )
        if isinstance(self.segmenter, TaughtSegmenter):
            self.segmenter.add_words(words)
        base = build(self.segmenter_config).requires_grad_(False).eval()
        teacher = base
        if self.teacher_options:
            teacher = build(self.segmenter_config, **self.teacher_options).requires_grad_(False).eval()
        retriever = build(self.retriever_config) if self.retriever_config else None
        self.losses = TeacherStudentLosses(
            self.weights, base, teacher, retriever, self.consensus, self.candidates if self.weights.crop else 0
        )
        self.evaluations = {part: self._evaluations(part) for part in ("validation", "test")}
        self.counts = {"photos": len(unpaired), "photos_with_targets": len(paired), "targets": len(targets)}
        self._freeze()
        if self.evaluations["validation"]:
            self.history.append(self._validate())

    def datamodule(self) -> WorkData:
        return WorkData(self.batches, self.epoch_steps, seed=self.seed, workers=min(1, self.workers))

    def configure_optimizers(self) -> Any:
        steps = self.max_epochs * self.epoch_steps // max(1, self.trainer.accumulate_grad_batches)
        return adamw(self.segmenter.parameters(), self.rate, self.decay, self.warm_up, self.schedule, steps)

    def on_fit_start(self) -> None:
        self.losses.to(self.device)

    def on_train_epoch_start(self) -> None:
        self._freeze()  # Lightning puts every module in training mode

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        sums: dict[str, Any] = {}
        for group in batches_by_size(batch):
            share = len(group) / len(batch["photos"])
            for name, value in self.losses.losses(self.segmenter, group, batch["prompts"]).items():
                sums[name] = sums.get(name, 0.0) + share * value
        total = torch.stack([self.weights[name] * value for name, value in sums.items()]).sum()
        self.log_dict({"loss": total, **{f"loss_{name}": value for name, value in sums.items()}}, prog_bar=True)
        return total

    def on_train_epoch_end(self) -> None:
        """Validate; save the weights if they are the best so far. Without validation the last ones are saved."""
        if not self.evaluations["validation"]:
            self.segmenter.save(self.model_path)
            return
        score = self._validate()
        self.log("validation", score, prog_bar=True)
        if score > max(self.history):
            self.segmenter.save(self.model_path)
        self.history.append(score)
        if self.patience and len(self.history) - 1 - int(np.argmax(self.history)) >= self.patience:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])

    def finish(self) -> None:
        """Score the kept weights; those before adaptation where no epoch was better."""
        if not self.model_path.exists():
            build(self.segmenter_config).save(self.model_path)
        methods = {
            "base": self.losses.base.cpu(),
            "adapted": build(self.segmenter_config, weights=str(self.model_path)).eval(),
        }
        rows, self.figures = score_methods(self.evaluations["test"], methods)
        write_csv(self.folder / "scores.csv", SCORE_COLUMNS, rows)
        write_json(self.folder / METRICS, {**self.figures, "validation": self.history})
        if examples := example_rows(self.evaluations["test"], tuple(methods.values()), EXAMPLE_PHOTOS):
            save_picture(self.folder / EXAMPLES, grid(examples))

    def summary(self) -> dict[str, Any]:
        scores = self.history
        best = {"validation_base": scores[0], "validation_best": max(scores)} if scores else {}
        return {**self.counts, **best, **self.figures}

    @property
    def model_path(self) -> Path:
        """Path of the adapted weights."""
        return self.folder / self.segmenter.weights_name

    def _evaluations(self, part: str) -> list[LandmarkEvaluation]:
        landmarks = self.validation if part == "validation" else self.test
        return [
            LandmarkEvaluation.open(
                name, Collection.read(self.inputs[f"{part}:{name}/collect"]), self.max_scored_photos, self.size
            )
            for name in landmarks
        ]

    def _validate(self) -> float:
        self.segmenter.eval()
        rows = [
            row for landmark in self.evaluations["validation"] for row in landmark.scores(self.segmenter, self.device)
        ]
        self._freeze()
        return mean_ap(concept_means(rows))

    def _freeze(self) -> None:
        set_trainable(self.segmenter, self.update_batchnorm)
