"""Annotations: their regions of pixels, and their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from halonerf.annotations import (
    Annotation,
    AnnotationSet,
    annotated_regions,
    drawn_region,
    require_interactive_segmenter,
)
from halonerf.errors import BadInput, MissingArtifact


def drawn(tool: str, *points: tuple[float, float], **options: object) -> Annotation:
    return Annotation.model_validate({"concept": "portal", "photo": "a.jpg", "tool": tool, "points": points, **options})


def test_a_point_is_a_disc_whose_radius_is_in_long_sides():
    region = drawn_region(drawn("point", (0.5, 0.25), radius=0.1), 200, 100)
    rows, columns = np.indices(region.shape)
    disc = np.hypot(columns + 0.5 - 100, rows + 0.5 - 25) <= 20
    assert (region != disc).sum() <= 0.05 * disc.sum()


def test_a_stroke_is_as_wide_as_its_diameter_at_any_size():
    stroke = drawn("stroke", (0.25, 0.5), (0.75, 0.5), radius=0.02)
    for width, height in ((100, 80), (400, 320), (1000, 800)):
        region = drawn_region(stroke, width, height)
        assert abs(int(region[:, width // 2].sum()) - 0.04 * width) <= 1
        assert region.any(axis=0).sum() == pytest.approx(0.54 * width, abs=2)


def test_a_polygon_is_its_inside():
    region = drawn_region(drawn("polygon", (0.2, 0.2), (0.6, 0.2), (0.6, 0.7), (0.2, 0.7)), 100, 100)
    assert region[21:69, 21:59].all()
    assert region.sum() == pytest.approx(2000, rel=0.05)


def test_thin_strokes_keep_their_points_and_what_leaves_the_photo_is_cut_off():
    region = drawn_region(drawn("stroke", (0.5, 0.5), (1.4, 0.5), radius=0.0001), 60, 40)
    assert region[20, 30]
    assert not drawn_region(drawn("point", (1.4, -0.4), radius=0.01), 60, 40).any()


def test_the_last_of_overlapping_annotations_counts():
    yes, no = drawn("point", (0.5, 0.5), radius=0.2), drawn("point", (0.5, 0.5), radius=0.1, positive=False)
    positive, negative = annotated_regions([yes, no], 50, 50)
    assert (negative[25, 25], positive[25, 25]) == (True, False)
    assert (negative[25, 34], positive[25, 34]) == (False, True)
    positive, negative = annotated_regions([no, yes], 50, 50)
    assert (positive[25, 25], negative.any()) == (True, False)


def test_concepts_are_usable_in_scenes_that_have_their_photos_or_their_world():
    camera = {**CAMERA, "reconstruction": "this"}
    entries = [
        drawn("point", (0.1, 0.1), concept="on a photo"),
        drawn("point", (0.1, 0.1), concept="of another scene", photo="b.jpg"),
        drawn("point", (0.1, 0.1), concept="on the view", photo=None, camera=camera),
        drawn("point", (0.1, 0.1), concept="of another world", photo=None, camera=CAMERA),
        drawn("point", (0.1, 0.1), concept="of both", photo="b.jpg"),
        drawn("point", (0.1, 0.1), concept="of both"),
    ]
    assert AnnotationSet(entries).usable_concepts(["a.jpg"], "this") == ["on a photo", "on the view"]
    assert "of both" in AnnotationSet(entries).usable_concepts(["a.jpg", "b.jpg"], "other")


def test_a_file_is_read_as_it_was_written(tmp_path: Path):
    stroke, polygon = drawn("stroke", (0.1, 0.2), (0.3, 0.4)), drawn("polygon", (0, 0), (1, 0), (1, 1), photo="b.jpg")
    kept = AnnotationSet([stroke, polygon])
    kept.remove(stroke.id)
    kept.save(tmp_path / "annotations.json")
    found = AnnotationSet.load(tmp_path / "annotations.json")
    assert list(found) == [polygon]
    assert found.photos("portal") == ["b.jpg"]
    assert stroke not in found.merged(AnnotationSet([stroke]))


def test_two_people_are_merged_by_id():
    first, second, both = (
        drawn("point", (0.1, 0.1)),
        drawn("point", (0.2, 0.2), concept="window"),
        drawn("point", (0, 0)),
    )
    merged = AnnotationSet([first, both]).merged(AnnotationSet([both, second]))
    assert list(merged) == [first, both, second]
    assert merged.concepts() == ["portal", "window"]
    assert merged.of("window", "a.jpg") == [second]
    merged.remove(first.id)
    merged.add(first)
    assert list(merged) == [both, second, first]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("", "the file"),
        ("[1]", "the file"),
        ('{"kind": "other", "version": 1}', "kind"),
        ('{"version": 2}', "version"),
        ('{"annotations": [{"concept": "a", "photo": "b", "tool": "point", "points": []}]}', "annotations.0.points"),
        ('{"annotations": [{"concept": "", "photo": "b", "tool": "point", "points": [[0, 0]]}]}', "concept"),
        ('{"annotations": [{"concept": "a", "photo": "b", "tool": "eval", "points": [[0, 0]]}]}', "tool"),
        ('{"annotations": [{"concept": "a", "photo": "b", "tool": "point", "points": [[NaN, 0]]}]}', "points"),
    ],
)
def test_another_file_is_refused_with_the_place_of_the_fault(tmp_path: Path, content: str, place: str):
    (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(BadInput, match=place):
        AnnotationSet.load(tmp_path / "annotations.json")


def test_a_missing_file_says_how_one_is_made(tmp_path: Path):
    with pytest.raises(MissingArtifact, match="stage=explore"):
        AnnotationSet.load(tmp_path / "annotations.json")


@pytest.mark.parametrize("wrong", [{"radius": 0}, {"points": [(2.0, 0.0)]}, {"id": "../x"}, {"colour": "red"}])
def test_an_annotation_out_of_range_is_refused(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        drawn("point", (0.5, 0.5), **({"points": [(0, 0)]} | wrong))


def test_ids_differ_and_the_file_is_plain_json(tmp_path: Path):
    AnnotationSet([drawn("point", (0, 0)), drawn("point", (0, 0))]).save(tmp_path / "annotations.json")
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert content["kind"] == "halonerf annotations"
    assert len({entry["id"] for entry in content["annotations"]}) == 2


def test_a_region_snaps_to_superpixels_that_it_fills_in_large_part_and_what_is_drawn_counts_before():
    picture = np.zeros((80, 120, 3), np.uint8)
    picture[20:60, 40:43] = 255  # a bright bar, narrower than the stroke is long
    picture[:, 60:] = (0, 90, 200)
    stroke = drawn("stroke", (0.345, 0.35), (0.345, 0.65), radius=0.012, snap="superpixels")
    plain, _ = annotated_regions([stroke], 120, 80)
    snapped, _ = annotated_regions([stroke], 120, 80, lambda: picture)
    assert (snapped & ~plain).any()
    assert snapped[plain].all()
    assert not snapped[:, 60:].any(), "superpixels end at edges"
    beside = drawn("polygon", (0.32, 0.3), (0.34, 0.3), (0.34, 0.7), (0.32, 0.7), positive=False)
    positive, negative = annotated_regions([beside, stroke], 120, 80, lambda: picture)
    only_drawn, _ = annotated_regions([beside], 120, 80)
    assert negative.any()
    assert not (positive & negative).any()
    assert (negative == (drawn_region(beside, 120, 80) & ~drawn_region(stroke, 120, 80))).all()
    assert not only_drawn.any()


class Clicked:
    """An interactive segmenter whose masks are squares of 10 px around the first point; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

    def masks(self, picture: np.ndarray, points: Sequence[np.ndarray], positive: Sequence[np.ndarray]) -> np.ndarray:
        self.asked += zip(points, positive, strict=True)
        found = np.zeros((len(points), *picture.shape[:2]), bool)
        for mask, where in zip(found, points, strict=True):
            column, row = (int(value) for value in where[0])
            mask[max(0, row - 5) : row + 5, max(0, column - 5) : column + 5] = True
        return found


