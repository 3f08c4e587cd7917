"""Masks and depth, read back by pycocotools and Pillow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.masks import MaskFolder
from halonerf.stages.export.formats.depth import MAX_STEPS, write_depth
from halonerf.stages.export.formats.masks import encode_mask, write_coco, write_masks
from halonerf.stages.export.stage import Export
from helpers.made_export import GAUSSIANS, HEAD, write_ball_folders
from helpers.made_folders import VIEW, made_mask, run_stage

CONCEPTS = ("../fenêtre ✞", "nothing")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_ball_folders(tmp_path_factory.mktemp("folders"), CONCEPTS, photos=6)


@pytest.fixture(scope="module")
def out(folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "out"
    run_stage(Export(GAUSSIANS, HEAD, {}, formats=["masks", "depth"]), folder, folders)
    return folder


def test_coco_masks_equal_the_exact_masks(folders, out: Path, capsys):
    names = Scene(folders["ingest"]).names
    coco = COCO(out / "masks/coco.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(CONCEPTS)
    assert [i["file_name"] for i in coco.loadImgs(coco.getImgIds())] == [f"images/{name}" for name in names]
    assert len(coco.anns) == len(names)  # the second concept is nowhere
    for annotation in coco.anns.values():
        index = annotation["image_id"] - 1
        mask = made_mask(index, VIEW)
        assert annotation["category_id"] == 1
        assert np.array_equal(coco.annToMask(annotation) > 0, mask)
        assert annotation["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        assert annotation["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert annotation["score"] == 1.0
        image = coco.loadImgs(annotation["image_id"])[0]
        with Image.open(out / "masks" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == VIEW


def test_masks_can_be_read_as_masks_again(folders, out: Path):
    names = Scene(folders["ingest"]).names
    folder = MaskFolder.open(out / "masks/binary")
    assert folder.concepts == ["fenêtre", "nothing"]
    for index, name in enumerate(names):
        assert np.array_equal(folder.read("fenêtre", name, VIEW), made_mask(index, VIEW))
        assert not folder.read("nothing", name, VIEW).any()


def test_nothing_is_written_outside(out: Path):
    assert {p.name for p in out.parent.iterdir()} == {"out"}
    assert {p.name for p in (out / "masks/binary").iterdir()} == {"fenêtre", "nothing"}


def test_binary_masks_are_probabilities_from_the_threshold_on(tmp_path: Path):
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    write_masks(tmp_path, ["a"], "x.jpg", values, 0.8)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "probability/a/x.jpg.png")), values[0])
    binary = np.asarray(Image.open(tmp_path / "binary/a/x.jpg.png"))
    assert np.array_equal(binary, np.where(values[0] >= 204, 255, 0))
    assert write_coco(tmp_path, ["a"], {"a": (1, 2, 3)}, [("x.jpg", (16, 16))]) == 1
    [annotation] = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert annotation["area"] == 52
    assert annotation["score"] == pytest.approx(np.arange(204, 256).mean() / 255, abs=1e-4)


@pytest.mark.parametrize(
    "mask",
    [
        np.ones((3, 5), bool),
        np.eye(4, 7, dtype=bool),
        np.eye(7, 4, dtype=bool)[::-1],
        np.arange(12).reshape(3, 4) == 11,
    ],
    ids=["all", "wide", "tall", "corner"],
)
def test_run_lengths_go_down_the_columns(mask: np.ndarray):
    from pycocotools import mask as coco_mask

    found = encode_mask(mask)
    runs = coco_mask.frPyObjects(found["segmentation"], *mask.shape)
    assert np.array_equal(coco_mask.decode(runs) > 0, mask)
    assert found["area"] == coco_mask.area(runs)
    assert found["bbox"] == coco_mask.toBbox(runs).tolist()


def test_without_concepts_there_is_an_empty_table(folders, tmp_path: Path, capsys):
    run_stage(
        Export(GAUSSIANS, HEAD, {}, formats=["masks", "splats", "points"], concepts=[]), tmp_path / "out", folders
    )
    coco = COCO(tmp_path / "out/masks/coco.json")
    assert (len(coco.imgs), len(coco.anns), len(coco.cats)) == (6, 0, 0)


def test_depth_is_that_of_the_field(folders, out: Path):
    scene = Scene(folders["ingest"])
    field = Gaussians(code_size=4)
    field.load(folders["reconstruct"] / "field.safetensors")
    unit = json.loads((out / "depth/contents.json").read_text())["unit"]
    for index in (0, 5):
        rendering = field.render(scene.views[index], field.mean_appearance())
        depth, opacity = rendering.depth.detach().numpy(), rendering.opacity.detach().numpy()
        with np.load(out / "depth/arrays" / f"{scene.names[index]}.npz") as stored:
            np.testing.assert_allclose(stored["depth"], np.where(opacity > 0, depth, 0), atol=1e-5)
            np.testing.assert_allclose(stored["opacity"], opacity, atol=1e-3)
        with Image.open(out / "depth/pictures" / f"{scene.names[index]}.png") as picture:
            assert picture.mode == "I;16"
            steps = np.asarray(picture)
        solid = opacity >= 0.5
        assert 0 < solid.sum() < solid.size
        assert (steps[~solid] == 0).all()
        assert np.abs(steps[solid] * unit - depth[solid]).max() <= 0.51 * unit


def test_depth_has_the_units_of_the_frame(folders, out: Path, tmp_path: Path):
    scene = Scene(folders["ingest"])
    run_stage(Export(GAUSSIANS, HEAD, {}, formats=["depth"], frame="model"), tmp_path / "out", folders)
    scale = np.cbrt(np.linalg.det(scene.scene_from_model[:3, :3].numpy()))
    files = [folder / "depth/arrays" / f"{scene.names[3]}.npz" for folder in (out, tmp_path / "out")]
    world, model = (np.load(file)["depth"] for file in files)
    assert abs(scale - 1) > 0.01
    np.testing.assert_allclose(model * scale, world, rtol=1e-5)


def test_depth_beyond_what_a_picture_can_show_is_the_last_step(tmp_path: Path):
    depth = np.array([[0.0, 1e-9, 2.0, 1e9]])
    write_depth(tmp_path, "ü/x.jpg", depth, np.array([[1.0, 1.0, 1.0, 1.0]]), 0.001)
    steps = np.asarray(Image.open(tmp_path / "pictures/ü/x.jpg.png"))
    assert steps.tolist() == [[0, 1, 2000, MAX_STEPS]]
