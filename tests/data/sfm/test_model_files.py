"""COLMAP's files: names as they are written, damaged files refused at once, cameras that cannot be undistorted."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from halonerf.data.sfm.camera_checks import camera_problem, pose_problem
from halonerf.data.sfm.colmap_model import match_names, read_model, registered_names
from halonerf.errors import BadInput

FILES = ("cameras", "images", "points3D", "frames", "rigs")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three photos as .bin and as .txt."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 3, 1, 1
    options.num_points3D, options.camera_width, options.camera_height = 40, 96, 72
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    folder = tmp_path_factory.mktemp("models")
    for form in ("bin", "txt"):
        (folder / form).mkdir()
    model.write_binary(folder / "bin")
    model.write_text(folder / "txt")
    return folder


def rename(folder: Path, form: str, names: list[bytes]) -> None:
    """Give the photos other names."""
    path = folder / f"images.{form}"
    data = path.read_bytes()
    model = pycolmap.Reconstruction(folder)
    for name, image in zip(names, (model.image(i) for i in sorted(model.images)), strict=True):
        old, end = image.name.encode(), b"\0" if form == "bin" else b"\n"
        assert data.count(old + end) == 1
        data = data.replace(old + end, name + end)
    path.write_bytes(data)


@pytest.mark.parametrize("form", ["bin", "txt"])
@pytest.mark.parametrize(
    "names",
    [
        ["Photo 1.jpg", "Photo 10.jpg", "Photo 2.jpg"],
        ["a b/c  d.jpg", "#1.jpg", "1 2 3 4 5 6 7 8 9 ten.jpg"],
        ["Église 1.jpg", "大聖堂.jpg", "x.jpg"],
    ],
)
def test_names_are_read_whole(models: Path, tmp_path: Path, form: str, names: list[str]):
    shutil.copytree(models / form, tmp_path / "m")
    rename(tmp_path / "m", form, [name.encode() for name in names])
    assert [
        name for name, _ in sorted(registered_names(read_model(tmp_path / "m")).items(), key=lambda p: p[1])
    ] == names


def test_an_image_without_points_has_an_empty_line_of_points(models: Path, tmp_path: Path):
    shutil.copytree(models / "txt", tmp_path / "m")
    path = tmp_path / "m" / "images.txt"
    images = [line for line in path.read_text().splitlines() if line.endswith(".png")]
    names = ["a b.jpg", "c d.jpg", "e f.jpg"]
    lines = [f"{line.rsplit(' ', 1)[0]} {name}" for line, name in zip(images, names, strict=True)]
    path.write_text("# comment\n\n" + "\n\n".join(lines) + "\n\n")
    (tmp_path / "m" / "points3D.txt").write_text("")
    assert list(registered_names(read_model(tmp_path / "m"))) == names
    path.write_bytes(("\r\n\r\n".join(lines) + "\r\n\r\n").encode())
    assert list(registered_names(read_model(tmp_path / "m"))) == names


@pytest.mark.parametrize("form", ["bin", "txt"])
def test_names_of_a_code_page_match_their_files(models: Path, tmp_path: Path, form: str):
    shutil.copytree(models / form, tmp_path / "m")
    rename(tmp_path / "m", form, ["Façade sud.jpg".encode("cp1252"), b"b.jpg", b"c.jpg"])
    names = list(registered_names(read_model(tmp_path / "m")))
    assert match_names(names, ["x/Fac\u0327ade sud.jpg"]) == {"Façade sud.jpg": "x/Fac\u0327ade sud.jpg"}


def test_photos_that_share_a_file_name_are_told_apart_or_left_out():
    files = ["a/1.jpg", "b/1.jpg", "2.jpg"]
    assert match_names(["a/1.jpg", "b/1.jpg", "old/2.JPG"], files) == {
        "a/1.jpg": "a/1.jpg", "b/1.jpg": "b/1.jpg", "old/2.JPG": "2.jpg",
    }  # fmt: skip
    assert match_names(["1.jpg", "2.jpg"], files) == {"2.jpg": "2.jpg"}
    assert match_names(["x/2.jpg", "y/2.jpg"], files) == {}


@pytest.mark.parametrize("file", FILES)
def test_a_binary_file_that_is_cut_off_is_refused(models: Path, tmp_path: Path, file: str):
    shutil.copytree(models / "bin", tmp_path / "m")
    path = tmp_path / "m" / f"{file}.bin"
    whole = path.read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=f"{file}\\.bin is damaged or cut off"):
            read_model(tmp_path / "m")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("count", [2**64 - 1, 2**40, 10**6])
def test_counts_beyond_the_file_are_refused_at_once(models: Path, tmp_path: Path, file: str, count: int):
    shutil.copytree(models / "bin", tmp_path / "m")
    path = tmp_path / "m" / f"{file}.bin"
    path.write_bytes(struct.pack("<Q", count) + path.read_bytes()[8:])
    with pytest.raises(BadInput, match=f"{file}\\.bin is damaged"):
        read_model(tmp_path / "m")


def test_counts_inside_an_entry_are_checked(models: Path, tmp_path: Path):
    shutil.copytree(models / "bin", tmp_path / "m")
    path = tmp_path / "m" / "points3D.bin"
    data = bytearray(path.read_bytes())
    data[8 + 43 : 8 + 51] = struct.pack("<Q", 2**61)  # the length of the first point's track
    path.write_bytes(data)
    with pytest.raises(BadInput, match="entry 1 of 40"):
        read_model(tmp_path / "m")


def camera(model: str, **values: float) -> pycolmap.Camera:
    made = pycolmap.Camera.create_from_model_name(1, model, 90.0, 96, 72)
    params = np.array(made.params)
    for name, value in values.items():
        params[int(name.removeprefix("p"))] = value
    made.params = params.tolist()
    return made


@pytest.mark.parametrize("model", [name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"])
def test_every_camera_model_is_used_or_named(model: str):
    problem = camera_problem(camera(model))
    assert problem == "" if model != "EQUIRECTANGULAR" else "EQUIRECTANGULAR, which has no focal length" in problem


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (camera("SIMPLE_PINHOLE", p0=0.0), "a focal length of 0 px"),
        (camera("PINHOLE", p1=-90.0), "a focal length of 90 and -90 px"),
        (camera("SIMPLE_RADIAL", p0=float("nan")), "not finite"),
        (camera("OPENCV", p7=float("inf")), "not finite"),
        (camera("PINHOLE", p0=1e9, p1=1e9), "a focal length of 1e+09 px"),
        (camera("SIMPLE_RADIAL", p3=1e12), "nothing of the photo is seen"),
    ],
)
def test_cameras_that_cannot_be_undistorted_are_named(made: pycolmap.Camera, problem: str):
    assert problem in camera_problem(made)


def test_poses_are_checked(models: Path, tmp_path: Path):
    shutil.copytree(models / "bin", tmp_path / "m")
    for file in ("frames", "rigs"):
        (tmp_path / "m" / f"{file}.bin").unlink()  # then the poses are those of the images
    path = tmp_path / "m" / "images.bin"
    data = bytearray(path.read_bytes())
    place = 8 + 4 + 4 * 8  # of the first image's translation
    data[place : place + 8] = struct.pack("<d", float("nan"))
    path.write_bytes(data)
    model = read_model(tmp_path / "m")
    assert sorted(bool(pose_problem(model.image(i))) for i in (1, 2, 3)) == [False, False, True]


@pytest.mark.parametrize(
    ("file", "line", "field", "value"),
    [
        ("cameras", 4, 4, "nan"),
        ("images", 5, 5, "inf"),
        ("images", 7, 1, "x"),
        ("points3D", 9, 3, "-"),
        ("frames", 4, 3, "nan"),
    ],
)
def test_the_line_of_a_text_model_is_named(models: Path, tmp_path: Path, file: str, line: int, field: int, value: str):
    shutil.copytree(models / "txt", tmp_path / "m")
    path = tmp_path / "m" / f"{file}.txt"
    lines = path.read_text().split("\n")
    fields = lines[line - 1].split(" ")
    fields[field] = value
    lines[line - 1] = " ".join(fields)
    path.write_text("\n".join(lines))
    with pytest.raises(BadInput, match=f"Correct line {line} of .*{file}\\.txt"):
        read_model(tmp_path / "m")
