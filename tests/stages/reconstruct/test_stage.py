"""The fit: its files, that the loss falls, and that a resumed fit equals an uninterrupted one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf
from PIL import Image

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.loading import fitted_scene
from halonerf.stages.reconstruct.stage import Reconstruct
from helpers.made_folders import write_ingest
from helpers.places import CONF

GROUP = CONF
FIELD = {"budget": 90, "grow_every": 2, "grow_from": 0.0, "grow_until": 0.9, "min_grad": 0.0}


def options(**changes: Any) -> dict[str, Any]:
    field = {**OmegaConf.to_container(OmegaConf.load(GROUP / "field" / "gaussians.yaml")), **FIELD}
    loss = OmegaConf.to_container(OmegaConf.load(GROUP / "loss" / "gaussians.yaml"))
    transients = OmegaConf.to_container(OmegaConf.load(GROUP / "transients" / "residual.yaml"))
    options = {"field": field, "loss": loss, "transients": transients, "steps": 8, "epoch_steps": 4}
    return {**options, "heldout_steps": 3, **changes}


@pytest.fixture
def ingested(tmp_path: Path) -> Path:
    """A tiny scene whose photos are not noise: one smooth picture, brighter from photo to photo."""
    write_ingest(tmp_path / "ingest", 4)
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48))
    picture = np.stack([x, y, 1 - x], axis=-1)
    photos = np.stack([picture * (0.5 + 0.12 * k) * 255 for k in range(4)]).astype(np.uint8)
    (tmp_path / "ingest" / "images.u8").write_bytes(photos.tobytes())
    return tmp_path / "ingest"


def panorama(**changes: Any) -> dict[str, Any]:
    """Options with everything that learns besides the field: a mask network, and corrected cameras."""
    network = OmegaConf.to_container(OmegaConf.load(GROUP / "transients" / "network.yaml"))
    photometric = {"_target_": "halonerf.loss_terms.Photometric", "ssim_share": 0.0}
    return options(
        field={"_target_": "helpers.made_fields.Panorama", **changes},
        loss={"_target_": "halonerf.loss_terms.WeightedSum", "terms": {"photometric": photometric}},
        transients={**network, "width": 16, "samples": 48},
        refine_cameras=True,
        refine_from=0.25,
        refine_rate=1e-3,
    )


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
    height, width = np.asarray(Image.open(pictures[0])).shape[:2]
    assert width / height > 5 * 64 / 48 * 0.98  # photo, render, depth, error, mask
    assert not (tmp_path / "out" / "field.new").exists()


def test_without_held_out_photos_their_metrics_are_null(tmp_path: Path, ingested: Path):
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


def test_masks_and_cameras_resume_too(tmp_path: Path, ingested: Path, one_thread: None):
    whole = run(Reconstruct(**panorama()), tmp_path / "whole", ingested)
    run(Reconstruct(**panorama()), tmp_path / "parts", ingested, epochs=1)
    torch.manual_seed(12345)
    parts = run(Reconstruct(**panorama()), tmp_path / "parts", ingested)
    expected, found = whole.state_dict(), parts.state_dict()
    assert expected["cameras.raw"].abs().max() > 1e-4
    assert {key.split(".")[0] for key in expected} == {"field", "transients", "cameras"}
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_held_out_photos_never_touch_the_field(tmp_path: Path, ingested: Path, one_thread: None):
    first = run(Reconstruct(**options()), tmp_path / "first", ingested)
    first.finish()
    pixels = (ingested / "images.u8").read_bytes()
    whole = 64 * 48 * 3
    (ingested / "images.u8").write_bytes(bytes(whole) + pixels[whole:])  # the first photo is held out
    second = run(Reconstruct(**options()), tmp_path / "second", ingested)
    assert second.scene.split[0] == "test"
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    second.finish()
    assert first.metrics["psnr_train"] == second.metrics["psnr_train"]
    assert first.metrics["psnr_heldout"] != second.metrics["psnr_heldout"]


def test_refined_cameras_are_what_later_stages_see(tmp_path: Path, ingested: Path):
    stage = run(Reconstruct(**panorama()), tmp_path / "out", ingested)
    stage.finish()
    inputs = {"ingest": ingested, "reconstruct": tmp_path / "out"}
    before, after = Scene(ingested), fitted_scene(inputs)
    for i, side in enumerate(before.split):
        same = torch.equal(after.views[i].camera_to_world, before.views[i].camera_to_world)
        assert same == (side == "test"), before.names[i]
        assert (after.views[i].camera_to_world - before.views[i].camera_to_world).abs().max() < 0.02
    (tmp_path / "out" / "cameras.npz").unlink()
    assert torch.equal(fitted_scene(inputs).views[1].camera_to_world, before.views[1].camera_to_world)


def test_gaussians_refine_their_cameras(tmp_path: Path, ingested: Path):
    stage = run(Reconstruct(**options(refine_cameras=True, refine_rate=1e-3)), tmp_path / "out", ingested)
    moved = stage.cameras.values()
    assert torch.isfinite(moved).all()
    assert (moved.abs().amax(dim=1) > 1e-4).all()  # every fitted camera, in eight steps
    stage.finish()
    assert (tmp_path / "out" / "cameras.npz").is_file()


def test_a_field_that_ignores_its_camera_cannot_refine_it(tmp_path: Path, ingested: Path):
    with pytest.raises(BadInput, match=r"refine_cameras=false"):
        run(Reconstruct(**panorama(steady=True)), tmp_path / "out", ingested)


def test_gradients_that_are_not_finite_name_the_photo(tmp_path: Path, ingested: Path, monkeypatch: pytest.MonkeyPatch):
    from halonerf.loss_terms.image_errors import Photometric

    monkeypatch.setattr(Photometric, "__call__", lambda self, context: (context.rendering.colour * 0).sum().sqrt())
    with pytest.raises(BadInput, match=r"finite gradients, got nan in field\.codes at step 0 on photo '.+'"):
        run(Reconstruct(**panorama()), tmp_path / "out", ingested)


def test_parameters_that_become_infinite_are_named_with_what_to_try(tmp_path: Path, ingested: Path):
    changed = options()
    changed["field"] = {**changed["field"], "learning_rates": {**changed["field"]["learning_rates"], "means": 1e39}}
    expected = r"NaN or infinity in \d+ of \d+ numbers of field\.means at step 0 (.|\n)*learning_rate"
    with pytest.raises(BadInput, match=expected):  # a rate beyond single precision
        run(Reconstruct(**changed), tmp_path / "out", ingested)


TERM = """
class NormalSmoothness:
    needs_normals = True

    def __init__(self, weight, depth_scale):
        self.weight, self.depth_scale = weight, depth_scale

    def __call__(self, context):
        depth, normals = context.rendering.depth, context.rendering.normals
        step = (depth[:, 1:] - depth[:, :-1]).abs() / self.depth_scale
        return ((normals[:, 1:] - normals[:, :-1]).abs().mean(dim=-1) * (-step).exp()).mean()