def grey() -> np.ndarray:
    return np.full((60, 100, 3), 128, np.uint8)


def test_a_mark_becomes_the_mask_of_its_points_with_the_negative_marks_as_negative_points():
    entries = [
        drawn("stroke", (0.2, 0.5), (0.4, 0.5), radius=0.01, snap="sam"),
        drawn("point", (0.8, 0.5), radius=0.01, snap="sam"),
        drawn("polygon", (0.5, 0.1), (0.6, 0.1), (0.6, 0.3), (0.5, 0.3), positive=False),
        drawn("point", (0.22, 0.9), radius=0.01, positive=False),
        drawn("point", (0.9, 0.1), radius=0.01),
    ]
    segmenter = Clicked()
    positive, negative = annotated_regions(entries, 100, 60, grey, segmenter)
    (stroke, stroke_signs), (point, point_signs) = segmenter.asked
    np.testing.assert_allclose(stroke[:5], [(22, 30), (26, 30), (30, 30), (34, 30), (38, 30)])
    assert stroke_signs.tolist() == point_signs.tolist()[:1] * 5 + [False] * 2
    np.testing.assert_allclose(stroke[5], (22, 54), err_msg="the nearest negative mark comes first")
    assert 50 < stroke[6][0] < 60
    assert 6 < stroke[6][1] < 18, "inside the polygon"
    np.testing.assert_allclose(point[0], (80, 30))
    np.testing.assert_allclose(point[1:], stroke[[6, 5]])
    assert point_signs.tolist() == [True, False, False]
    alone, _ = annotated_regions(entries, 100, 60)
    squares = np.zeros_like(positive)
    squares[25:35, 17:27] = squares[25:35, 75:85] = True
    assert (positive == (alone | squares)).all()
    assert (negative == annotated_regions(entries, 100, 60)[1]).all(), "negative marks count as drawn"


