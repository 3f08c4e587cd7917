"""Zoom pairs: found where they are known to be, refused where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from halonerf.artifacts import write_json
from halonerf.data.scene_files import write_at, write_npz
from halonerf.data.scenes import Scene
from halonerf.data.zoom import carry, outline_of, scale_ratio, verify_zoom
from halonerf.stages.mine import COLUMNS, Mine, propose

WIDTH, HEIGHT = 160, 120  # px
LIMITS: dict[str, Any] = {"min_ratio": 1.5, "min_inliers": 10, "tolerance": 3.0, "seed": 0}
SIZE = (WIDTH, HEIGHT)


def wall(count: int = 120) -> np.ndarray:
    """Points on a wall, [N, 2] in its own units, 4 x 3."""
    return np.random.default_rng(0).random((count, 2)) * (4.0, 3.0)


def photographed(points: np.ndarray, left: float, top: float, wide: float) -> np.ndarray:
    """Pixels of a photo that shows `wide` units of the wall from (left, top)."""
    return (points - (left, top)) * (WIDTH / wide)


def write_wall_scene(folder: Path) -> Scene:
    """Three photos of one wall: all of it, its middle three times closer, and its right half, 1.2 times closer."""
    frames = {"all.jpg": (0.0, 0.0, 4.0), "middle.jpg": (1.5, 1.1, 4.0 / 3), "right.jpg": (0.6, 0.3, 4.0 / 1.2)}
    points = wall()
    pixels, index, offsets = [], [], [0]
    for i, (left, top, wide) in enumerate(frames.values()):
        at = photographed(points, left, top, wide)
        seen = np.flatnonzero((at >= 0).all(axis=1) & (at <= SIZE).all(axis=1))
        pixels.append(at[seen])
        index.append(seen)
        offsets.append(offsets[-1] + len(seen))
        photo = np.full((HEIGHT, WIDTH, 3), 60 * (i + 1), np.uint8)
        write_at(folder / "images.u8", i * photo.size, photo.tobytes())
        write_at(folder / "valid.u8", i * WIDTH * HEIGHT, np.ones(WIDTH * HEIGHT, np.uint8).tobytes())
    write_npz(
        folder / "geometry.npz",
        camera_to_world=np.repeat(np.eye(3, 4, dtype=np.float32)[None], 3, axis=0),
        near=np.ones(3, np.float32),
        far=np.full(3, 2, np.float32),
        points=np.column_stack([points, np.ones(len(points))]).astype(np.float32),
        colours=np.zeros((len(points), 3), np.float32),
        errors=np.zeros(len(points), np.float32),
        offsets=np.asarray(offsets),
        observed_pixels=np.concatenate(pixels).astype(np.float32),
        observed_depth=np.ones(offsets[-1], np.float32),
        observed_point=np.concatenate(index).astype(np.int32),
    )
    native = {"model": "PINHOLE", "width": WIDTH, "height": HEIGHT, "params": [100.0, 100.0, 80.0, 60.0]}
    view = {"split": "train", "width": WIDTH, "height": HEIGHT, "fx": 100, "fy": 100, "cx": 80, "cy": 60}
    views = [{"name": name, "image_id": i, **view, "native": native} for i, name in enumerate(frames)]
    frame = {"up": [0.0, 0.0, 1.0], "scene_from_model": np.eye(4).tolist()}
    write_json(folder / "scene.json", {"name": "wall", "size": WIDTH, "views": views, **frame})
    return Scene(folder)


def mine(root: Path, stop_after: int | None = None, **options: Any) -> Mine:
    stage = Mine({"_target_": "halonerf.miners.sfm_tracks.SfmTracks"}, **options)
    (root / "mine").mkdir(exist_ok=True)
    stage.bind(root / "mine", {"ingest": root}, seed=0)
    stage.prepare()
    for index, item in enumerate([item for item in stage.items() if not stage.done(item)][:stop_after]):
        stage.predict_step(item, index)
    if stop_after is None:
        stage.finish()
    return stage


def test_the_close_up_is_found_with_its_place(tmp_path: Path):
    write_wall_scene(tmp_path)
    stage = mine(tmp_path)
    table = pd.read_parquet(tmp_path / "mine" / "pairs.parquet")
    assert list(table.columns) == list(COLUMNS)
    found = {(r.photo0, r.photo1): r for r in table.itertuples()}
    assert set(found) == {("middle.jpg", "all.jpg"), ("middle.jpg", "right.jpg")}
    row = found["middle.jpg", "all.jpg"]
    assert row.scale_ratio == pytest.approx(3.0, rel=1e-4)
    assert row.inside == 1.0
    assert row.inliers == row.matches >= 10
    expected = photographed(np.array([[1.5, 1.1], [1.5 + 4 / 3, 1.1], [1.5 + 4 / 3, 2.1], [1.5, 2.1]]), 0, 0, 4.0)
    outline = carry(outline_of(WIDTH, HEIGHT), np.reshape(row.homography, (3, 3)))
    np.testing.assert_allclose(outline, expected, atol=0.1)
    assert stage.summary()["pairs"] == 2
    with np.load(tmp_path / "mine" / "matches.npz") as arrays:
        assert arrays["starts"].tolist() == [0, *np.cumsum(table["matches"])]
        rows = slice(0, int(arrays["starts"][1]))
        moved = carry(arrays["points0"][rows], np.reshape(table.homography[0], (3, 3)))
        np.testing.assert_allclose(moved, arrays["points1"][rows], atol=0.1)
    with Image.open(tmp_path / "mine" / "pairs.png") as picture:
        assert picture.width > 400
    assert not list((tmp_path / "mine").glob("part-*"))


def test_a_killed_run_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("halonerf.stages.mine.PAIRS_AN_ITEM", 1)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_wall_scene(tmp_path / name)
    mine(tmp_path / "whole")
    mine(tmp_path / "killed", stop_after=1)
    assert not (tmp_path / "killed" / "mine" / "pairs.parquet").exists()
    mine(tmp_path / "killed")
    one, two = (pd.read_parquet(tmp_path / n / "mine" / "pairs.parquet") for n in ("whole", "killed"))
    pd.testing.assert_frame_equal(one, two)


def test_no_zoom_pairs_is_an_answer(tmp_path: Path):
    write_wall_scene(tmp_path)
    stage = mine(tmp_path, min_ratio=10.0)
    assert stage.summary()["pairs"] == 0
    assert not (tmp_path / "mine" / "pairs.png").exists()


def test_only_the_best_farther_photos_are_kept(tmp_path: Path):
    write_wall_scene(tmp_path)
    mine(tmp_path, farther=1)
    table = pd.read_parquet(tmp_path / "mine" / "pairs.parquet")
    assert len(table) == 1


def test_pairs_are_proposed_by_shared_points_alone(tmp_path: Path):
    scene = write_wall_scene(tmp_path)
    sets = [set(scene.observations(i)[2].tolist()) for i in range(3)]
    for least in (1, 10, 40, 1000):
        expected = [[i, j] for i in range(3) for j in range(i + 1, 3) if len(sets[i] & sets[j]) >= least]
        assert propose(scene, least).tolist() == expected


def test_the_ratio_survives_wrong_matches():
    near = wall()
    far = near / 2.5
    far[:20] = np.random.default_rng(1).random((20, 2))
    assert scale_ratio(near, far) == pytest.approx(2.5, rel=0.02)


def test_a_mirrored_or_scrambled_pair_is_no_zoom():
    far = photographed(wall(), 0, 0, 4.0)
    near = photographed(wall(), 1.0, 0.8, 4.0 / 2)
    inside = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    near, far = near[inside], far[inside]
    assert verify_zoom(near, far, SIZE, SIZE, **LIMITS) is not None
    mirrored = near * (-1, 1) + (WIDTH, 0)
    assert verify_zoom(mirrored, far, SIZE, SIZE, **LIMITS) is None
    scrambled = near[np.random.default_rng(0).permutation(len(near))]
    assert verify_zoom(scrambled, far, SIZE, SIZE, **LIMITS) is None
    assert verify_zoom(far, near, SIZE, SIZE, **LIMITS) is None  # the other way round
    assert verify_zoom(near[:9], far[:9], SIZE, SIZE, **LIMITS) is None


def test_a_close_up_beyond_the_rim_is_partly_inside():
    far = photographed(wall(400), 0, 0, 4.0)
    near = photographed(wall(400), -0.5, 0.8, 4.0 / 2)  # a quarter of it left of the farther photo
    inside = (near >= 0).all(axis=1) & (near <= SIZE).all(axis=1)
    zoom = verify_zoom(near[inside], far[inside], SIZE, SIZE, **LIMITS)
    assert zoom is not None
    assert zoom.inside == pytest.approx(0.75, abs=0.03)  # counted on 33 x 33 samples
    assert zoom.coverage == pytest.approx(0.75, abs=0.15)  # the hull of random points


def test_points_at_infinity_are_refused():
    assert carry(np.array([[1.0, 0.0]]), np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 1.0]])) is None
