"""Zoom pairs of a scene whose pairs are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from halonerf.data.pairs.proposals import by_appearance, by_tracks, union
from halonerf.data.pairs.zoom import carry, projected_outline
from halonerf.data.scene.scene import Scene
from halonerf.files import write_at, write_json, write_npz
from halonerf.stages.mine.stage import COLUMNS, Mine
from halonerf.types import Matches

WIDTH, HEIGHT = 160, 120  # px
SIZE = (WIDTH, HEIGHT)
FRAMES = {"all.jpg": (0.0, 0.0, 4.0), "middle.jpg": (1.5, 1.1, 4.0 / 3), "right.jpg": (0.6, 0.3, 4.0 / 1.2)}


def inside(point: np.ndarray) -> bool:
    return bool((point >= 0).all() and (point <= SIZE).all())


def wall(count: int = 120) -> np.ndarray:
    """Points on a wall, [N, 2] in its own units, 4 x 3."""
    return np.random.default_rng(0).random((count, 2)) * (4.0, 3.0)


def photographed(points: np.ndarray, left: float, top: float, wide: float) -> np.ndarray:
    """Pixels of a photo that shows `wide` units of the wall from (left, top)."""
    return (points - (left, top)) * (WIDTH / wide)


def write_wall_scene(folder: Path) -> Scene:
    """Three photos of one wall: all of it, its middle three times closer, and its right half, 1.2 times closer."""
    points = wall()
    pixels, index, offsets = [], [], [0]
    for i, (left, top, wide) in enumerate(FRAMES.values()):
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
    views = [{"name": name, "image_id": i, **view, "native": native} for i, name in enumerate(FRAMES)]
    frame = {"up": [0.0, 0.0, 1.0], "scene_from_model": np.eye(4).tolist()}
    write_json(folder / "scene.json", {"name": "wall", "size": WIDTH, "views": views, **frame})
    return Scene(folder)


TRACKS = {"_target_": "halonerf.miners.SfmTracks"}


def mine(root: Path, stop_after: int | None = None, miner: dict[str, Any] = TRACKS, **options: Any) -> Mine:
    stage = Mine(miner, **options)
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
    outline = carry(projected_outline(WIDTH, HEIGHT), np.reshape(row.homography, (3, 3)))
    np.testing.assert_allclose(outline, expected, atol=0.1)
    assert stage.summary()["pairs"] == 2
    with np.load(tmp_path / "mine" / "matches.npz") as arrays:
        assert arrays["starts"].tolist() == [0, *np.cumsum(table["matches"])]
        rows = slice(0, int(arrays["starts"][1]))
        moved = carry(arrays["points0"][rows], np.reshape(table.homography[0], (3, 3)))
        np.testing.assert_allclose(moved, arrays["points1"][rows], atol=0.1)
        assert arrays["rigid"].sum() == table["rigid"].sum()
        assert not (arrays["inlier"] & ~arrays["rigid"]).any()
    with Image.open(tmp_path / "mine" / "pairs.png") as picture:
        assert picture.width > 400
    assert not list((tmp_path / "mine").glob("part-*"))


def test_a_killed_run_resumes_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("halonerf.stages.mine.stage.PAIRS_PER_ITEM", 1)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_wall_scene(tmp_path / name)
    mine(tmp_path / "whole")
    mine(tmp_path / "killed", stop_after=1)
    assert not (tmp_path / "killed" / "mine" / "pairs.parquet").exists()
    mine(tmp_path / "killed")
    one, two = (pd.read_parquet(tmp_path / n / "mine" / "pairs.parquet") for n in ("whole", "killed"))
    pd.testing.assert_frame_equal(one, two)


def test_a_scene_without_zoom_pairs_gives_an_empty_table(tmp_path: Path):
    write_wall_scene(tmp_path)
    stage = mine(tmp_path, min_ratio=10.0)
    assert stage.summary()["pairs"] == 0
    assert not (tmp_path / "mine" / "pairs.png").exists()


def test_only_the_best_farther_photos_are_kept(tmp_path: Path):
    write_wall_scene(tmp_path)
    mine(tmp_path, farther=1)
    table = pd.read_parquet(tmp_path / "mine" / "pairs.parquet")
    assert len(table) == 1


def test_pairs_are_proposed_by_shared_points(tmp_path: Path):
    scene = write_wall_scene(tmp_path)
    sets = [set(scene.observations(i)[2].tolist()) for i in range(3)]
    for min_shared in (1, 10, 40, 1000):
        expected = [[i, j] for i in range(3) for j in range(i + 1, 3) if len(sets[i] & sets[j]) >= min_shared]
        assert by_tracks([scene.observations(i)[2].numpy() for i in range(3)], min_shared).tolist() == expected


class RecordingMiner:
    """Matches by the scene's points, and records the photos that features were computed of."""

    computed: ClassVar[list[float]] = []

    def features(self, image: Tensor) -> dict[str, Tensor]:
        colour = float(image.mean())
        self.computed.append(colour)
        shown = list(FRAMES.values())[round(colour * 255 / 60) - 1]
        return {"points": torch.from_numpy(photographed(wall(), *shown))}

    def match_features(self, features0: Mapping[str, Tensor], features1: Mapping[str, Tensor]) -> Matches:
        points = features0["points"], features1["points"]
        inside = torch.stack([(p >= 0).all(1) & (p <= torch.tensor(SIZE)).all(1) for p in points]).all(0)
        return Matches(points[0][inside].float(), points[1][inside].float(), torch.ones(int(inside.sum())))

    def match(self, image0: Tensor, image1: Tensor, seen: Any = None) -> Matches:
        return self.match_features(self.features(image0), self.features(image1))


