"""Finished folders of a tiny made-up scene, for tests of the stages at its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

from halonerf.data.collection import write_collection
from halonerf.data.labels.table import write_labels
from halonerf.data.scene.files import Filters, write_tables
from halonerf.files import write_at, write_json
from halonerf.pipeline.stage import Stage
from halonerf.types import ImageRecord, PseudoLabel

WIDTH, HEIGHT = 128, 96  # px, of the photos
VIEW = (64, 48)  # px, at working size
STAGES = ("collect", "distill", "ingest", "mine", "reconstruct", "segment", "localize")


def made_mask(index: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A rectangle at another place in each photo, [height, width] of `size`."""
    width, height = size
    mask = np.zeros((height, width), bool)
    left = width // 8 * (index + 1)
    mask[height // 4 : height // 2, left : left + width // 4] = True
    return mask


def write_ingest(folder: Path, photos: int) -> list[str]:
    """A finished ingest of random pixels under synthetic pinhole cameras; the photos' names. The first is held out."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, photos
    options.num_points3D, options.camera_width, options.camera_height = 60, WIDTH, HEIGHT
    options.camera_model_id = pycolmap.CameraModelId.PINHOLE
    options.camera_params = [100.0, 100.0, WIDTH / 2, HEIGHT / 2]
    pycolmap.set_random_seed(0)  # the same scene, whatever ran before in this process
    model = pycolmap.synthesize_dataset(options)
    names = sorted(model.image(i).name for i in model.reg_image_ids())
    folder.mkdir(parents=True)
    pixels = VIEW[0] * VIEW[1]
    random = np.random.default_rng(0)
    for index in range(photos):
        write_at(folder / "images.u8", index * pixels * 3, random.integers(0, 255, pixels * 3, np.uint8).tobytes())
        write_at(folder / "valid.u8", index * pixels, np.ones(pixels, np.uint8).tobytes())
    split = {name: "test" if index == 0 else "train" for index, name in enumerate(names)}
    write_tables(folder, "made", model, VIEW[0], Filters(4.0, 2, 0.1, WIDTH), split)
    return names


def write_folders(root: Path, photos: int = 4, concepts: tuple[str, ...] = ("window", "dome")) -> dict[str, Path]:
    """Every folder that `evaluate` and `report` read. The 3D map is exact; the 2D one is not, and absent in photo 0."""
    folders = {stage: root / stage for stage in STAGES}
    names = write_ingest(folders["ingest"], photos)
    for stage, folder in folders.items():
        folder.mkdir(exist_ok=True)
        manifest = {"stage": stage, "wall_s": 1.5, "summary": {"photos": photos, "labels": {"window": 2}}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    records = [ImageRecord(name, caption=f"<b>A window</b> {name}") for name in names]
    write_collection(folders["collect"], "made", root, records, truth=dict.fromkeys(names, "window"))
    write_labels(folders["distill"] / "labels.csv", [PseudoLabel(n, "window", 0.9, "window") for n in names])
    write_json(folders["distill"] / "metrics.json", {"accuracy": 0.75})
    write_json(folders["reconstruct"] / "metrics.json", {"psnr_heldout": 21.5, "ssim_heldout": None})
    for stage, part in (("segment", "maps"), ("localize", "renders")):
        (folders[stage] / part).mkdir()
        write_json(folders[stage] / "concepts.json", list(concepts))
    for index in range(photos):
        exact = np.stack([made_mask(index, VIEW)] * len(concepts)).astype(np.uint8) * 255
        target = folders["localize"] / "renders" / f"{index:05d}.npz"
        np.savez(target, probability=exact, confidence=np.ones(exact.shape, np.float16))
        Image.new("RGB", VIEW, (90, 120, 160)).save(target.with_suffix(".png"))
        if index:
            half = exact // 4 + 64 * (np.arange(VIEW[0]) % 2).astype(np.uint8)
            known = np.ones(half.shape, bool)
            np.savez(folders["segment"] / "maps" / f"{index:05d}.npz", probability=half, known=known)
    Image.new("RGB", (300, 100), (200, 90, 40)).save(folders["segment"] / "overview.png")
    Image.new("RGB", (300, 100), (20, 90, 40)).save(folders["mine"] / "pairs.png")
    return folders


def write_masks(root: Path, concept: str, names: list[str], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """The exact masks of the photos `names`, which are the first ones of the scene, in their order."""
    for index, name in enumerate(names):
        path = (root / concept / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made_mask(index, size).astype(np.uint8) * 255).save(path)


def run_stage(stage: Stage, folder: Path, inputs: dict[str, Path], most: int | None = None) -> Stage:
    """Do a stage's work as the trainer would, at most `most` items of it; finished only if all are done."""
    folder.mkdir(exist_ok=True)
    stage.bind(folder, {need: inputs[need] for need in stage.needs}, 0)
    stage.prepare()
    left = [item for item in stage.items() if not stage.done(item)]
    for index, item in enumerate(left[:most]):
        stage.predict_step(item, index)
    if most is None:
        stage.finish()
    return stage
