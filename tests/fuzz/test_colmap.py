"""Damaged COLMAP models give a scene's cameras and points, or BadInput, within bounds of time and memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from fuzz.mutants import COUNT, check_reader
from halonerf.colmap_log import quiet_colmap
from halonerf.data.scene.files import posed_photos
from halonerf.data.sfm.camera_checks import camera_problem, pose_problem
from halonerf.data.sfm.colmap_model import match_names, read_model, registered_names
from halonerf.data.sfm.mapping import rebuild
from halonerf.data.undistortion import source_map

pytestmark = pytest.mark.slow

FILES = ("cameras", "images", "points3D", "frames", "rigs")


def write_model(folder: Path, form: str) -> None:
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 4, 1, 1
    options.num_points3D, options.camera_width, options.camera_height = 40, 96, 72
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    folder.mkdir(parents=True)
    model.write_binary(folder) if form == "bin" else model.write_text(folder)


def use(folder: Path) -> None:
    """What `ingest` does with a finished model."""
    model = read_model(folder)
    names = registered_names(model)
    match_names(list(names), [f"camera000001_frame00000{i}.png" for i in range(4)])
    keep = {}
    for name, image_id in names.items():
        image = model.image(image_id)
        camera = model.camera(image.camera_id)
        if not camera_problem(camera) and not pose_problem(image):
            keep[image_id] = (name, 1.0, camera.width, camera.height)
    result = rebuild(model, keep)
    photos = posed_photos(result)
    assert len(photos) == len(keep)
    for photo in photos:
        source, inside = source_map(photo.camera, 24, 18)
        assert np.isfinite(source[inside]).all()


@pytest.mark.parametrize("form", ["bin", "txt"])
@pytest.mark.parametrize("file", FILES)
def test_damaged_models(tmp_path: Path, form: str, file: str):
    write_model(tmp_path / "model", form)
    path = tmp_path / "model" / f"{file}.{form}"
    with quiet_colmap():
        outcomes = check_reader(
            lambda path: use(path.parent), [path.read_bytes()], path, seed=FILES.index(file), count=COUNT // len(FILES)
        )
    assert {"read", "BadInput"} <= outcomes.keys()
