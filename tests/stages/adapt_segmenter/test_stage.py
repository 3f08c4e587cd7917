"""Adaptation: its losses one by one, and the stage on a world of red and blue, where the answer is known."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from halonerf.data.collection import write_collection
from halonerf.data.formats.target_maps import write_target_map, write_target_photo, write_targets
from halonerf.data.labels.table import write_labels
from halonerf.errors import BadInput
from halonerf.pipeline.spec import StageSource
from halonerf.stages.adapt_segmenter.losses import (
    DEFAULT_WEIGHTS,
    CropComparison,
    LossWeights,
    PhotoBatch,
    batches_by_size,
    best_crop_loss,
    compare_crop,
    crop_loss,
    self_entropy,
    set_trainable,
    target_loss,
)
from halonerf.stages.adapt_segmenter.scoring import concept_means, mean_ap
from halonerf.stages.adapt_segmenter.stage import AdaptSegmenter
from halonerf.types import ImageRecord, PseudoLabel

pytestmark = pytest.mark.usefixtures("one_thread")


class Gauge(nn.Module):
    """A segmenter that weighs red, green and blue of each 4 x 4 px block; it knows nothing at first, or "red"."""

    weights_name = "model.safetensors"

    shared_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, weights: str | None = None, trainable: Sequence[str] = ("head",), steps: int = 4) -> None:
        super().__init__()
        self.trainable, self.steps = trainable, steps
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Conv2d(3, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if weights == "red":
            with torch.no_grad():
                self.head.weight[0, :, 0, 0] = torch.tensor([20.0, 0.0, -20.0])
        elif weights:
            self.load_state_dict(load_file(weights))

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        return {"blocks": nn.functional.avg_pool2d(images, self.steps, ceil_mode=True)}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        return self.head(encoded["blocks"]).expand(-1, len(prompts), -1, -1)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.decode(self.encode(images), prompts)

    def save(self, path: Path) -> None:
        save_file(self.state_dict(), path)


class Reddest:
    """A retriever that likes red crops best, whatever the word."""

    def embed_images(self, images: Tensor) -> Tensor:
        return images[:, :1].mean(dim=(2, 3))

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.ones(len(texts), 1)


GAUGE: dict[str, Any] = {"_target_": f"{__name__}.Gauge", "weights": None, "trainable": ["head"]}


def photo(red_left: bool, height: int = 24, width: int = 32) -> np.ndarray:
    """Half red, half blue."""
    pixels = np.tile(np.array([40, 40, 220], np.uint8), (height, width, 1))
    half = slice(0, width // 2) if red_left else slice(width // 2, width)
    pixels[:, half] = (220, 40, 40)
    return pixels


def write_landmark(folder: Path, name: str, masks: bool) -> None:
    """A finished `collect`: six photos in two sizes, each labelled "portal"."""
    names = [f"{i}.png" for i in range(6)]
    (folder / "photos").mkdir(parents=True)
    for index, image_id in enumerate(names):
        pixels = photo(index % 2 == 0, height=24 if index % 3 else 20)
        Image.fromarray(pixels).save(folder / "photos" / image_id)
        if masks:
            (folder / "masks" / "portal").mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels[..., 0] > 128).astype(np.uint8) * 255).save(folder / "masks" / "portal" / image_id)
    records = [ImageRecord(image_id, landmark=name) for image_id in names]
    write_collection(folder, name, "photos", records, masks="masks" if masks else None, concepts=("portal",))


def write_world(root: Path) -> dict[str, Path]:
    """Inputs: a landmark to learn from, with targets that call red a portal; one to validate, one to test."""
    inputs = {f"a/{stage}": root / "a" / stage for stage in ("collect", "distill", "targets")}
    inputs |= {"validation:v/collect": root / "v", "test:t/collect": root / "t"}
    write_landmark(inputs["a/collect"], "a", masks=False)
    write_landmark(root / "v", "v", masks=True)
    write_landmark(root / "t", "t", masks=True)
    inputs["a/distill"].mkdir()
    labels = [PseudoLabel(f"{i}.png", "portal" if i < 4 else "", 0.9) for i in range(6)]
    write_labels(inputs["a/distill"] / "labels.csv", labels)
    rows = []
    for part in ("photos", "maps"):
        (inputs["a/targets"] / part).mkdir(parents=True)
    for index in range(4):
        pixels = photo(index % 2 == 0)
        write_target_photo(inputs["a/targets"] / "photos" / f"{index}.jpg", pixels)
        red = pixels[..., 0] > 128
        region = np.zeros_like(red)
        region[4:20, 8:24] = True
        write_target_map(inputs["a/targets"] / "maps" / f"{index}.npz", np.where(red, 0.95, 0.05), region)
        rows.append(
            {"photo": f"{index}.jpg", "label": "portal", "map": f"{index}.npz", "close_up": "c", "kind": "positive"}
            | {"quality": 1}
        )
    write_targets(inputs["a/targets"], rows)
    return inputs


SCENES: dict[str, Any] = {"landmarks": {"a": {}}, "validation": {"v": {}}, "test": {"t": {}}}
QUICK: dict[str, Any] = {
    "batch": 4, "epochs": 3, "epoch_steps": 20, "rate": 0.1, "size": 32, "workers": 0, "relight": 0.0, "decay": 0.0,
    "losses": {"warped": 1.0, "crop": 0.0}, "consensus": 0.0,
}  # fmt: skip


def adapt(folder: Path, inputs: dict[str, Path], stop_after: int | None = None, **options: Any) -> AdaptSegmenter:
    """Run the stage, from its checkpoint where there is one; the last epoch is not reached with `stop_after`."""
    torch.manual_seed(0)
    stage = AdaptSegmenter(**{"segmenter": GAUGE, **SCENES, **QUICK, **options})
    folder.mkdir(exist_ok=True)
    stage.bind(folder, inputs, seed=0)
    stage.prepare()
    last = folder / "last.ckpt"
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=stop_after or stage.max_epochs, logger=False, enable_progress_bar=False,
        callbacks=[ModelCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)],
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(stage, datamodule=stage.datamodule(), ckpt_path=last if last.is_file() else None, weights_only=True)
    if stop_after is None:
        stage.finish()
    return stage


def test_targets_from_close_ups_teach_what_a_word_means(tmp_path: Path):
    stage = adapt(tmp_path / "out", write_world(tmp_path))
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["base_ap"] == pytest.approx(0.5, abs=0.01)  # knows nothing: half of the pixels are red
    assert figures["adapted_ap"] > 0.99
    assert figures["validation"][0] == pytest.approx(0.5, abs=0.01)
    assert stage.summary()["targets"] == 4
    with open(tmp_path / "out" / "scores.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["landmark"], row["concept"]) for row in rows] == [
        ("base", "t", "portal"), ("adapted", "t", "portal")
    ]  # fmt: skip
    assert (tmp_path / "out" / "examples.png").is_file()


def test_crops_teach_what_the_teacher_finds_enlarged(tmp_path: Path):
    """The student starts from nothing, its teacher knows red: only the crops can tell."""
    figures = {}
    for name, losses in {"crop": {"warped": 0, "crop": 1}, "detail": {"warped": 0, "crop": 0, "detail": 1}}.items():
        inputs = write_world(tmp_path / name)
        adapt(tmp_path / name / "out", inputs, losses=losses, teacher={"weights": "red"})
        figures[name] = json.loads((tmp_path / name / "out" / "metrics.json").read_text())["adapted_ap"]
    assert min(figures.values()) > 0.99


def test_an_interrupted_adaptation_ends_as_an_uninterrupted_one(tmp_path: Path):
    inputs = write_world(tmp_path)
    losses = {"warped": 1, "crop": 1, "entropy": 0.1}
    adapt(tmp_path / "whole", inputs, losses=losses, relight=0.5)
    adapt(tmp_path / "cut", inputs, losses=losses, relight=0.5, stop_after=2)
    adapt(tmp_path / "cut", inputs, losses=losses, relight=0.5, workers=1)  # a worker reads ahead from the right epoch
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value)
    ends = [json.loads((tmp_path / name / "metrics.json").read_text())["validation"] for name in ("whole", "cut")]
    assert ends[0] == pytest.approx(ends[1])
    assert len(ends[0]) == 4


def test_an_epoch_that_is_not_better_is_not_kept(tmp_path: Path):
    """Targets that call blue a portal: no epoch beats a base that knows better."""
    inputs = write_world(tmp_path)
    for path in (inputs["a/targets"] / "maps").iterdir():
        with np.load(path) as stored:
            write_target_map(path, 1 - stored["probability"] / 255, stored["region"])
    stage = adapt(tmp_path / "out", inputs, segmenter={**GAUGE, "weights": "red"}, patience=1)
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["base_ap"] == figures["adapted_ap"] > 0.99
    assert stage.summary()["validation_best"] == figures["validation"][0]
    assert len(figures["validation"]) == 2  # patience of one epoch


def test_frozen_parts_stay_as_they_were(tmp_path: Path):
    stage = adapt(tmp_path / "out", write_world(tmp_path))
    fresh = Gauge()
    assert torch.equal(stage.segmenter.norm.weight, fresh.norm.weight)
    assert torch.equal(stage.segmenter.norm.running_mean, fresh.norm.running_mean)
    assert not torch.equal(stage.segmenter.head.weight, fresh.head.weight)


def test_batch_norms_update_statistics_only_on_request():
    gauge = Gauge(trainable=("norm", "head"))
    set_trainable(gauge)
    assert not gauge.norm.training
    assert gauge.norm.weight.requires_grad
    set_trainable(gauge, update_batchnorm=True)
    assert gauge.norm.training
    with pytest.raises(BadInput, match="decoder"):
        set_trainable(Gauge(trainable=("decoder",)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"losses": {"wrapped": 1.0}}, "wrapped"),
        ({"losses": {"warped": 0.0, "crop": 0.0}}, "one above 0"),
        ({"segmenter": {"_target_": "halonerf.segmenters.Masks", "path": "."}}, "can be trained"),
        ({"original": "data"}, "original_table"),
    ],
)
def test_invalid_options_are_refused(tmp_path: Path, options: dict[str, Any], words: str):
    inputs = write_world(tmp_path)
    with pytest.raises(BadInput, match=words):
        adapt(tmp_path / "out", inputs, **options)


def test_without_targets_a_crop_loss_is_needed(tmp_path: Path):
    inputs = write_world(tmp_path)
    write_targets(inputs["a/targets"], [])
    with pytest.raises(BadInput, match=r"adapt_segmenter\.losses\.crop=1"):
        adapt(tmp_path / "out", inputs)


def test_photos_without_labels_need_words(tmp_path: Path):
    inputs = write_world(tmp_path)
    write_labels(inputs["a/distill"] / "labels.csv", [PseudoLabel(f"{i}.png", "") for i in range(6)])
    crops = {"losses": {"warped": 0, "crop": 1}}
    with pytest.raises(BadInput, match=r"adapt_segmenter\.words"):
        adapt(tmp_path / "out", inputs, **crops)
    stage = adapt(tmp_path / "out", inputs, **crops, words=["portal"], teacher={"weights": "red"})
    assert stage.summary()["photos"] == 6


def test_required_stages_depend_on_the_losses():
    config = {"losses": {"warped": 1}, "landmarks": {"a": {"x": 1}}, "test": {"t": {"y": 2}}}
    assert AdaptSegmenter.requires(config) == ()
    assert AdaptSegmenter.sources(config) == {
        "a": StageSource({"x": 1}, ("collect", "distill", "ingest", "targets")),
        "test:t": StageSource({"y": 2}, ("collect",)),
    }  # fmt: skip
    assert AdaptSegmenter.sources(config | {"losses": {"warped": 0}})["a"].stages == ("collect", "distill")
    assert AdaptSegmenter.requires({"losses": {"warped": 0, "crop": 1}}) == ("collect", "distill", "ingest")
    assert AdaptSegmenter.requires({}) == ("collect", "distill", "ingest", "targets")


def test_a_target_counts_only_inside_its_region():
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    votes = torch.zeros(1, 2, 8, 8)
    votes[0, 0, :, :4] = 2
    loss = target_loss(logits, 5.0 * votes, votes, None, 0.0)
    assert loss.item() == pytest.approx(np.log(2))
    loss.backward()
    assert (logits.grad[0, 0, :, :2] < 0).all()
    assert not logits.grad[0, 0, :, 2:].any()
    assert not logits.grad[0, 1].any()
    assert target_loss(logits, votes, torch.zeros_like(votes), None, 0.0).item() == 0


def test_the_consensus_averages_close_ups_and_the_whole_photo():
    """Two close-ups say +2, the whole, which counts twice, -1; where there is no close-up the whole decides."""
    votes, whole = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), -1.0)
    votes[..., :2] = 2
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    target_loss(logits, 2.0 * votes, votes, whole, 2.0).backward()
    slope = logits.grad[0, 0] * 16  # of the mean cross-entropy: probability minus target
    expected = 0.5 - torch.sigmoid(torch.tensor([(2 * 2.0 - 2 * 1.0) / 4, -1.0]))
    torch.testing.assert_close(slope[:, 0], expected[0].expand(4))
    torch.testing.assert_close(slope[:, 3], expected[1].expand(4))


def test_entropy_is_of_own_words_and_falls_with_certainty():
    logits = torch.stack([torch.zeros(3, 3), torch.full((3, 3), 9.0)])[None]
    assert self_entropy(logits, torch.tensor([[True, False]])).item() == pytest.approx(np.log(2))
    assert self_entropy(logits, torch.tensor([[False, True]])).item() < 0.01
    assert self_entropy(logits, torch.tensor([[False, False]])).item() == 0


def test_the_teacher_sees_the_same_place_as_the_student():
    """A teacher and a student that are one linear filter agree exactly, wherever the crop is."""
    gauge = Gauge(weights="red")
    photos = torch.rand(2, 3, 40, 64, generator=torch.Generator().manual_seed(0))
    logits = gauge(photos, ["portal"])
    for place in ((0.0, 0.0, 0.5), (1.0, 1.0, 0.5), (0.37, 0.61, 0.3)):
        seen = compare_crop(gauge, photos, ["portal"], logits, torch.tensor([place, place]))
        torch.testing.assert_close(seen.target, torch.sigmoid(seen.logits), atol=1e-5, rtol=0)
        assert seen.crops.shape[-1] == seen.crops.shape[-2]


def test_the_best_crop_shows_the_photos_label():
    def seen(level: float) -> CropComparison:
        return CropComparison(torch.zeros(1, 3, 8, 8), torch.full((1, 2, 2, 2), level), torch.zeros(1, 2, 2, 2))

    own = torch.tensor([[True, False]])
    faint, clear = seen(0.1), seen(0.9)
    assert best_crop_loss([faint, clear], own, None) == pytest.approx(crop_loss(clear).item())
    ranks = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    assert best_crop_loss([faint, clear], own, ranks) == pytest.approx(crop_loss(faint).item())


def test_a_retriever_ranks_crops(tmp_path: Path):
    crops = {"losses": {"warped": 0, "crop": 1}, "teacher": {"weights": "red"}}
    stage = adapt(
        tmp_path / "out", write_world(tmp_path), retriever={"_target_": f"{__name__}.Reddest"}, epochs=1, **crops
    )
    batch = stage.batches[0]
    group: PhotoBatch = batches_by_size(batch)[0]
    logits = stage.segmenter(group.augmented, batch["prompts"])
    comparisons = [
        compare_crop(stage.losses.teacher, group.photos, batch["prompts"], logits, crop) for crop in group.crops
    ]
    ranks = stage.losses.ranks(comparisons, batch["prompts"])
    assert torch.allclose(ranks[0][:, 0], comparisons[0].crops[:, 0].mean(dim=(1, 2)))


def test_weights_keep_their_defaults():
    assert LossWeights.of({"crop": 0.5}) == LossWeights(**{**DEFAULT_WEIGHTS, "crop": 0.5})
    assert LossWeights.of({}) == LossWeights(**DEFAULT_WEIGHTS)


def test_means_over_photos_concepts_and_landmarks():
    rows = [
        {"landmark": "a", "concept": "x", "ap": 0.5, "share": 0.5},
        {"landmark": "a", "concept": "x", "ap": 0.7, "share": 0.01},
        {"landmark": "a", "concept": "y", "ap": 0.2, "share": 0.5},
        {"landmark": "b", "concept": "x", "ap": 0.8, "share": 0.001},
    ]
    table = concept_means(rows)
    assert [row["ap"] for row in table] == pytest.approx([0.6, 0.2, 0.8])
    assert mean_ap(table) == pytest.approx((0.4 + 0.8) / 2)
    assert mean_ap(table, "ap_small") == pytest.approx((0.7 + 0.8) / 2)
