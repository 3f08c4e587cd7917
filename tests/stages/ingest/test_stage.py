"""The `ingest` stage against known cameras; failures are handled or explained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from PIL import Image

from halonerf.data.scene.scene import Scene
from halonerf.data.sources.colmap_folder import ColmapFolder
from halonerf.data.sources.photo_folder import PhotoFolder
from halonerf.errors import BadInput
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.loading import open_segmenter
from halonerf.picture_files import oriented
from halonerf.stages.ingest.stage import Ingest
from halonerf.stages.ingest.steps import train_test_split
from helpers.made_photos import FOCAL, corner_photo, corner_poses, write_corner

FAST = {"features": 700, "size": 160}  # enough for the corner, whose texture is rich


def collected(source: Any, root: Path) -> Path:
    folder = root / "collect"
    folder.mkdir(parents=True)
    source.collect(folder)
    return folder


def ingest(collection: Path, folder: Path, stop_before: str = "", **options: Any) -> Ingest:
    folder.mkdir(parents=True, exist_ok=True)
    stage = Ingest(**{**FAST, **options})
    stage.bind(folder, {"collect": collection}, seed=0)
    stage.prepare()
    for index, item in enumerate([item for item in stage.items() if not stage.done(item)]):
        if stop_before and item.startswith(stop_before):
            return stage
        stage.predict_step(item, index)
    stage.finish()
    return stage


def centre_errors(scene: Scene, truth: dict[str, np.ndarray]) -> np.ndarray:
    """Distances of camera centres to the truth after the best similarity (Umeyama 1991), in the truth's units."""
    found = np.stack([v.centre.double().numpy() for v in scene.views])
    wanted = np.stack([truth[name] for name in scene.names])
    a, b = found - found.mean(0), wanted - wanted.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.linalg.det(u @ vt)])
    scale = (s * np.diag(sign)).sum() / (a**2).sum()
    return np.linalg.norm(scale * a @ (u @ sign @ vt).T - b, axis=1)


