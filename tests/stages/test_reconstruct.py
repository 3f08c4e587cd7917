"""The fit: what it leaves on disk, that it learns, and that a resumed fit equals an uninterrupted one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from made_road import write_ingest
from omegaconf import OmegaConf
from PIL import Image

from halonerf.errors import BadInput
from halonerf.stages.build import build
from halonerf.stages.heldout import fit_light
from halonerf.stages.reconstruct import Reconstruct

CONF = Path(__file__).parents[2] / "conf"
FIELD = {"budget": 90, "grow_every": 2, "grow_from": 0.0, "grow_until": 0.9, "grow_floor": 0.0}


def options(**changes: Any) -> dict[str, Any]:
    field = {**OmegaConf.to_container(OmegaConf.load(CONF / "field" / "gaussians.yaml")), **FIELD}
    return {"field": field, "steps": 8, "epoch_steps": 4, "heldout_steps": 3, **changes}


@pytest.fixture
def ingested(tmp_path: Path) -> Path:
    """A tiny scene whose photos are not noise: one smooth picture, brighter from photo to photo."""
    write_ingest(tmp_path / "ingest", 4)
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48))
    picture = np.stack([x, y, 1 - x], axis=-1)
    photos = np.stack([picture * (0.5 + 0.12 * k) * 255 for k in range(4)]).astype(np.uint8)
    (tmp_path / "ingest" / "images.u8").write_bytes(photos.tobytes())
    return tmp_path / "ingest"


def run(stage: Reconstruct, folder: Path, ingested: Path, epochs: int | None = None) -> Reconstruct:
    """Fit as the command line does, perhaps stopping early."""
    folder.mkdir(exist_ok=True)
    stage.bind(folder, {"ingest": ingested}, 0)
    stage.prepare()
    last = folder / "checkpoints" / "last.ckpt"
    keep = ModelCheckpoint(last.parent, "last", enable_version_counter=False, save_on_train_epoch_end=True)
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, callbacks=[keep], max_epochs=epochs or stage.max_epochs,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    resume = last if last.is_file() else None
    trainer.fit(stage, datamodule=stage.datamodule(), ckpt_path=resume, weights_only=True)
    return stage


def test_leaves_a_field_metrics_and_pictures(tmp_path: Path, ingested: Path):
    stage = run(Reconstruct(**options()), tmp_path / "out", ingested)
    stage.finish()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert 5 < metrics["psnr_heldout"] < 60
    assert len(metrics["photos_heldout"]) == 1
    assert len(metrics["photos_train"]) == 3
    assert stage.summary()["psnr_heldout"] == metrics["psnr_heldout"]
    field = build(options()["field"])
    field.load(tmp_path / "out" / "field.safetensors")
    assert field.elements == metrics["elements"] > 60
    pictures = sorted((tmp_path / "out" / "pictures").glob("*.png"))
    assert len(pictures) == 4
    assert np.asarray(Image.open(pictures[0])).shape[1] >= 4 * 64
    assert not (tmp_path / "out" / "field.new").exists()


def test_without_held_out_photos_their_figures_are_null(tmp_path: Path, ingested: Path):
    scene = json.loads((ingested / "scene.json").read_text())
    for view in scene["views"]:
        view["split"] = "train"
    (ingested / "scene.json").write_text(json.dumps(scene))
    run(Reconstruct(**options(steps=4)), tmp_path / "out", ingested).finish()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["psnr_heldout"] is None
    assert metrics["ssim_heldout"] is None
    assert metrics["psnr_train"] > 5


def test_the_loss_falls(tmp_path: Path, ingested: Path):
    few = run(Reconstruct(**options(steps=4)), tmp_path / "few", ingested)
    few.finish()
    many = run(Reconstruct(**options(steps=80, epoch_steps=40)), tmp_path / "many", ingested)
    many.finish()
    assert many.metrics["psnr_train"] > few.metrics["psnr_train"] + 3


def test_a_resumed_fit_equals_an_uninterrupted_one(tmp_path: Path, ingested: Path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = run(Reconstruct(**options()), tmp_path / "whole", ingested)
        run(Reconstruct(**options()), tmp_path / "parts", ingested, epochs=1)
        assert (tmp_path / "parts" / "checkpoints" / "last.ckpt").is_file()
        torch.manual_seed(12345)  # chance elsewhere must not matter
        parts = run(Reconstruct(**options()), tmp_path / "parts", ingested)
    finally:
        torch.set_num_threads(threads)
    assert parts.global_step == whole.global_step == 8
    expected, found = whole.field.state_dict(), parts.field.state_dict()
    assert len(expected["means"]) > 60  # it grew, before and after the break
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_loss_that_is_not_finite_names_the_photo(tmp_path: Path, ingested: Path):
    stage = Reconstruct(**options())
    stage.bind(tmp_path, {"ingest": ingested}, 0)
    stage.prepare()
    with torch.no_grad():
        stage.field.codes.fill_(float("nan"))
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"finite loss, got nan at step 0 on photo '.+'"):
        trainer.fit(stage, datamodule=stage.datamodule())


def test_steps_are_whole_epochs():
    assert Reconstruct(**options(steps=9, epoch_steps=4)).max_epochs == 3
    assert Reconstruct(**options(steps=2, epoch_steps=250)).epoch_steps == 2
    with pytest.raises(BadInput, match="at least 1"):
        Reconstruct(**options(steps=0))


def test_a_photos_light_is_found_on_its_left_half_alone(tmp_path: Path, ingested: Path):
    stage = run(Reconstruct(**options(steps=40, epoch_steps=40)), tmp_path / "out", ingested)
    stage.train(False).requires_grad_(False)
    view, photo, valid = stage._target(0, coarse=False)
    start = stage.field.mean_appearance()
    blank = photo.clone()
    blank[:, 32:] = 0.0
    code = fit_light(stage.field, view, photo, valid, start, steps=5)
    assert torch.equal(code, fit_light(stage.field, view, blank, valid, start, steps=5))
    assert not torch.equal(code, start)
