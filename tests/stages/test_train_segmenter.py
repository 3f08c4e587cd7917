"""The training stage on coloured blocks: it learns, saves what it scores, and resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from halonerf.data.training.procedural import RenderSettings
from halonerf.errors import BadInput
from halonerf.segmenters.timm_text import TimmText
from halonerf.stages import train_segmenter
from halonerf.stages.train_segmenter import TrainSegmenter, balanced_loss, synonym_loss

pytestmark = pytest.mark.usefixtures("one_thread")

ARCHITECTURE = {"backbone": "lcnet_050", "channels": 16}
SEGMENTER = {
    "_target_": "halonerf.segmenters.TimmText",
    "weights": "offline",
    "image_size": 48,
} | ARCHITECTURE
DATA = {
    "_target_": "halonerf.data.training.ProceduralDataset",
    "words": {"red": ["red"], "blue": ["blue"]},
    "negative_words": ["dog"],
    "kinds": ["block"],
    "buildings": 1,
    "test_buildings": 1,
    "photos": 6,
    "width": 48,
}
OPTIONS = {
    "prompts": 3,
    "batch": 6,
    "crop": 64,  # two by two pixels at the coarsest level: batch statistics of fewer mislead
    "rate": 5e-3,
    "workers": 0,
}


def write_blocks(root: Path, seed: int) -> None:
    """A finished "building": half of each photo is red, half is blue, one in three shows "all of it"."""
    folder = RenderSettings(6, 0.25, 48, 8).folder(root, "block", seed)
    random = np.random.default_rng(seed)
    for index in range(6):
        name = f"{index:03d}_{'whole' if index % 3 == 0 else 'red'}"
        left = np.zeros((36, 48), bool)
        left[:, : random.integers(16, 32)] = True
        left = left if random.random() < 0.5 else ~left
        pixels = np.where(left[..., None], np.array([200, 60, 60]), np.array([60, 60, 200])).astype(np.uint8)
        for concept, mask in (("red", left), ("blue", ~left)):
            (folder / "masks" / concept).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / concept / f"{name}.png")
        (folder / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / f"{name}.jpg", quality=98)


def learn(
    folder: Path, epochs: int, steps: int, finish: bool = True, training_data: dict[str, Any] = DATA, **options: Any
) -> TrainSegmenter:
    """Run the stage in `folder` for `epochs` epochs of those that `steps` make, from its checkpoint if there is one."""
    torch.manual_seed(0)
    stage = TrainSegmenter(segmenter=SEGMENTER, training_data=training_data, steps=steps, **(OPTIONS | options))
    folder.mkdir(exist_ok=True)
    stage.bind(folder, {}, seed=0)
    stage.prepare()
    last = folder / "last.ckpt"
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=epochs,
        callbacks=[ModelCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)],
    )
    data = stage.datamodule()
    trainer.fit(stage, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    if finish:
        stage.finish()
    return stage


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(train_segmenter, "EPOCH_STEPS", 15)
    for seed in (1000, 1001):
        write_blocks(tmp_path / "renders", seed)
    return tmp_path


def test_it_learns_and_scores_the_saved_weights(root: Path):
    stage = learn(root / "run", epochs=6, steps=90)
    metrics = json.loads((root / "run" / "metrics.json").read_text())
    assert set(metrics) == {"close", "whole"}
    assert set(metrics["close"]) == {"red", "blue", "mean"}
    assert metrics["close"]["mean"] > 0.9  # half of each photo is positive: chance is 0.5
    assert stage.summary() == {"close": metrics["close"]["mean"], "whole": metrics["whole"]["mean"]}
    saved = TimmText(weights=str(root / "run" / "model.safetensors"), image_size=48, **ARCHITECTURE)
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(value, stage.segmenter.state_dict()[name], atol=1e-3, rtol=1e-3)  # half precision
    with Image.open(root / "run" / "examples.png") as sheet:
        assert sheet.height == (4 + 2) * 184  # four close-ups and two whole ones, a row each


def test_it_learns_from_photos_with_indexed_masks(root: Path):
    """Portraits and landscapes, numbers for masks: the same stage, another source of training data."""
    folder = root / "häuser"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(8):
        height, width = ((72, 96), (96, 72))[index % 2]
        left = np.arange(width) < random.integers(width // 3, 2 * width // 3)
        left = np.tile(left if random.random() < 0.5 else ~left, (height, 1))
        pixels = np.where(left[..., None], np.array([200, 60, 60]), np.array([60, 60, 200])).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"haus {index}.jpg", quality=98)
        Image.fromarray(np.where(left, 4, 9).astype(np.uint8)).save(folder / f"haus {index}.png")
    source = {
        "_target_": "halonerf.data.sources.IndexedMasks",
        "path": str(folder),
        "classes": {"red": 4, "blue": [9]},
    }
    data = {
        "_target_": "halonerf.data.training.MaskedPhotos",
        "source": source,
        "test_photos": 2,
        "size": 64,
    }
    data["close"] = [0.9, 1.0]
    stage = learn(root / "run", 4, 60, training_data=data, prompts=2, balance=0.5, synonyms=0.0, stretch=0.2)
    metrics = json.loads((root / "run" / "metrics.json").read_text())
    assert set(metrics["whole"]) == {"red", "blue", "mean"}
    assert stage.batch_options["prompts"] == 2  # no negative word takes a place
    assert metrics["whole"]["mean"] > 0.85
    assert metrics["close"]["mean"] > 0.85
    with Image.open(root / "run" / "examples.png") as sheet:
        assert sheet.height == 2 * 2 * 184


def test_close_ups_are_scored_at_their_own_image_size(root: Path, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    real = train_segmenter.build

    def build(config: Any, **extra: Any) -> Any:
        sizes.append(extra.get("image_size"))
        return real(config, **extra)

    monkeypatch.setattr(train_segmenter, "build", build)
    learn(root / "run", epochs=1, steps=1, close_up={"image_size": 96})
    assert sizes[-2:] == [96, None]


def test_the_smallest_crop_is_not_above_the_largest():
    with pytest.raises(BadInput, match="min_crop"):
        TrainSegmenter(segmenter=SEGMENTER, training_data=DATA, min_crop=0.8, max_crop=0.4)


def test_prompts_include_more_than_the_negative_word(root: Path):
    with pytest.raises(BadInput, match="prompts"):
        learn(root / "run", epochs=1, steps=1, prompts=1)


def test_rare_words_weigh_more():
    """Two words, one on a quarter of the pixels, one on 1 %: errors of the second count sqrt(25) times as much."""
    targets = torch.zeros(1, 2, 20, 20)
    targets[0, 0].view(-1)[:100] = 1
    targets[0, 1].view(-1)[:4] = 1
    logits = torch.zeros(1, 2, 20, 20)
    logits[0, 1] = 2.0  # wrong almost everywhere: softplus(2) off the part, softplus(-2) on it
    first = np.log(2)
    second = 0.99 * np.log1p(np.exp(2)) + 0.01 * np.log1p(np.exp(-2))
    assert balanced_loss(logits, targets, 0.0).item() == pytest.approx((first + second) / 2, rel=1e-5)
    assert balanced_loss(logits, targets, 0.5).item() == pytest.approx((first + 5 * second) / 6, rel=1e-5)
    absent = balanced_loss(logits, targets * torch.tensor([1.0, 0.0])[:, None, None], 0.5)
    assert absent.item() == pytest.approx((first + 5 * np.log1p(np.exp(2))) / 6, rel=1e-5)  # no rarer than 1 %


def test_a_resumed_run_equals_an_uninterrupted_one(root: Path):
    whole = learn(root / "whole", epochs=2, steps=30, finish=False)
    learn(root / "cut", epochs=1, steps=30, finish=False)
    assert (root / "cut" / "last.ckpt").is_file()
    resumed = learn(root / "cut", epochs=2, steps=30, finish=False)
    for (name, a), (_, b) in zip(whole.state_dict().items(), resumed.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_words_of_one_meaning_are_pulled_together():
    meaning = torch.tensor([0, 0, 1, 1, 2])
    apart = torch.eye(5)
    together = torch.eye(3)[meaning]
    # all cosines are zero: each friend is one of four others
    assert synonym_loss(apart, meaning).item() == pytest.approx(np.log(4))
    # the friend at cosine 1, three others at 0, temperature 0.1
    assert synonym_loss(3 * together, meaning).item() == pytest.approx(np.log(1 + 3 * np.exp(-10)), abs=1e-6)


def test_epochs_hold_all_steps():
    stage = TrainSegmenter(segmenter=SEGMENTER, training_data=DATA, steps=2001, **OPTIONS)
    assert stage.max_epochs == 21