def centres(poses: np.ndarray) -> list[np.ndarray]:
    return [-p[:, :3].T @ p[:, 3] for p in poses]


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight good photos among bad ones, one of them turned with an EXIF note."""
    folder = tmp_path_factory.mktemp("corner") / "my photos"
    write_corner(folder / "Ü")
    first = folder / "Ü" / "photo00.jpg"
    (folder / "copy.jpg").write_bytes(first.read_bytes())
    (folder / "truncated.jpg").write_bytes(first.read_bytes()[:9000])
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(folder / "tiny.png")
    turned = Image.open(folder / "Ü" / "photo03.jpg").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "Ü" / "photo03.jpg", exif=exif, quality=95)
    return folder


@pytest.fixture(scope="module")
def finished(corner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    ingest(collected(PhotoFolder(str(corner)), root), root / "ingest")
    return root


def test_cameras_are_where_they_were(finished: Path):
    scene = Scene(finished / "ingest")
    poses = corner_poses(8)
    truth = {f"Ü/photo{i:02d}.jpg": c for i, c in enumerate(centres(poses))}
    truth["copy.jpg"] = truth["Ü/photo00.jpg"]  # "copy" comes first in name order, so the original is the duplicate
    assert len(scene) == 8
    assert centre_errors(scene, truth).max() < 0.02  # of 4 units' distance; 0.003 was measured
    focal = np.array([v.fx for v in scene.views]) * 2  # photos are worked on at half size
    np.testing.assert_allclose(focal, FOCAL, rtol=0.02)
    assert all((v.width, v.height) == (160, 120) for v in scene.views)
    # the corner's floor is level, and its walls stand behind it as seen from the cameras
    up = scene.up.numpy()
    heights = np.array([v.centre.numpy() @ up for v in scene.views])
    order = [float(truth[name][2]) for name in scene.names]
    assert np.corrcoef(heights, order)[0, 1] > 0.95


def test_points_lie_on_the_three_planes(finished: Path):
    model = pycolmap.Reconstruction(finished / "ingest" / "sparse")
    poses = corner_poses(8)
    wanted = dict(zip([f"Ü/photo{i:02d}.jpg" for i in range(8)], centres(poses), strict=True))
    wanted["copy.jpg"] = wanted["Ü/photo00.jpg"]
    names = sorted(model.image(i).name for i in model.reg_image_ids())
    aligned = pycolmap.align_reconstruction_to_locations(
        model, names, np.stack([wanted[n] for n in names]), 3, pycolmap.RANSACOptions(max_error=0.1, random_seed=0)
    )
    model.transform(aligned)
    distance = np.array([np.abs(model.point3D(p).xyz).min() for p in model.point3D_ids()])
    assert np.median(distance) < 0.03  # of walls 4 units long; 0.010 was measured
    assert model.camera(next(iter(model.cameras))).width == 320


def test_the_report_names_what_was_set_aside(finished: Path):
    report = json.loads((finished / "ingest" / "report.json").read_text())
    reasons = {entry["photo"]: entry["reason"] for entry in report["set_aside"]}
    assert set(reasons) == {"tiny.png", "truncated.jpg", "Ü/photo00.jpg"}
    assert reasons["Ü/photo00.jpg"] == "duplicate: the same file as copy.jpg"
    assert report["photos"] == 11
    assert report["registered"] == report["usable"] == 8
    assert report["unregistered"] == []
    assert report["mean_reprojection_error_px"] < 1.0
    assert report["points"] > 100
    assert not (finished / "ingest" / "work").exists()
    with Image.open(finished / "ingest" / "registration.png") as picture:
        assert picture.width > 800


def test_working_images_are_the_photos_upright(finished: Path):
    scene = Scene(finished / "ingest")
    i = scene.index("Ü/photo03.jpg")
    assert scene.native_size(i) == (320, 240)
    expected = corner_photo(corner_poses(8)[3]).reshape(120, 2, 160, 2, 3).mean(axis=(1, 3))
    valid = scene.valid(i).numpy()
    difference = np.abs(scene.photo(i).numpy() - expected)[valid].mean()
    shifted = np.abs(scene.photo(i).numpy() - np.roll(expected, 2, axis=1))[valid].mean()
    assert difference < 8  # JPEG, twice, of saturated noise; 5.0 was measured
    assert difference < shifted / 3
    assert scene.valid(i).float().mean() > 0.95


def test_a_few_photos_are_all_fitted(finished: Path):
    scene = Scene(finished / "ingest")
    assert scene.names == sorted(scene.names)
    assert scene.indices("test") == []


@pytest.mark.parametrize(("every", "held"), [(8, [0, 8, 16]), (0, []), (1, list(range(17)))])
def test_every_nth_photo_is_held_out(every: int, held: list[int]):
    names = [f"{i:02d}" for i in range(17)]
    assert [i for i, side in enumerate(train_test_split(names, every, 16).values()) if side == "test"] == held
    assert "test" not in train_test_split(names[:15], every, 16).values()


@pytest.mark.parametrize("step", ["features:1", "matches", "mapping", "tables"])
def test_a_killed_run_resumes_to_the_same_result(finished: Path, tmp_path: Path, step: str):
    collection = finished / "collect"
    ingest(collection, tmp_path / "out", stop_before=step)
    (tmp_path / "out" / "sparse.partial").mkdir(exist_ok=True)  # what a kill in the midst of writing leaves
    (tmp_path / "out" / "work" / ".features-1.npz.x").write_bytes(b"half")
    ingest(collection, tmp_path / "out")
    for name in ("images.u8", "valid.u8", "scene.json", "geometry.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (finished / "ingest" / name).read_bytes(), name


def test_a_finished_model_is_read_not_made(finished: Path, corner: Path, tmp_path: Path):
    project = tmp_path / "project"
    shutil.copytree(finished / "ingest" / "sparse", project / "sparse" / "0")
    shutil.copytree(corner, project / "images")
    (project / "images" / "Ü" / "photo05.jpg").unlink()
    wrong = np.zeros((300, 300, 3), np.uint8)
    Image.fromarray(wrong).save(project / "images" / "Ü" / "photo06.jpg")
    stage = ingest(collected(ColmapFolder(str(project)), tmp_path), tmp_path / "ingest", test_every=0)
    made, read = Scene(finished / "ingest"), Scene(tmp_path / "ingest")
    assert read.names == [n for n in made.names if n not in ("Ü/photo05.jpg", "Ü/photo06.jpg")]
    assert read.indices("test") == []
    assert stage.summary()["mapper"] == "finished model"
    report = json.loads((tmp_path / "ingest" / "report.json").read_text())
    reasons = {entry["photo"]: entry["reason"] for entry in report["set_aside"]}
    assert reasons.keys() == {"Ü/photo05.jpg", "Ü/photo06.jpg"}
    assert "missing under" in reasons["Ü/photo05.jpg"]
    assert "300x300 px" in reasons["Ü/photo06.jpg"]
    # sizes in space agree up to the similarity of another choice of points
    a = np.stack([made.views[made.index(n)].centre.numpy() for n in read.names])
    b = np.stack([v.centre.numpy() for v in read.views])
    ratio = np.linalg.norm(a[1:] - a[:-1], axis=1) / np.linalg.norm(b[1:] - b[:-1], axis=1)
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-3)


def test_photos_whose_cameras_cannot_be_undistorted_are_set_aside(finished: Path, corner: Path, tmp_path: Path):
    project = tmp_path / "project"
    (project / "sparse").mkdir(parents=True)
    shutil.copytree(corner, project / "images")
    pycolmap.Reconstruction(finished / "ingest" / "sparse").write_text(project / "sparse")
    for name in ("rigs", "frames"):
        (project / "sparse" / f"{name}.txt").unlink()
    cameras = [
        "EQUIRECTANGULAR 320 240 320 240",
        "SIMPLE_PINHOLE 320 240 0 160 120",
        "PINHOLE 320 240 300 -300 160 120",
    ]
    with open(project / "sparse" / "cameras.txt", "a") as stream:
        stream.writelines(f"{101 + i} {line}\n" for i, line in enumerate(cameras))
    path = project / "sparse" / "images.txt"
    lines = path.read_text(encoding="utf-8").split("\n")
    named = [i for i, line in enumerate(lines) if line.endswith(".jpg")]
    for camera, i in zip((101, 102, 103), named, strict=False):
        fields = lines[i].split(" ")
        lines[i] = " ".join([*fields[:8], str(camera), *fields[9:]])
    path.write_text("\n".join(lines), encoding="utf-8")
    ingest(collected(ColmapFolder(str(project)), tmp_path), tmp_path / "ingest")
    assert len(Scene(tmp_path / "ingest")) == 5
    report = json.loads((tmp_path / "ingest" / "report.json").read_text())
    reasons = [entry["reason"] for entry in report["set_aside"]]
    assert len(reasons) == 3
    for part in ("EQUIRECTANGULAR", "a focal length of 0 px", "a focal length of 300 and -300 px"):
        assert sum(part in reason for reason in reasons) == 1
    for i in named:
        fields = lines[i].split(" ")
        lines[i] = " ".join([*fields[:8], "101", *fields[9:]])
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(BadInput, match=r"none of 8 can be used: camera model EQUIRECTANGULAR"):
        ingest(collected(ColmapFolder(str(project)), tmp_path / "again"), tmp_path / "again" / "ingest")


def test_a_table_leaves_photos_out_and_splits_the_rest(finished: Path, corner: Path, tmp_path: Path):
    project = tmp_path / "project"
    shutil.copytree(finished / "ingest" / "sparse", project / "dense" / "sparse")
    shutil.copytree(corner, project / "dense" / "images")
    rows = [f"Ü/photo{i:02d}.jpg\t{i}\t{'test' if i == 2 else 'train'}\tcorner" for i in range(1, 7)]
    (project / "corner.tsv").write_text("\n".join(["filename\tid\tsplit\tdataset", *rows]), encoding="utf-8")
    ingest(collected(ColmapFolder(str(project)), tmp_path), tmp_path / "ingest")
    scene = Scene(tmp_path / "ingest")
    assert scene.names == [f"Ü/photo{i:02d}.jpg" for i in range(1, 7)]
    assert [scene.names[i] for i in scene.indices("test")] == ["Ü/photo02.jpg"]


def test_the_global_mapper_agrees(finished: Path, tmp_path: Path):
    ingest(finished / "collect", tmp_path / "out", mapper="global")
    a, b = Scene(finished / "ingest"), Scene(tmp_path / "out")
    assert b.names == a.names
    truth = {n: v.centre.double().numpy() for n, v in zip(a.names, a.views, strict=True)}
    assert centre_errors(b, truth).max() < 0.02


def test_photos_of_different_places_are_refused(tmp_path: Path):
    poses = corner_poses(3)
    (tmp_path / "photos").mkdir()
    for seed in (0, 1):
        Image.fromarray(corner_photo(poses[seed], seed)).save(tmp_path / "photos" / f"{seed}.jpg")
    with pytest.raises(BadInput, match=r"no two of the 2 photos.*of 1 pairs\s+matched, 0 have"):
        ingest(collected(PhotoFolder(str(tmp_path / "photos")), tmp_path), tmp_path / "out")


def turned_views(count: int) -> list[np.ndarray]:
    """What one camera sees of the corner while it turns on the spot."""
    pose = corner_poses(3)[1]
    views = []
    for angle in np.radians(np.linspace(-8, 8, count)):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        views.append(corner_photo(turn @ pose))
    return views


def test_photos_taken_by_turning_on_the_spot_are_refused(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    for i, view in enumerate(turned_views(5)):
        Image.fromarray(view).save(tmp_path / "photos" / f"{i}.jpg", quality=95)
    with pytest.raises(BadInput, match=r"turning the camera explains.*triangulation angle is at most 0\.\d"):
        ingest(collected(PhotoFolder(str(tmp_path / "photos")), tmp_path), tmp_path / "out")


def test_copies_of_one_photo_are_refused(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    photo = Image.fromarray(corner_photo(corner_poses(3)[1]))
    for quality in (95, 80, 60):
        photo.save(tmp_path / "photos" / f"{quality}.jpg", quality=quality)
    photo.resize((256, 192)).save(tmp_path / "photos" / "small.jpg", quality=95)
    with pytest.raises(BadInput, match=r"no parallax.*copies of one photo"):
        ingest(collected(PhotoFolder(str(tmp_path / "photos")), tmp_path), tmp_path / "out")


def test_turned_views_among_others_do_no_harm(tmp_path: Path):
    write_corner(tmp_path / "photos", count=5)
    for i, view in enumerate(turned_views(3)):
        Image.fromarray(view).save(tmp_path / "photos" / f"turned{i}.jpg", quality=95)
    ingest(collected(PhotoFolder(str(tmp_path / "photos")), tmp_path), tmp_path / "out")
    assert len(Scene(tmp_path / "out")) == 7  # the turned view in the middle is a copy of a photo


def test_one_usable_photo_is_refused(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(corner_photo(corner_poses(2)[0])).save(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "b.jpg").write_text("text")
    with pytest.raises(BadInput, match=r"found 1 among 2 \(b.jpg: unreadable"):
        ingest(collected(PhotoFolder(str(tmp_path / "photos")), tmp_path), tmp_path / "out")


def test_missing_photos_are_named(tmp_path: Path):
    write_corner(tmp_path / "photos", count=2)
    collection = collected(PhotoFolder(str(tmp_path / "photos")), tmp_path)
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(BadInput, match="not exist any more"):
        ingest(collection, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "photos"), [("sacre_coeur", 10), ("sceaux_castle", 11)])
def test_every_real_photo_is_registered(name: str, photos: int, shared: Callable[[str], Path], tmp_path: Path):
    stage = ingest(collected(PhotoFolder(str(shared(name) / "photos")), tmp_path), tmp_path / "out", features=8192)
    summary = stage.summary()
    assert summary["registered"] == photos
    assert summary["mean_reprojection_error_px"] < 0.6
    assert summary["points"] > 1000


@pytest.mark.slow
def test_herz_jesu_agrees_with_the_surveyed_cameras(shared: Callable[[str], Path], tmp_path: Path):
    root = shared("herzjesu_p25")
    truth = {}
    for path in (root / "ground_truth" / "gt_dense_cameras").glob("*.camera"):
        lines = [[float(v) for v in line.split()] for line in path.read_text().splitlines() if line.strip()]
        truth[path.name.removesuffix(".camera")] = np.array(lines[7])  # metres
    ingest(collected(PhotoFolder(str(root / "photos")), tmp_path), tmp_path / "out", features=4096)
    scene = Scene(tmp_path / "out")
    assert len(scene) == 25
    assert centre_errors(scene, truth).mean() < 0.03


@pytest.mark.parametrize("orientation", [3, 6])
def test_masks_follow_photos_that_a_model_uses_as_stored(
    finished: Path, corner: Path, tmp_path: Path, orientation: int
):
    """COLMAP ignores EXIF data; viewers and mask editors turn the photo, so that the mask is drawn turned."""
    project = tmp_path / "project"
    shutil.copytree(finished / "ingest" / "sparse", project / "sparse" / "0")
    shutil.copytree(corner, project / "images")
    exif = Image.Exif()
    exif[0x0112] = orientation
    name = "Ü/photo01.jpg"
    photo = project / "images" / name
    Image.open(photo).save(photo, exif=exif, quality=95)
    collection = collected(ColmapFolder(str(project)), tmp_path)
    ingest(collection, tmp_path / "ingest", test_every=0)
    scene = Scene(tmp_path / "ingest")
    view = scene.index(name)
    others = [scene.orientation(i) for i in range(len(scene)) if i != view]
    assert (scene.orientation(view), set(others)) == (orientation, {1})
    stored = np.zeros((240, 320), np.uint8)
    stored[20:90, 30:140] = 255  # in the frame of the scene's photo
    drawn = Image.fromarray(oriented(stored, orientation))
    path = (tmp_path / "masks" / "window" / name).with_suffix(".png")
    path.parent.mkdir(parents=True)
    drawn.save(path)
    truths = GroundTruthMasks.open(scene, collection, str(tmp_path / "masks"))
    assert truths is not None
    truth = truths.read(view, ["window"])[0]["window"]
    wanted = scene.undistort(view, stored, scene.native_size(view)) >= 128
    np.testing.assert_array_equal(truth, wanted)
    segmenter = open_segmenter({"_target_": "halonerf.segmenters.Masks", "path": str(tmp_path / "masks")}, scene)
    logits = segmenter.decode(segmenter.encode(scene.photo(view).permute(2, 0, 1)[None] / 255, [name]), ["window"])
    found = logits[0, 0].numpy() > 0
    small = scene.undistort(view, stored) >= 128
    assert (found & small).sum() / (found | small).sum() > 0.97  # edges between pixels


def test_what_was_passed_over_is_in_the_report(corner: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    shutil.copytree(corner, photos)
    (photos / "broken.jpg").symlink_to("nowhere")
    ingest(collected(PhotoFolder(str(photos)), tmp_path), tmp_path / "ingest")
    report = json.loads((tmp_path / "ingest" / "report.json").read_text())
    reasons = {entry["photo"]: entry["reason"] for entry in report["set_aside"]}
    assert reasons["broken.jpg"] == "a link to nothing"
    assert set(reasons) == {"broken.jpg", "tiny.png", "truncated.jpg", "Ü/photo00.jpg"}
