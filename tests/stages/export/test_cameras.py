"""COLMAP and nerfstudio folders, read back: points fall on the pixels where our cameras show them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from halonerf.data.scene.scene import Scene
from halonerf.loading import fitted_scene, write_cameras
from halonerf.stages.export.images import write_image
from halonerf.stages.export.stage import Export
from halonerf.types import View
from helpers.made_export import GAUSSIANS, HEAD, write_ball_folders
from helpers.made_folders import run_stage

NAMED = [("a.JPG", "JPEG"), ("b/ü.png", "PNG"), ("c.webp", "WEBP"), ("d.heic", "PNG")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """With cameras that were refined while the field was fitted."""
    folders = write_ball_folders(tmp_path_factory.mktemp("folders"))
    views = []
    for view in Scene(folders["ingest"]).views:
        pose = view.camera_to_world.clone()
        pose[:, 3] += torch.tensor([0.05, -0.02, 0.03])
        views.append(View(view.width, view.height, view.fx, view.fy, view.cx, view.cy, pose))
    write_cameras(folders["reconstruct"], views)
    return folders


@pytest.fixture(scope="module", params=["world", "model"])
def out(request, folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / request.param
    run_stage(Export(GAUSSIANS, HEAD, {}, formats=["colmap", "nerfstudio"], frame=request.param), folder, folders)
    return folder


def pixels_of(view: View, points: torch.Tensor) -> np.ndarray:
    """Where our own camera shows points [N, 3] of the world."""
    pose = view.world_to_camera.double()
    local = points.double() @ pose[:, :3].T + pose[:, 3]
    centre = torch.tensor([view.cx, view.cy])
    return (local[:, :2] / local[:, 2:] * torch.tensor([view.fx, view.fy]) + centre).numpy()


def sorted_rows(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 4).T)]


def test_colmap_cameras_show_points_where_ours_do(folders, out: Path):
    scene = fitted_scene(folders)
    model = pycolmap.Reconstruction(out / "colmap/sparse/0")
    assert {i: model.image(i).name for i in model.reg_image_ids()} == dict(
        zip(scene.colmap_ids, scene.names, strict=True)
    )
    assert model.num_points3D() == len(scene.points)
    points = np.stack([model.point3D(i).xyz for i in sorted(model.point3D_ids())])
    for index, number in enumerate(scene.colmap_ids):
        image, view = model.image(number), scene.views[index]
        camera = model.camera(image.camera_id)
        assert (camera.model_name, camera.width, camera.height) == ("PINHOLE", view.width, view.height)
        local = image.cam_from_world() * points
        projected = np.asarray(camera.img_from_cam(local))
        assert np.abs(projected - pixels_of(view, scene.points)).max() < 0.01


def test_colmap_points_keep_their_tracks(folders, out: Path):
    scene = Scene(folders["ingest"])
    model = pycolmap.Reconstruction(out / "colmap/sparse/0")
    ids = sorted(model.point3D_ids())
    for index, number in enumerate(scene.colmap_ids):
        pixels, _, points = scene.observations(index)
        seen = model.image(number).points2D
        np.testing.assert_allclose([p.xy for p in seen], pixels, atol=1e-4)
        assert [ids.index(p.point3D_id) for p in seen] == points.tolist()
    colours = np.stack([model.point3D(i).color for i in ids])
    assert np.abs(colours / 255 - scene.colours.numpy()).max() < 0.003
    assert all(model.point3D(i).error >= 0 for i in ids)


def test_nerfstudio_cameras_show_points_where_ours_do(folders, out: Path):
    scene = fitted_scene(folders)
    entry = json.loads((out / "nerfstudio/transforms.json").read_text())
    vertex = PlyData.read(out / "nerfstudio" / entry["ply_file_path"])["vertex"]
    points = np.stack([vertex["x"], vertex["y"], vertex["z"]], axis=1).astype(float)
    assert len(entry["frames"]) == len(scene)
    for view, frame in zip(scene.views, entry["frames"], strict=True):
        back = np.linalg.inv(np.array(frame["transform_matrix"]))
        local = points @ back[:3, :3].T + back[:3, 3]
        depth = -local[:, 2]  # the camera looks along -z, y up
        x = frame["fl_x"] * local[:, 0] / depth + frame["cx"]
        y = frame["fl_y"] * -local[:, 1] / depth + frame["cy"]
        assert np.abs(np.stack([x, y], axis=1) - pixels_of(view, scene.points)).max() < 0.01
        with Image.open(out / "nerfstudio" / frame["file_path"]) as picture:
            assert picture.size == (frame["w"], frame["h"]) == (view.width, view.height)


def test_nerfstudio_has_the_transform_from_the_reconstruction(folders, out: Path):
    scene = Scene(folders["ingest"])
    entry = json.loads((out / "nerfstudio/transforms.json").read_text())
    vertex = PlyData.read(out / "nerfstudio/sparse_pc.ply")["vertex"]
    here = np.stack([vertex["x"], vertex["y"], vertex["z"]], axis=1)
    back = np.linalg.inv(scene.scene_from_model.numpy())
    model = scene.points.numpy() @ back[:3, :3].T + back[:3, 3]
    if out.name == "model":
        assert "applied_transform" not in entry
        np.testing.assert_allclose(here, model, rtol=1e-4, atol=1e-4)
    else:
        matrix = np.array(entry["applied_transform"])
        np.testing.assert_allclose(matrix[:, :3] @ matrix[:, :3].T, np.eye(3), atol=1e-9)
        moved = entry["applied_scale"] * (model @ matrix[:, :3].T + matrix[:, 3])
        np.testing.assert_allclose(moved, here, atol=1e-4)


def test_the_two_frames_differ(folders, tmp_path: Path):
    entries = []
    for frame in ("world", "model"):
        run_stage(Export(GAUSSIANS, HEAD, {}, formats=["nerfstudio"], frame=frame), tmp_path / frame, folders)
        entries.append(json.loads((tmp_path / frame / "nerfstudio/transforms.json").read_text()))
    first, second = (np.array(e["frames"][0]["transform_matrix"]) for e in entries)
    assert np.abs(first - second).max() > 0.05
    assert entries[0]["train_filenames"] == entries[1]["train_filenames"]


def test_the_split_is_kept(folders, out: Path):
    scene = Scene(folders["ingest"])
    entry = json.loads((out / "nerfstudio/transforms.json").read_text())
    assert entry["test_filenames"] == [f"images/{scene.names[0]}"]
    assert len(entry["train_filenames"]) == len(scene) - 1
    assert {*entry["train_filenames"], *entry["test_filenames"]} == {f["file_path"] for f in entry["frames"]}


def test_photos_are_kept_under_their_names(folders, out: Path):
    scene = Scene(folders["ingest"])
    for index, name in enumerate(scene.names):
        files = [out / folder / "images" / name for folder in ("colmap", "nerfstudio")]
        pictures = [np.asarray(Image.open(file)) for file in files]
        assert np.array_equal(*pictures)
        assert pictures[0].shape == tuple(scene.photo(index).shape)
        if name.endswith(".png"):
            assert np.array_equal(pictures[0], scene.photo(index).numpy())


@pytest.mark.parametrize(
    ("name", "kind"), [("a.JPG", "JPEG"), ("b/ü.png", "PNG"), ("c.webp", "WEBP"), ("d.heic", "PNG")]
)
def test_a_photo_is_written_as_its_name_says(tmp_path: Path, name: str, kind: str):
    pixels = np.full((12, 20, 3), (250, 120, 30), np.uint8)
    files = [tmp_path / "one" / name, tmp_path / "two" / name]
    write_image(files, pixels)
    write_image(files, pixels)  # again, as a resumed run may
    for file in files:
        with Image.open(file) as picture:
            assert picture.format == kind
            assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - pixels).max() <= 6