def test_what_is_drawn_counts_before_a_mask_and_overruled_points_are_no_prompts():
    first = drawn("stroke", (0.3, 0.5), (0.7, 0.5), radius=0.01, snap="sam")
    half = drawn("polygon", (0.5, 0.3), (0.9, 0.3), (0.9, 0.7), (0.5, 0.7), positive=False)
    segmenter = Clicked()
    positive, negative = annotated_regions([first, half], 100, 60, grey, segmenter)
    (points, signs) = segmenter.asked[0]
    assert signs.tolist() == [True, True, False]
    assert (points[:2, 0] < 50).all()
    assert negative[30, 60]
    assert not (positive & negative).any()
    everything = drawn("polygon", (-0.1, -0.1), (1.1, -0.1), (1.1, 1.1), (-0.1, 1.1), positive=False)
    outside = drawn("stroke", (1.2, 0.5), (1.3, 0.5), radius=0.01, snap="sam")
    for entries in ([first, everything], [outside]):
        alone = annotated_regions(entries, 100, 60)
        found = annotated_regions(entries, 100, 60, grey, segmenter)
        assert np.array_equal(found, alone)
    assert len(segmenter.asked) == 1, "nothing is asked without a positive point"


def test_a_stroke_thinner_than_a_pixel_prompts_too():
    segmenter = Clicked()
    thin = drawn("stroke", (0.2, 0.505), (0.4, 0.505), radius=0.001, snap="sam")
    assert annotated_regions([thin], 100, 60, grey, segmenter)[0].sum() > 80
    assert len(segmenter.asked[0][0]) == 5


def test_only_the_nearest_negative_points_are_prompts():
    many = [drawn("stroke", (x, 0.9), (x, 0.95), radius=0.001, positive=False) for x in np.linspace(0.1, 0.9, 8)]
    segmenter = Clicked()
    annotated_regions([drawn("point", (0.1, 0.5), snap="sam"), *many], 100, 60, grey, segmenter)
    points, signs = segmenter.asked[0]
    assert signs.tolist() == [True] + [False] * 6
    assert points[1:, 0].max() < 25, "of the two strokes nearest to it"
    row = np.stack([np.linspace(0.1, 0.9, 1001), np.full(1001, 0.5)], axis=1)
    annotated_regions([drawn("point", *row.tolist(), snap="sam")], 100, 60, grey, segmenter)
    np.testing.assert_allclose(segmenter.asked[1][0], [(x, 30) for x in (10, 30, 50, 70, 90)])


def test_without_sam_such_marks_count_as_drawn_or_are_refused():
    entry = drawn("point", (0.5, 0.5), snap="sam")
    assert np.array_equal(annotated_regions([entry], 100, 60, grey), annotated_regions([entry], 100, 60))
    require_interactive_segmenter([entry], Clicked())
    require_interactive_segmenter([drawn("point", (0.5, 0.5), snap="superpixels")], None)
    with pytest.raises(BadInput, match=r'2 annotations with snap "sam"(.|\n)*interactive_segmenter=sam'):
        require_interactive_segmenter([entry, entry], None)


def test_older_files_have_yes_or_no(tmp_path: Path):
    entries = [{"concept": "a", "photo": "b", "tool": "point", "points": [[0, 0]], "snap": s} for s in (True, False)]
    (tmp_path / "a.json").write_text(json.dumps({"kind": "halonerf annotations", "version": 1, "annotations": entries}))
    assert [entry.snap for entry in AnnotationSet.load(tmp_path / "a.json")] == ["superpixels", "off"]


CAMERA = {
    "width": 64,
    "height": 48,
    "focal": 50.0,
    "principal": (32.0, 24.0),
    "pose": (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2),
}


def test_a_rendering_is_annotated_by_its_camera(tmp_path: Path):
    entry = drawn("point", (0.5, 0.5), photo=None, camera=CAMERA)
    kept = AnnotationSet([entry, drawn("point", (0.5, 0.5))], corrected=["portal"])
    kept.save(tmp_path / "a.json")
    again = AnnotationSet.load(tmp_path / "a.json")
    assert list(again) == list(kept)
    assert again.corrected == {"portal"}
    assert again.photos("portal") == ["a.jpg"]
    assert again.cameras("portal") == [entry.camera]
    assert again.of("portal", entry.camera) == [entry]
    assert entry.camera is not None
    assert entry.camera.view().camera_to_world[2, 3] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"camera": CAMERA}, "either a photo or a camera"),
        ({"photo": None}, "either a photo or a camera"),
        ({"photo": None, "camera": CAMERA, "snap": "superpixels"}, "only what is drawn on photos snaps"),
        ({"snap": "sam", "positive": False}, "positive points and strokes only"),
        ({"snap": "sam", "tool": "polygon"}, "positive points and strokes only"),
        ({"snap": "edges"}, "snap"),
        ({"photo": None, "camera": {**CAMERA, "pose": (0,) * 12}}, "orthonormal"),
        ({"photo": None, "camera": {**CAMERA, "focal": float("nan")}}, "focal"),
    ],
)
def test_an_annotation_has_one_picture_and_a_possible_camera(options: dict, said: str):
    others = dict(options)
    tool = others.pop("tool", "point")
    with pytest.raises(ValidationError, match=said):
        drawn(tool, (0.5, 0.5), **others)
