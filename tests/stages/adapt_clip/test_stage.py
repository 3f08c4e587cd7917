"""The contrastive stage on coloured photos, with a tiny CLIP from nothing: it learns, keeps the best, resumes."""

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

from halonerf.artifacts import ArtifactStore
from halonerf.errors import BadInput
from halonerf.pipeline.plan import make_plan
from halonerf.retrievers.clip import Clip
from halonerf.stages.adapt_clip.stage import AdaptClip
from helpers.made_labels import COLOURS, write_landmark
from helpers.tiny_clip import write_tiny

pytestmark = pytest.mark.usefixtures("one_thread")

PARTS = list(COLOURS)
LABELS = [*PARTS, "portals", "bell tower"]
SHOWN = [*PARTS, "portal", "tower"]
STEPS = AdaptClip.needs
OPTIONS: dict[str, Any] = {
    "batch": 32,
    "photo_size": 32,
    "templates": ["{label}"],
    "scale": 20.0,
    "rate": 3e-3,
    "warm_up": 0.0,
    "workers": 0,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP and three landmarks; the third has other counts, and photos that say nothing."""
    root = tmp_path_factory.mktemp("labels")
    write_tiny("clip", root / "clip", deviation=None)
    for seed, name in enumerate(("one", "two")):
        write_landmark(root, name, LABELS * 6, SHOWN * 6, seed)
    write_landmark(root, "three", [*PARTS * 4, "", "Portal"], [*PARTS * 4, "dome", "portal"], seed=2)
    return root


def made_stage(made: Path, folder: Path, trainable: str, **options: Any) -> AdaptClip:
    """The stage on the landmarks "one" and "two", scored on "three", unless `options` say otherwise."""
    retriever = {
        "_target_": "halonerf.retrievers.Clip",
        "weights": str(made / "clip"),
        "trainable": trainable,
    }
    places = {"landmarks": {"one": {}, "two": {}}, "validation": {"three": {}}}
    stage = AdaptClip(retriever, **{**places, **OPTIONS, **options})
    folder.mkdir(exist_ok=True)
    others = {f"{name}/{step}": made / name / step for name in [*stage.landmarks, *stage.validation] for step in STEPS}
    stage.bind(folder, {**others, **{step: made / "one" / step for step in STEPS}}, seed=0)
    torch.manual_seed(0)
    return stage


def learn(made: Path, folder: Path, until: int | None = None, trainable: str = "full", **options: Any) -> AdaptClip:
    """Run the stage in `folder`, from its checkpoint if there is one; not to its end where `until` is an epoch."""
    stage = made_stage(made, folder, trainable, **options)
    stage.prepare()
    last = folder / "last.ckpt"
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        max_epochs=until or stage.max_epochs,
        callbacks=[ModelCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)],
    )
    data = stage.datamodule()
    trainer.fit(stage, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    if until is None:
        stage.finish()
    return stage


def test_it_learns_what_another_landmark_shows(made: Path, tmp_path: Path):
    stage = learn(made, tmp_path / "run", epochs=12, patience=None)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["labels_scored"] == sorted(PARTS)
    assert metrics["photos_scored"] == 17  # the one without a label is not
    assert metrics["before"]["accuracy"] < 0.5  # by chance 0.25
    assert metrics["after"]["accuracy"] > 0.9
    assert metrics["after"]["map"] > max(0.9, metrics["before"]["map"] + 0.2)
    assert len(metrics["epochs"]) == 13
    assert stage.summary()["map_after"] == metrics["after"]["map"]
    saved = Clip(str(tmp_path / "run" / "model"), trainable="none")
    with torch.no_grad(), Image.open(made / "three" / "photos" / "é001.png") as photo:
        image = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
        cosines = saved.embed_images([image])[0] @ saved.embed_texts(PARTS).T
    assert PARTS[int(cosines.argmax())] == "dome"
    with Image.open(tmp_path / "run" / "curves.png") as curves:
        assert curves.width > curves.height


def test_low_rank_adapters_learn_too(made: Path, tmp_path: Path):
    stage = learn(made, tmp_path / "run", trainable="lora", epochs=8, rate=2e-2, patience=None)
    assert stage.history[-1]["map"] > stage.history[0]["map"] + 0.1
    assert stage.history[-1]["loss"] < 0.8 * stage.history[1]["loss"]
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    assert state
    assert all(".lora_" in name for name in state), "a checkpoint holds what is learnt alone"


@pytest.mark.parametrize(("trainable", "workers"), [("full", 1), ("lora", 0)])
def test_a_resumed_fit_equals_an_uninterrupted_one(made: Path, tmp_path: Path, trainable: str, workers: int):
    whole = learn(made, tmp_path / "whole", trainable=trainable, epochs=3)
    assert len(learn(made, tmp_path / "cut", until=1, trainable=trainable, epochs=3).history) == 2
    resumed = learn(made, tmp_path / "cut", trainable=trainable, epochs=3, workers=workers)
    assert [row["epoch"] for row in resumed.history] == [0, 1, 2, 3]
    for row, expected in zip(resumed.history, whole.history, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)
    for (name, a), (_, b) in zip(whole.state_dict().items(), resumed.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def test_the_best_epoch_is_kept_and_training_stops_after_patience(made: Path, tmp_path: Path):
    stage = learn(made, tmp_path / "run", epochs=20, rate=0.1, patience=2, schedule="constant")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    kept = metrics["after"]["epoch"]
    maps = [row["map"] for row in metrics["epochs"]]
    assert len(maps) == kept + 3 < 21
    assert maps[kept] == max(maps)
    assert maps.index(maps[kept]) == kept
    again = learn(made, tmp_path / "run", epochs=20, rate=0.1, patience=2, schedule="constant")
    assert again.history == stage.history, "a fit that was killed after it had stopped stays so"
    saved = Clip(str(tmp_path / "run" / "model"), trainable="none").to(stage.device)
    stage.retriever, stage.history = saved, stage.history[:1]
    for index, images in enumerate(stage.datamodule().val_dataloader()):
        stage.validation_step(images, index)
    stage.on_validation_epoch_end()
    assert stage._figures["map"] == pytest.approx(maps[kept])


def test_a_diverging_fit_is_reported(made: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"diverged(.|\n)*adapt_clip.rate=100"):
        learn(made, tmp_path / "run", epochs=5, rate=1000.0)


def test_chunks_do_not_change_the_gradients(made: Path, tmp_path: Path):
    gradients = []
    for chunk in (None, 5):
        stage = made_stage(made, tmp_path, "full", epochs=1, chunk=chunk)
        stage.prepare()
        stage.training_step(stage.datamodule().batches[0], 0).backward()
        gradients.append([p.grad for p in stage.parameters() if p.grad is not None])
    assert max(float(gradient.abs().max()) for gradient in gradients[0]) > 1e-2
    for whole, chunked in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, chunked, atol=1e-5, rtol=1e-4)  # other order of sums


def test_without_validation_held_out_photos_choose_the_epoch(made: Path, tmp_path: Path):
    stage = learn(made, tmp_path / "run", epochs=1, landmarks={}, validation={}, heldout=0.3)
    assert len(stage.scores.photos) == round(0.3 * 36)
    assert not {row.photo for row in stage.rows} & set(stage.scores.photos)
    last = learn(made, tmp_path / "last", epochs=1, heldout=0.0, landmarks={}, validation={})
    assert not last.scores.photos
    assert (tmp_path / "last" / "model" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "last" / "metrics.json").read_text())["after"] == {"epoch": 1}


def test_fewer_than_two_labels_are_refused(made: Path, tmp_path: Path):
    write_landmark(tmp_path, "dull", ["dome", "", "domes"], ["dome"] * 3, seed=0)
    with pytest.raises(BadInput, match=r"at least two labels.*got 2 photos labelled: dome"):
        learn(tmp_path, tmp_path / "run", landmarks={"dull": {}}, validation={})


def test_invalid_options_are_refused():
    with pytest.raises(BadInput, match=r"\{label\} in each"):
        AdaptClip({}, templates=["a photo"])
    with pytest.raises(BadInput, match=r"shares milan"):
        AdaptClip({}, landmarks={"milan": {}, "paris": {}}, validation={"milan": {}})


def test_the_plan_reads_every_landmark(tmp_path: Path):
    scenes = {
        name: {"_target_": "halonerf.data.procedural.ProceduralLandmark", "kind": "mosque", "seed": seed}
        for seed, name in enumerate(("a", "b"))
    }
    stages = {
        "collect": {"_target_": "halonerf.stages.Collect", "scene": scenes["a"]},
        "distill": {
            "_target_": "halonerf.stages.Distill",
            "distiller": {"_target_": "halonerf.distillers.Rules", "vocabulary": None},
        },
        "ingest": {"_target_": "halonerf.stages.Ingest"},
        "adapt_clip": {
            "_target_": "halonerf.stages.AdaptClip",
            "retriever": {"_target_": "halonerf.retrievers.Clip"},
            "landmarks": {"a": scenes["a"]},
            "validation": {"b": scenes["b"]},
        },
    }
    plan = make_plan("adapt_clip", stages, "mosque_seed0", 0, ArtifactStore(tmp_path))
    assert set(plan[-1].inputs) == {"a/collect", "a/distill", "b/collect", "b/distill"}
    stages["adapt_clip"] |= {"landmarks": {}, "validation": {}}
    plan = make_plan("adapt_clip", stages, "mosque_seed0", 0, ArtifactStore(tmp_path))
    assert set(plan[-1].inputs) == {"collect", "distill", "ingest"}, "ingest says which photos are held out"
