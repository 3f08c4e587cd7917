"""A scene agrees with the COLMAP model that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from halonerf.data.scene.files import Filters, layout, posed_photos, write_tables
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput, MissingArtifact
from halonerf.files import write_at

SIZE = 128  # px
LOOSE = Filters(max_error=4.0, min_track=2, min_angle=0.1, frame=1024)


def made_model(noise: float = 0.0) -> pycolmap.Reconstruction:
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 5, 1, 1
    options.num_points3D, options.camera_width, options.camera_height = 150, 640, 480
    options.camera_model_id = pycolmap.CameraModelId.SIMPLE_RADIAL
    options.camera_params = [600.0, 320.0, 240.0, -0.05]
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    if noise:
        pycolmap.synthesize_noise(pycolmap.SyntheticNoiseOptions(point2D_stddev=noise), model)
        model.update_point_3d_errors()
    return model


def write_scene(folder: Path, model: pycolmap.Reconstruction, filters: Filters = LOOSE) -> Scene:
    photos = posed_photos(model)
    sizes, starts = layout(photos, SIZE)
    for i, (width, height) in enumerate(sizes):
        pixels = np.full((height, width, 3), (10 * i, 100, 200), np.uint8)
        write_at(folder / "images.u8", 3 * int(starts[i]), pixels.tobytes())
        write_at(folder / "valid.u8", int(starts[i]), (np.arange(width * height) % 2).astype(np.uint8).tobytes())
    split = {p.name: "test" if i == 1 else "train" for i, p in enumerate(photos)}
    write_tables(folder, "made", model, SIZE, filters, split)
    return Scene(folder)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return write_scene(tmp_path_factory.mktemp("scene"), made_model())


def test_views_project_points_to_where_they_were_observed(scene: Scene):
    for i, view in enumerate(scene.views):
        pixels, depth, index = scene.observations(i)
        assert len(pixels) > 30
        local = scene.points[index] @ view.world_to_camera[:, :3].T + view.world_to_camera[:, 3]
        projected = local @ view.intrinsics.T
        torch.testing.assert_close(projected[:, :2] / projected[:, 2:], pixels, atol=2e-3, rtol=0)  # float32
        torch.testing.assert_close(local[:, 2], depth, atol=1e-4, rtol=0)


def test_points_seen_by_one_side_of_the_split_have_that_sides_colours(scene: Scene):
    for split, least in (("train", 2), ("train", 4), ("test", 1)):
        views = scene.indices(split)
        seen = [set(scene.observations(i)[2].tolist()) for i in views]
        often = [k for k in range(len(scene.points)) if sum(k in s for s in seen) >= least]
        points, colours = scene.points_seen(split, least)
        assert torch.equal(points, scene.points[often])
        for point, colour in zip(often, colours, strict=True):
            reds = [10 * i / 255 for i, s in zip(views, seen, strict=True) if point in s]  # photo i is (10 i, 100, 200)
            torch.testing.assert_close(colour, torch.tensor([sum(reds) / len(reds), 100 / 255, 200 / 255]))


def test_depths_lie_between_near_and_far(scene: Scene):
    for i in range(len(scene)):
        depth = scene.observations(i)[1].numpy()
        assert scene.near[i] > 0
        assert (depth > scene.near[i] * 0.95).mean() > 0.98
        assert (depth < scene.far[i] * 1.05).mean() > 0.98


def test_the_frame_is_normalised_and_leads_back(scene: Scene):
    assert torch.quantile(scene.points.norm(dim=1), 0.9).item() == pytest.approx(1.0, abs=1e-3)
    model = made_model()
    original = np.stack([model.point3D(p).xyz for p in sorted(model.point3D_ids())])
    back = torch.linalg.inv(scene.scene_from_model)
    restored = scene.points.double() @ back[:3, :3].T + back[:3, 3]
    np.testing.assert_allclose(restored, original, atol=1e-4)


def test_photos_and_masks_come_from_the_flat_files(scene: Scene):
    assert len(scene) == 5
    for i in range(5):
        photo = scene.photo(i)
        assert photo.shape == (96, 128, 3)
        assert photo.dtype == torch.uint8
        assert photo[50, 60].tolist() == [10 * i, 100, 200]
        assert scene.valid(i).flatten()[:4].tolist() == [False, True, False, True]
    assert scene.colours.shape == scene.points.shape
    torch.testing.assert_close(scene.colours[:, 1], torch.full((len(scene.points),), 100 / 255))


def test_split_index_and_native_size(scene: Scene):
    assert scene.indices("test") == [1]
    assert scene.indices() == [0, 2, 3, 4]
    assert scene.index(scene.names[3]) == 3
    assert scene.native_size(0) == (640, 480)
    with pytest.raises(KeyError):
        scene.index("stranger.jpg")


def test_images_of_the_original_are_undistorted_to_the_view(scene: Scene):
    lens = scene.native_camera(0)
    mask = np.zeros((480, 640), np.uint8)
    mask[:240] = 255
    small = scene.undistort(0, mask, nearest=True)
    assert small.shape == (96, 128)
    assert small[:47].all()
    assert not small[49:].any()
    wide = scene.undistort(0, mask.astype(np.float32), size=(320, 240))
    assert wide.shape == (240, 320)
    assert lens.model_name == "SIMPLE_RADIAL"
    with pytest.raises(BadInput, match=r"640x480 px upright, got 480x640 px"):
        scene.undistort(0, mask.T)


def test_uncertain_points_are_left_out(tmp_path: Path):
    model = made_model(noise=1.0)
    strict = write_scene(tmp_path, model, Filters(max_error=1.1, min_track=3, min_angle=5.0, frame=1024))
    assert 8 <= len(strict.points) < 150
    assert strict.errors.max() <= 1.1
    with pytest.raises(BadInput, match="at least 8 points"):
        write_scene(tmp_path, model, Filters(max_error=1e-6, min_track=2, min_angle=0.1, frame=1024))


def test_the_error_limit_does_not_depend_on_the_resolution(tmp_path: Path):
    model = made_model(noise=1.0)
    full, half = tmp_path / "full", tmp_path / "half"
    full.mkdir()
    half.mkdir()
    native = write_scene(full, model, Filters(9.0, 2, 0.1, frame=1024)).errors
    shrunk = write_scene(half, model, Filters(9.0, 2, 0.1, frame=320)).errors
    torch.testing.assert_close(shrunk, native / 2)


def test_an_unfinished_folder_is_refused(tmp_path: Path):
    with pytest.raises(MissingArtifact, match="stage=ingest"):
        Scene(tmp_path)
