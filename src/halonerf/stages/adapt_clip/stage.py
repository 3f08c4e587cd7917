"""adapt_clip: contrastive adaptation of a CLIP model to photos and their pseudo-labels.

    model/         the best epoch's weights in the hub's layout: retriever.weights=<this folder>
    metrics.json   label retrieval on held-out photos: before, after (the kept epoch), every epoch
    curves.png     the loss and those figures over the epochs

`checkpoints/` contain the trainable parameters only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from halonerf.config.option_types import (
    Component,
    Fraction,
    HalfOpenFraction,
    NonNegativeFloat,
    NonNegativeInt,
    Pixels,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Text,
)
from halonerf.data.collection import Collection
from halonerf.data.formats.names import LABELS, METRICS
from halonerf.data.labels.photo_labels import PhotoLabel, label_table, merge_labels, photo_labels, split_photos
from halonerf.data.labels.table import read_labels
from halonerf.data.scene.scene import held_out_photos
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_json
from halonerf.losses import contrastive
from halonerf.metrics import label_retrieval
from halonerf.pipeline.optim import adamw
from halonerf.pipeline.stage import Stage
from halonerf.protocols import Retriever, TrainableRetriever
from halonerf.stages.adapt_clip.batches import LabelBatches, LabelData, PairAugmentation, PhotoBatches
from halonerf.stages.specs import AdaptClipSpec
from halonerf.visualization.pictures import save_picture
from halonerf.visualization.plots import draw_curves

log = logging.getLogger(__name__)

NO_LANDMARKS: Mapping[str, Any] = MappingProxyType({})
TEMPLATES = ("a photo of a {label}", "{label}", "a close-up photo of the {label} of a building")
SELECTION_METRIC = "map"  # whose best epoch is kept: the adapted model ranks crops of photos by a label


class AdaptClip(AdaptClipSpec, Stage):
    """Fit a retriever to the photos and labels of several landmarks.

    Args:
        retriever: config of a `TrainableRetriever`.
        landmarks: scenes to learn from, by name; none: the scene itself.
        validation: scenes to score on, by name, which choose the epoch; none: `heldout` of the training photos.
        heldout: fraction of the photos to score on where there is no `validation`; 0: the last epoch is kept.
        min_confidence: in [0, 1]; labels of lower confidence are dropped.
        weight_by_confidence: whether pairs are weighted by their label's confidence.
        repeated_labels: role of another text in the batch that has a label of the photo: "positive"; "ignore", as for
            texts of related labels ("rose window", "window"); or "negative", for all of them, as in the paper.
        symmetric: whether the loss is from photo to text and from text to photo; else from photo to text only.
        scale: of the cosines; None: the checkpoint's own.
        templates: texts with {label}: one is drawn in training; scores use their mean embedding.
        plurals: fraction of the texts in the plural.
        min_crop: sides of the smallest crop, as a fraction of the photo's. mirror: whether half of them are.
        photo_size: px, short side to which larger photos are downsized when they are read.
        batch: pairs per step, each other's negatives. chunk: photos in the network at once; None: all.
        epochs: maximum number. patience: epochs without a better one before training stops; None: never.
        rate: peak learning rate of AdamW. decay: its weight decay.
        warm_up: fraction of the steps in which the rate rises. schedule: afterwards, "cosine" (to zero) or "constant".
        workers: processes that load photos.
    """

    def __init__(
        self,
        retriever: Component,
        landmarks: Mapping[str, Component] = NO_LANDMARKS,
        validation: Mapping[str, Component] = NO_LANDMARKS,
        heldout: HalfOpenFraction = 0.15,
        min_confidence: Fraction = 0.0,
        weight_by_confidence: bool = True,
        repeated_labels: Literal["positive", "ignore", "negative"] = "positive",
        symmetric: bool = True,
        scale: PositiveFloat | None = None,
        templates: Annotated[Sequence[Text], MinLen(1)] = TEMPLATES,
        plurals: Fraction = 0.25,
        min_crop: PositiveFraction = 0.7,
        mirror: bool = True,
        photo_size: Pixels = 256,
        batch: PositiveInt = 128,
        chunk: PositiveInt | None = None,
        epochs: PositiveInt = 20,
        patience: NonNegativeInt | None = 4,
        rate: PositiveFloat = 2e-4,
        decay: NonNegativeFloat = 0.02,
        warm_up: Fraction = 0.1,
        schedule: Literal["cosine", "constant"] = "cosine",
        workers: NonNegativeInt = 2,
    ) -> None:
        super().__init__()
        if not all("{label}" in template for template in templates):
            raise BadInput(
                f"expected adapt_clip.templates with {{label}} in each, got {list(templates)}.\n"
                "For example: 'adapt_clip.templates=[\"a photo of a {label}\"]'"
            )
        if set(landmarks) & set(validation):
            raise BadInput(
                f"expected adapt_clip.validation to name landmarks that are not trained on, but it shares "
                f"{', '.join(sorted(set(landmarks) & set(validation)))} with adapt_clip.landmarks."
            )
        self.retriever_config, self.landmarks, self.validation = retriever, landmarks, validation
        self.heldout, self.min_confidence, self.weight_by_confidence = heldout, min_confidence, weight_by_confidence
        self.repeated_labels, self.symmetric, self.scale = repeated_labels, symmetric, scale
        self.augmentation = PairAugmentation(templates, plurals, min_crop, mirror, photo_size)
        self.batch, self.chunk, self.max_epochs, self.patience = batch, chunk, epochs, patience
        self.rate, self.decay, self.warm_up, self.schedule, self.workers = rate, decay, warm_up, schedule, workers
        self.strict_loading = False  # checkpoints contain the trainable parameters only
        self.history: list[dict[str, float | None]] = []  # epoch 0: before training
        self._losses: list[float] = []
        self._figures: dict[str, float] = {}

    def prepare(self) -> None:
        rows = [row for name in self.landmarks or [""] for row in self._rows(name)]
        scored = [row for name in self.validation for row in self._rows(name)]
        if not self.validation:
            rows, scored = split_photos(rows, self.heldout, self.seed)
        self.same = merge_labels(row.label for row in [*rows, *scored])
        self.rows, labels = rows, sorted({self.same[row.label] for row in rows})
        if len(labels) < 2:
            raise BadInput(
                f"expected photos of at least two labels to tell apart, got {len(rows)} photos labelled: "
                f"{', '.join(labels) or 'none'}.\nCheck the labels of stage=distill, or add landmarks."
            )
        self.scores = LabelScores(scored, self.same, self.augmentation.templates)
        if not self.scores.photos:
            log.warning("no photos with two labels are left to score on: the last epoch is kept")
        self.retriever: TrainableRetriever = build(self.retriever_config)
        self.train()
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise BadInput(
                "expected a retriever with trainable parameters, but all are frozen.\nTry: retriever.trainable=lora"
            )

    def datamodule(self) -> LabelData:
        batches = LabelBatches(self.rows, self.same, self.batch, self.augmentation, self.max_epochs, self.seed)
        scored = PhotoBatches(self.scores.photos, self.chunk or self.batch, self.augmentation.photo_size)
        self.data = LabelData(batches, scored, self.workers)
        return self.data

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        """The contrastive loss over all pairs of the batch, independent of the chunks in which they are embedded."""
        images, distinct = batch["images"], list(dict.fromkeys(batch["texts"]))
        size = self.chunk or len(images)
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        embed = self.retriever.embed_images
        # recomputed chunk by chunk in the backward pass: the gradients of the whole batch in the memory of a chunk
        photos = torch.cat([checkpoint(embed, p, use_reentrant=False) if len(parts) > 1 else embed(p) for p in parts])
        texts = self.retriever.embed_texts(distinct)[[distinct.index(text) for text in batch["texts"]]]
        itself = torch.eye(len(images), dtype=torch.bool, device=photos.device)
        negative = ~itself if self.repeated_labels == "negative" else ~(batch["positive"] | batch["related"] | itself)
        positive = batch["positive"] | itself if self.repeated_labels == "positive" else itself
        weight = batch["weight"] if self.weight_by_confidence else torch.ones_like(batch["weight"])
        with torch.autocast(photos.device.type, enabled=False):  # cosines need more than bfloat16
            scale = self.scale or self.retriever.scale
            loss = contrastive(photos.float(), texts.float(), positive, negative, weight, scale, self.symmetric)
        if not loss.isfinite():
            raise BadInput(
                f"expected a finite loss in epoch {self.current_epoch}, got {loss.item()}: the fit diverged.\n"
                f"Start again with a lower rate: adapt_clip.rate={self.rate / 10:g}"
            )
        self._losses.append(loss.item())
        self.log("loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def configure_optimizers(self) -> Any:
        steps = self.max_epochs * -(-self.data.batches.steps // self.trainer.accumulate_grad_batches)
        return adamw(self.parameters(), self.rate, self.decay, self.warm_up, self.schedule, steps)

    def on_train_start(self) -> None:
        """Score the model before training, unless the fit is resumed; stop a resumed fit that was done."""
        if self.trainer.world_size > 1:
            raise BadInput(
                f"expected one device, where a batch's pairs are each other's negatives, got {self.trainer.world_size}."
                "\nUse trainer.devices=1 trainer.num_nodes=1, and to save memory adapt_clip.chunk=32"
            )
        if not self.history:
            self.eval()
            with torch.no_grad(), self.trainer.precision_plugin.val_step_context():
                for index, images in enumerate(self.data.val_dataloader()):
                    self.validation_step([image.to(self.device) for image in images], index)
            self.on_validation_epoch_end()
            self.train()
            self._record_epoch(None)
        self._stop_if_stale()

    def validation_step(self, images: Sequence[Tensor], index: int) -> None:
        self.scores.add(self.retriever.embed_images(images))

    def on_validation_epoch_end(self) -> None:
        if self.scores.photos:
            self._figures = self.scores.figures(self.retriever)

    def on_train_epoch_end(self) -> None:
        self._record_epoch(float(np.mean(self._losses)))
        self._losses.clear()
        self._stop_if_stale()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in frozen}
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]

    def pictures(self) -> dict[str, np.ndarray]:
        figures = ("map", "accuracy", "accuracy_per_label") if self.scores.photos else ()
        return {"curves": draw_curves(self.history, ("loss",), figures, self._best())} if self.history else {}

    def finish(self) -> None:
        if not self.scores.photos:
            self.retriever.save(self.folder / "model")
        save_picture(self.folder / "curves.png", self.pictures()["curves"])
        best = self._best()
        before, after = ({k: v for k, v in row.items() if k != "loss"} for row in (self.history[0], self.history[best]))
        self.metrics: dict[str, Any] = {
            "before": before,
            "after": after,
            "epochs": self.history,
            "pairs": len(self.rows),
            "photos_scored": len(self.scores.photos),
            "labels_scored": self.scores.labels if self.scores.photos else [],
        }
        write_json(self.folder / METRICS, self.metrics)

    def summary(self) -> dict[str, Any]:
        before, after = self.metrics["before"], self.metrics["after"]
        figures = (
            {"map_before": before[SELECTION_METRIC], "map_after": after[SELECTION_METRIC]} if self.scores.photos else {}
        )
        return {"pairs": len(self.rows), "kept_epoch": after["epoch"], **figures}

    def _rows(self, landmark: str) -> list[PhotoLabel]:
        """Photos with labels of a landmark; "" is the scene itself, whose held-out photos are left out."""
        collect, distill = (self.inputs[f"{landmark}/{stage}" if landmark else stage] for stage in self.needs)
        collection = Collection.read(collect)
        aside = frozenset() if landmark or "ingest" not in self.inputs else held_out_photos(self.inputs["ingest"])
        predictions = [row for row in read_labels(distill / LABELS) if row.image_id not in aside]
        return photo_labels(collection, predictions, landmark or collection.name, self.min_confidence)

    def _record_epoch(self, loss: float | None) -> None:
        """Append the epoch that has just ended to the history; save the model if it is the best so far."""
        self.history.append({"epoch": len(self.history), "loss": loss, **self._figures})
        if self.scores.photos:
            self.log_dict({f"val_{name}": value for name, value in self._figures.items() if name != "chance"})
            if self._best() == len(self.history) - 1:
                self.retriever.save(self.folder / "model")

    def _best(self) -> int:
        """Number of the epoch that is kept, 0 for the model before training; of equal ones the first."""
        if not self.scores.photos:
            return len(self.history) - 1
        return max(range(len(self.history)), key=lambda epoch: self.history[epoch][SELECTION_METRIC] or 0.0)

    def _stop_if_stale(self) -> None:
        if self.scores.photos and self.patience is not None and len(self.history) - 1 - self._best() >= self.patience:
            self.trainer.should_stop = True


class LabelScores:
    """Label retrieval: accumulates photos' embeddings batch by batch, in order, and scores them against all labels.

    Args:
        rows: photos with labels; with fewer than two labels there is nothing to score, and `photos` and `labels` are
            empty.
        same: each label's representative (`merge_labels`).
        templates: texts with {label}; a label is the mean of its texts' embeddings (Radford et al., 2021, sec. 3.1.4).
    """

    def __init__(self, rows: Sequence[PhotoLabel], same: Mapping[str, str], templates: Sequence[str]) -> None:
        photos, labels, self.shows = label_table(rows, same)
        self.photos, self.labels = (list(photos), list(labels)) if len(labels) > 1 else ([], [])
        self.templates = templates
        self._embeddings: list[Tensor] = []

    def add(self, embeddings: Tensor) -> None:
        """Add the embeddings [B, D] of the next photos."""
        self._embeddings.append(embeddings.detach().float().cpu())

    @torch.no_grad()
    def figures(self, retriever: Retriever) -> dict[str, float]:
        """`label_retrieval` figures of all added photos, whose embeddings are then dropped.

        Raises: BadInput where an embedding is not finite.
        """
        texts = [template.replace("{label}", label) for label in self.labels for template in self.templates]
        labels = retriever.embed_texts(texts).float().cpu().unflatten(0, (len(self.labels), -1)).mean(dim=1)
        similarity = torch.cat(self._embeddings) @ normalize(labels, dim=-1).T
        self._embeddings.clear()
        if not similarity.isfinite().all():
            raise BadInput("expected finite embeddings, got NaN: the weights are damaged, or the fit diverged.")
        return label_retrieval(similarity.numpy(), self.shows)
