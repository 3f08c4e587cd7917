"""The index: its tables lift exactly, its photos cover the building, and a killed run goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import interpolate

from halonerf.cli import composed
from halonerf.errors import BadInput
from halonerf.pipeline.plan import resolve
from halonerf.queries.lifting_tables import lifting_table, table_grid
from halonerf.stages.index.photo_selection import select_covering_photos
from halonerf.stages.index.stage import Index
from halonerf.types import View
from helpers.made_folders import run_stage
from helpers.made_query import FIELD, SEGMENTER, Colours, made_field, noise, write_query_folders


def camera(width: int, height: int) -> View:
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.0
    return View(width, height, 60.0, 60.0, width / 2, height / 2, pose)


@pytest.mark.parametrize(("width", "height", "longest"), [(64, 48, 16), (45, 70, 16), (37, 20, 80), (150, 100, 30)])
def test_the_table_lifts_what_the_field_lifts(width: int, height: int, longest: int):
    """Of coarse maps drawn out to the view's size, and where the photo is valid alone; in several parts, too."""
    field, view = made_field(), camera(width, height)
    grid = table_grid(view, longest)
    assert max(grid) == min(longest, max(width, height))
    valid = (noise((height, width), 1) > 0.2).float()
    table = lifting_table(field, view, valid, grid)
    maps = noise((*grid, 2), 2)
    drawn = interpolate(maps.permute(2, 0, 1)[None], (height, width), mode="bilinear", align_corners=False)[0]
    sums, seen = field.lift(view, drawn.permute(1, 2, 0), valid)
    assert float(seen.max()) > 5  # px: elements are seen
    lifted = table.T @ np.concatenate([maps, np.ones((*grid, 1))], axis=2).reshape(-1, 3)
    # what is dropped: entries below 1e-4 px, of which an element has at most a few dozen
    np.testing.assert_allclose(lifted, torch.cat([sums, seen[:, None]], dim=1), rtol=1e-4, atol=5e-3)


def test_small_parts_give_the_same_table(monkeypatch: pytest.MonkeyPatch):
    field, view = made_field(), camera(70, 50)
    whole = lifting_table(field, view, torch.ones(50, 70), (13, 18))
    monkeypatch.setattr("halonerf.queries.lifting_tables.PART_BYTES", 1.0)  # a tile at a time
    parts = lifting_table(field, view, torch.ones(50, 70), (13, 18))
    assert abs(whole - parts).max() < 1e-3  # px; an entry below 1e-4 px in each of several parts is dropped


def test_redundant_photos_are_not_selected():
    left, right = np.array([1.0, 1, 0, 0]), np.array([0, 0, 0.6, 0.6])
    seen = np.stack([left, left, right, 0.1 * right])
    assert [row for row, _ in select_covering_photos(seen, np.ones(4), 2)] == [0, 2]
    gains = select_covering_photos(seen, np.ones(4), 9)
    assert [row for row, _ in gains] == [0, 2]  # the others add nothing
    assert sum(gain for _, gain in gains) == pytest.approx(1.0)


def test_the_score_decides_between_similar_photos():
    seen = np.ones((3, 5))
    assert select_covering_photos(seen, np.array([0.2, 0.9, 0.5]), 1)[0][0] == 1
    assert select_covering_photos(seen, np.zeros(3), 3) == []
    assert select_covering_photos(np.zeros((2, 4)), np.ones(2), 2) == []


def test_the_index_contains_what_queries_need(tmp_path: Path):
    inputs = write_query_folders(tmp_path)
    stage = run_stage(Index(SEGMENTER, FIELD, max_photos=3, map_size=16), tmp_path / "index", inputs)
    assert sorted(p.stem for p in (tmp_path / "index" / "seen").iterdir()) == ["00000", "00001", "00002", "00003"]
    stored = sorted((tmp_path / "index" / "photos").iterdir())
    assert len(stored) == stage.summary()["photos"] == 3
    tensors = load_file(stored[0])
    assert tensors["encoding.pixels"].dtype == torch.float16
    assert tensors["grid"].tolist() == [12, 16]
    assert len(tensors["shares.start"]) == 12 * 16 + 1
    assert (tmp_path / "index" / "photos.csv").read_text().splitlines()[0] == "view,photo,score,gain"


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path):
    inputs = write_query_folders(tmp_path)
    options = {"segmenter": SEGMENTER, "field": FIELD, "max_photos": 3, "map_size": 16}
    run_stage(Index(**options), tmp_path / "whole", inputs)
    run_stage(Index(**options), tmp_path / "killed", inputs, most=2)
    run_stage(Index(**options), tmp_path / "killed", inputs, most=3)
    before = Colours.encoded
    assert len(list((tmp_path / "killed" / "photos").iterdir())) == 1
    run_stage(Index(**options), tmp_path / "killed", inputs)
    assert Colours.encoded == before + 2  # the photos that were missing
    whole = sorted(p for p in (tmp_path / "whole").rglob("*") if p.is_file())
    assert len(whole) == 8
    for path in whole:
        assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_a_smaller_rendering_size_keeps_the_unit(tmp_path: Path):
    inputs = write_query_folders(tmp_path)
    totals = []
    for size in (None, 32):
        folder = tmp_path / f"index{size}"
        run_stage(Index(SEGMENTER, FIELD, max_photos=1, map_size=16, size=size), folder, inputs)
        totals.append(float(load_file(next((folder / "photos").iterdir()))["shares.value"].float().sum()))
    # in pixels of the photo, although it looked at a quarter of them: else a fourth. Tiny Gaussians are drawn 0.3 px^2
    # larger at any size, which counts for more in a small picture: 16 % measured
    assert totals[1] == pytest.approx(totals[0], rel=0.4)


def test_without_chosen_photos_there_is_no_index(tmp_path: Path):
    inputs = write_query_folders(tmp_path, photos=3, untrusted=3)
    with pytest.raises(BadInput, match=r"segment chose none"):
        run_stage(Index(SEGMENTER, FIELD), tmp_path / "index", inputs)


def test_query_texts_do_not_change_the_index(tmp_path: Path):
    def keys(*overrides: str) -> dict[str, str]:
        config = composed(["stage=query", *overrides])
        return {step.stage: step.key for step in resolve(config).steps}

    one, other = keys("text=portal"), keys("text=[window,portal AND NOT window]", "query.relevancy=true")
    assert one.pop("query") != other.pop("query")
    assert one == other
    assert keys("text=portal", "index.max_photos=3")["index"] != one["index"]
