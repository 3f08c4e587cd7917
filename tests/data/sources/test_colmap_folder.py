"""Finished COLMAP models are found and read in every layout; missing parts are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.sfm.colmap_model import find_models, match_names
from halonerf.data.sources.colmap_folder import SPLIT, ColmapFolder
from halonerf.data.sources.split_table import read_split
from halonerf.errors import BadInput


def write_model(folder: Path, form: str = "bin", photos: int = 4, camera: str = "SIMPLE_RADIAL") -> list[str]:
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = photos, 1, 1
    options.num_points3D, options.camera_width, options.camera_height = 40, 96, 72
    options.camera_model_id = getattr(pycolmap.CameraModelId, camera)
    made = pycolmap.Camera.create_from_model_name(1, camera, 90.0, 96, 72)
    options.camera_params = list(made.params)
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    folder.mkdir(parents=True)
    model.write_binary(folder) if form == "bin" else model.write_text(folder)
    return sorted(model.image(i).name for i in model.reg_image_ids())


def write_photos(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (72, 96, 3), np.uint8)).save(path)


def collect(root: Path, out: Path, **options: object) -> Collection:
    out.mkdir()
    ColmapFolder(str(root), **options).collect(out)
    return Collection.read(out)


@pytest.mark.parametrize("form", ["bin", "txt"])
@pytest.mark.parametrize(
    ("model", "photos"),
    [
        ("sparse/0", "images"),
        ("sparse", "images"),
        ("dense/sparse", "dense/images"),
        ("dense/0/sparse", "dense/0/images"),
        (".", "."),
        (".", "images"),
    ],
)
def test_models_are_found_in_every_nesting(tmp_path: Path, form: str, model: str, photos: str):
    root = tmp_path / "castle"
    names = write_model(root / model if model != "." else root, form)
    write_photos(root / photos, names)
    collection = collect(root, tmp_path / "out")
    assert collection.model == (root / model).resolve()
    assert [r.image_id for r in collection.records()] == names
    assert all((collection.photos / r.image_id).is_file() for r in collection.records())
    assert collection.name == "castle"


@pytest.mark.parametrize("camera", ["PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV", "THIN_PRISM_FISHEYE"])
def test_every_camera_model_is_accepted(tmp_path: Path, camera: str):
    names = write_model(tmp_path / "a" / "sparse", camera=camera)
    write_photos(tmp_path / "a" / "images", names)
    assert len(collect(tmp_path / "a", tmp_path / "out").records()) == 4


def test_the_model_with_most_photos_is_taken(tmp_path: Path):
    write_model(tmp_path / "a" / "sparse" / "0", photos=2)
    names = write_model(tmp_path / "a" / "sparse" / "1", photos=4)
    write_photos(tmp_path / "a" / "images", names)
    assert find_models(tmp_path / "a") == [tmp_path / "a/sparse/0", tmp_path / "a/sparse/1"]
    assert collect(tmp_path / "a", tmp_path / "out").model == tmp_path / "a/sparse/1"


def test_missing_photos_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    names = write_model(tmp_path / "a" / "sparse")
    write_photos(tmp_path / "a" / "images", names[1:])
    collection = collect(tmp_path / "a", tmp_path / "out")
    assert [r.image_id for r in collection.records()] == names[1:]
    assert (
        f"1 of the model's 4 photos are missing under {tmp_path / 'a/images'} (the first is {names[0]})" in caplog.text
    )


def test_all_photos_missing_is_refused(tmp_path: Path):
    names = write_model(tmp_path / "a" / "sparse" / "0")
    (tmp_path / "a" / "images").mkdir()
    with pytest.raises(BadInput, match=rf"names 4 photos, none of which.*'{names[0]}'") as caught:
        collect(tmp_path / "a", tmp_path / "out")
    assert str(tmp_path / "a" / "images") in str(caught.value)
    assert "scene.images=DIR" in str(caught.value)


def test_photos_elsewhere_are_named(tmp_path: Path):
    names = write_model(tmp_path / "a" / "sparse")
    write_photos(tmp_path / "b", names)
    assert len(collect(tmp_path / "a", tmp_path / "out", images=str(tmp_path / "b")).records()) == 4


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir()])
def test_no_model_is_refused(tmp_path: Path, make):
    make(tmp_path / "a")
    with pytest.raises(BadInput, match=r"found (none|nothing)"):
        ColmapFolder(str(tmp_path / "a")).collect(tmp_path)


def test_a_damaged_model_is_refused(tmp_path: Path):
    write_model(tmp_path / "a" / "sparse")
    for file in ("images.bin", "cameras.bin", "frames.bin", "rigs.bin", "points3D.bin"):
        path = tmp_path / "a" / "sparse" / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInput, match="damaged or cut off"):
        ColmapFolder(str(tmp_path / "a")).identity()


def test_a_table_chooses_and_splits(tmp_path: Path):
    names = write_model(tmp_path / "a" / "dense" / "sparse")
    write_photos(tmp_path / "a" / "dense" / "images", names)
    rows = [f"{names[0]}\t1\ttrain\tx", f"{names[1]}\t2\ttest\tx", f"{names[2]}\t\ttrain\tx"]
    (tmp_path / "a" / "a.tsv").write_text("\n".join(["filename\tid\tsplit\tdataset", *rows]))
    collect(tmp_path / "a", tmp_path / "out")
    lines = (tmp_path / "out" / SPLIT).read_text().splitlines()
    assert lines == ["image_id,split", f"{names[0]},train", f"{names[1]},test", f"{names[2]},", f"{names[3]},"]


def test_a_table_of_another_scene_or_kind_is_refused(tmp_path: Path):
    names = write_model(tmp_path / "a" / "sparse")
    write_photos(tmp_path / "a" / "images", names)
    table = tmp_path / "a" / "a.tsv"
    table.write_text("filename\tid\tsplit\nstranger.jpg\t1\ttrain\n")
    with pytest.raises(BadInput, match="none of its 1 names"):
        collect(tmp_path / "a", tmp_path / "out")
    table.write_text("name\tside\n")
    with pytest.raises(BadInput, match="name, side"):
        read_split(table)


def test_identity_follows_model_photos_and_table(tmp_path: Path):
    names = write_model(tmp_path / "a" / "sparse")
    write_photos(tmp_path / "a" / "images", names)
    source = ColmapFolder(str(tmp_path / "a"), name="same")
    seen = [source.identity()]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert ColmapFolder(str(tmp_path / "b"), name="same").identity() == seen[0]
    (tmp_path / "a" / "t.tsv").write_text("filename\tid\tsplit\n")
    seen.append(source.identity())
    (tmp_path / "a" / "images" / names[0]).write_bytes(b"other")
    seen.append(source.identity())
    (tmp_path / "a" / "images" / names[0]).unlink()
    seen.append(source.identity())
    assert len(set(seen)) == 4


def test_names_match_by_path_then_by_their_end():
    files = ["day/1.jpg", "night/1.jpg", "other/2.JPG"]
    found = match_names(["day/1.jpg", "1.jpg", "photos\\2.jpg", "3.jpg"], files)
    assert found == {"day/1.jpg": "day/1.jpg", "photos\\2.jpg": "other/2.JPG"}