"""


def test_a_term_from_outside_the_package_is_fitted_and_logged_by_name(
    tmp_path: Path, ingested: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "outside_terms.py").write_text(TERM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "outside_terms", raising=False)
    term = "{_target_: outside_terms.NormalSmoothness, weight: 0.1, depth_scale: 0.2}"
    overrides = [f"+loss.terms.normal_smoothness={term}", "loss.terms.opacity.weight=0"]
    with initialize_config_dir(version_base="1.3", config_dir=str(GROUP)):
        config = compose("config", overrides=overrides)
    stage = Reconstruct(**options(loss=OmegaConf.to_container(config.reconstruct.loss, resolve=True)))
    run(stage, tmp_path / "out", ingested)
    logged = stage.trainer.logged_metrics
    parts = {name for name in logged if name.startswith("loss/")}
    names = ("photometric", "depth", "scale", "normal_smoothness", "transients")
    assert parts == {f"loss/{name}" for name in names}
    assert logged["loss/normal_smoothness"] > 0
    assert logged["loss"].item() == pytest.approx(sum(logged[name].item() for name in parts), rel=1e-5)


def test_only_some_fitted_photos_are_scored_if_asked(tmp_path: Path, ingested: Path):
    stage = run(Reconstruct(**options(steps=4, max_scored_photos=2)), tmp_path / "out", ingested)
    stage.finish()
    assert len(stage.metrics["photos_train"]) == 2


def test_a_loss_that_is_not_finite_names_the_photo(tmp_path: Path, ingested: Path):
    stage = Reconstruct(**options())
    stage.bind(tmp_path, {"ingest": ingested}, 0)
    stage.prepare()
    with torch.no_grad():
        stage.field.codes.table.fill_(float("nan"))
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"finite loss, got nan at step 0 on photo '.+'"):
        trainer.fit(stage, datamodule=stage.datamodule())


def test_steps_are_whole_epochs():
    assert Reconstruct(**options(steps=9, epoch_steps=4)).max_epochs == 3
    assert Reconstruct(**options(steps=2, epoch_steps=250)).epoch_steps == 2