def table_of(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "mine" / "pairs.parquet")


def test_features_of_a_photo_of_many_pairs_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("halonerf.stages.mine.stage.PAIRS_PER_ITEM", 1)
    write_wall_scene(tmp_path)
    for memory, times in ((1.0, 3), (0.0, 4)):  # MB; without a cache a photo is kept for one pair only
        RecordingMiner.computed.clear()
        mine(tmp_path, miner={"_target_": f"{__name__}.RecordingMiner"}, memory_mb=memory, workers=1)
        assert len(RecordingMiner.computed) == times
        assert len(table_of(tmp_path)) == 2


def test_workers_and_cache_size_do_not_change_the_result(tmp_path: Path):
    write_wall_scene(tmp_path)
    tables = []
    for options in ({"workers": 1}, {"workers": 3}, {"workers": 2, "memory_mb": 0.0}):
        mine(tmp_path, miner={"_target_": f"{__name__}.RecordingMiner"}, **options)
        tables.append(table_of(tmp_path))
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_photos_are_proposed_by_appearance(tmp_path: Path):
    """Two photos of one wall, one of another: beyond the limit for comparing all, only the likely pairs are matched."""
    scene = write_wall_scene(tmp_path)
    walls = [np.random.default_rng(i).integers(0, 255, (20, 27, 3), np.uint8).repeat(8, 0).repeat(8, 1) for i in (0, 1)]
    photos = [walls[0][:HEIGHT, :WIDTH], walls[1][:HEIGHT, :WIDTH], walls[0][20 : 20 + HEIGHT, 30 : 30 + WIDTH]]
    for i, photo in enumerate(photos):
        write_at(tmp_path / "images.u8", i * photo.size, photo.tobytes())
    proposed = [by_appearance(scene, 1, 2, 0, workers, tmp_path).tolist() for workers in (1, 2)]
    assert [0, 2] in proposed[0]
    assert len(proposed[0]) < 3
    assert proposed[0] == proposed[1]
    assert by_appearance(scene, 1, 3, 0, 1, tmp_path).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert list(tmp_path.glob("appearance-*.npz"))
    assert union(np.array([[1, 2], [0, 1]]), np.array([[0, 1]])).tolist() == [[0, 1], [1, 2]]
    assert union().shape == (0, 2)


def test_every_kind_of_proposals(tmp_path: Path):
    write_wall_scene(tmp_path)
    kinds = "tracks", "appearance", "both"
    proposed = {kind: len(mine(tmp_path, proposals=kind, min_shared=40).proposals) for kind in kinds}
    assert proposed["appearance"] == proposed["both"] == 3
    assert len(mine(tmp_path, min_shared=40).proposals) == proposed["tracks"] < 3


def test_published_key_points_take_the_place_of_the_reconstructions(tmp_path: Path):
    write_wall_scene(tmp_path)
    points = {
        f"walls/0/{name}": {f"point {k}": p.tolist() for k, p in enumerate(photographed(wall(), *frame)) if inside(p)}
        for name, frame in FRAMES.items()
        if name != "right.jpg"
    }
    (tmp_path / "points.json").write_text(json.dumps(points))
    mine(tmp_path, miner={**TRACKS, "path": str(tmp_path / "points.json"), "short_side": HEIGHT})
    table = table_of(tmp_path)
    assert table[["photo0", "photo1"]].to_numpy().tolist() == [["middle.jpg", "all.jpg"]]
    assert table.scale_ratio[0] == pytest.approx(3.0, rel=1e-4)
