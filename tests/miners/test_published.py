"""Published key points: parsed entry by entry, matched by the end of the path, scaled to the scene's photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from halonerf.errors import BadInput
from halonerf.miners import published
from halonerf.miners.published import read_published
from halonerf.miners.sfm_tracks import SfmTracks

POINTS = {
    "cathedrals/0/1/pictures/Façade – „Süd“ {1}.jpg": {"17": [10.0, 20.0], "99": [30, 40.5]},
    "cathedrals/0/2/pictures/nave.jpg": {"99": [5.0, 6.0]},
    "cathedrals/3/pictures/nave.jpg": {"4": [1.0, 2.0]},
    "empty.jpg": {},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "correspondence.json"
    path.write_text(json.dumps(POINTS, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_entries_equal_those_of_json_for_any_chunk_size(file: Path, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(published, "CHUNK_CHARS", chunk)
    found = read_published(file, list(POINTS))
    assert {name: len(ids) for name, (_, ids) in found.items()} == {name: len(p) for name, p in POINTS.items()}
    (first, ids0), (second, ids1) = [found[name] for name in list(POINTS)[:2]]
    np.testing.assert_array_equal(first, [[10, 20], [30, 40.5]])
    np.testing.assert_array_equal(second, [[5, 6]])
    assert ids0[1] == ids1[0] != ids0[0]


def test_spacing_and_order_do_not_matter(tmp_path: Path):
    path = tmp_path / "spaced.json"
    path.write_text(json.dumps(POINTS, indent=3), encoding="utf-8")
    assert set(read_published(path, list(POINTS))) == set(POINTS)
    path.write_text(" {\n } ", encoding="utf-8")
    assert read_published(path, ["a.jpg"]) == {}


def test_a_photo_is_found_by_the_end_of_its_path_unless_that_is_ambiguous(file: Path):
    names = ["Façade – „Süd“ {1}.jpg", "nave.jpg", "photos/cathedrals/3/pictures/nave.jpg", "ave.jpg"]
    found = read_published(file, names)
    assert set(found) == {names[0], names[2]}  # nave.jpg may be either; ave.jpg is the end of a name, not of a path
    assert len(found[names[2]][0]) == 1


def test_points_are_scaled_to_the_scenes_photos(file: Path):
    names = [name for name in POINTS if "nave" not in name]
    seen = SfmTracks(str(file), short_side=200).tracks(names, [(800, 400), (300, 300)])
    assert seen is not None
    np.testing.assert_allclose(seen[0][0], [[20, 40], [60, 81]])
    assert seen[1][0].shape == (0, 2)
    plain = SfmTracks(str(file), short_side=None).tracks(names, [(800, 400), (300, 300)])
    assert plain is not None
    np.testing.assert_allclose(plain[0][0], [[10, 20], [30, 40.5]])
    assert SfmTracks().tracks(names, [(1, 1), (1, 1)]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        '{"a.jpg": {"1": [1, 2]}',
        '{"a.jpg": [1, 2]}',
        '{"a.jpg": {"1": [1, 2, 3]}}',
        '{"a.jpg": {"1": "x"}}',
    ],
)
def test_another_layout_is_refused(text: str, tmp_path: Path):
    path = tmp_path / "wrong.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="key point"):
        read_published(path, ["a.jpg"])


def test_a_missing_file_and_unknown_photos_are_named(file: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"miner\.path=FILE"):
        SfmTracks(str(tmp_path / "none.json")).tracks(["a.jpg"], [(10, 10)])
    with pytest.raises(BadInput, match=r"miner\.path=null"):
        SfmTracks(str(file)).tracks(["another.jpg"], [(10, 10)])
