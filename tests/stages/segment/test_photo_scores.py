"""Score terms of photos on hand-made masks, their combination, and the selection of photos."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from halonerf.data.formats.photo_choice import write_concept_weights, write_photo_choice
from halonerf.errors import BadInput
from halonerf.prediction import largest_building_part
from halonerf.stages.segment.photo_scores import (
    AGREED_SHARE,
    agreement,
    certainty,
    combine_scores,
    geometry_score,
    occlusion_score,
    photo_measures,
    quality,
    relative,
    row_means,
    term_values,
)
from halonerf.stages.segment.selection import (
    check_options,
    explain,
    incidence,
    select_for_coverage,
    select_top,
)


def test_measures_of_known_photos():
    checker = np.indices((48, 64)).sum(axis=0) % 2 * 200 + 20
    sharp = np.repeat(checker[..., None], 3, axis=2).astype(np.uint8)
    every = np.ones((48, 64), dtype=bool)
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    corner = np.array([[1.0, 1.0], [2.0, 3.0]])
    assert photo_measures(sharp, every, corner)["cover"] == pytest.approx(1 / 144)
    assert photo_measures(sharp, every, corner)["points"] == 2
    assert photo_measures(sharp, every, corner)["exposure"] == 1
    assert photo_measures(ramp, every, corner)["exposure"] < 1
    assert photo_measures(ramp, every, corner)["sharpness"] < photo_measures(sharp, every, corner)["sharpness"]
    assert photo_measures(np.zeros_like(sharp), every, np.zeros((0, 2)))["exposure"] == 0


def test_a_high_quality_term_does_not_offset_a_low_one():
    good = {"sharpness": 0.5, "exposure": 0.9, "points": 100.0, "cover": 0.5}
    score = quality([good, {**good, "points": 0.0}, {**good, "exposure": 0.4}, {**good, "cover": 0.9}])
    assert score[0] == score[3] == 1
    assert score[1] == 0
    assert score[2] == pytest.approx(0.5**0.25)
    assert quality([]).shape == (0,)


def block(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return mask


def test_geometry_is_gap_plus_area_in_range():
    middle = block(100, 200, slice(20, 80), slice(50, 150))  # gaps 0.2 above and below, 0.25 at the sides; area 0.3
    assert geometry_score(middle) == pytest.approx(1.2)
    assert geometry_score(middle.T) == pytest.approx(1.2)
    assert geometry_score(block(100, 200, slice(20, 100), slice(50, 150))) == 1  # touches the bottom
    assert geometry_score(block(100, 200, slice(40, 60), slice(90, 110))) == pytest.approx(0.4)  # area 0.02
    assert geometry_score(np.ones((5, 7), bool)) == 0  # a close-up: no gap, and more than nine tenths
    assert geometry_score(np.zeros((5, 7), bool)) == 0
    assert geometry_score(block(10, 10, slice(1, 9), slice(0, 10))) == 1  # area 0.8, no gap


def test_an_occluded_photo_scores_low():
    shown = block(10, 10, slice(2, 8), slice(0, 10))
    every = np.ones((10, 10), bool)
    assert occlusion_score(shown, shown, every) == 1
    assert occlusion_score(every, shown, every) == 1  # more building in the photo is no occlusion
    assert occlusion_score(block(10, 10, slice(2, 8), slice(0, 3)), shown, every) == pytest.approx(0.3)
    left = block(10, 10, slice(0, 10), slice(0, 5))  # the photo covers the left half alone
    assert occlusion_score(block(10, 10, slice(2, 8), slice(0, 3)), shown, left) == pytest.approx(0.6)
    assert occlusion_score(every, np.zeros((10, 10), bool), every) == 0


def test_the_building_is_its_largest_part():
    map_ = np.zeros((20, 20))
    map_[2:8, 2:8], map_[12:14, 12:14] = 0.9, 1.0
    assert np.array_equal(largest_building_part(map_), block(20, 20, slice(2, 8), slice(2, 8)))
    assert not largest_building_part(np.full((4, 4), 0.5)).any()


def test_certainty_is_high_for_decided_maps():
    sure = np.zeros((10, 10))
    sure[:3] = 1
    maps = np.stack([sure, np.zeros((10, 10)), np.full((10, 10), 0.5), np.where(sure > 0, 0.6, 0.0), sure])
    known = np.ones(maps.shape, bool)
    known[4] = False
    found = certainty(maps, known)
    assert found[:2] == [1, 1]
    assert found[2] == pytest.approx(AGREED_SHARE / (1 + AGREED_SHARE))
    claim, doubt = 0.3 * 0.2**2 + AGREED_SHARE, 0.3 * 4 * 0.6 * 0.4
    assert found[3] == pytest.approx(claim / (claim + doubt))
    assert found[4] is None
    half = np.ones_like(known)
    half[2, :, 5:] = False
    maps[2, :, :5] = 0
    assert certainty(maps, half)[2] == 1  # what is unknown does not count


def test_agreement_is_soft_overlap():
    left = torch.zeros(4, 6, 1)
    left[:, :3] = 1
    ones = torch.ones(4, 6, 1)
    assert agreement(left, left, ones, ones) == [1]
    assert agreement(0 * left, 0 * left, ones, ones) == [1]  # both say that it is not there
    assert agreement(left, 1 - left, ones, ones) == [pytest.approx(AGREED_SHARE / (1 + AGREED_SHARE))]
    assert agreement(left, 0.5 * left, ones, ones) == [pytest.approx((0.25 + AGREED_SHARE) / (0.5 + AGREED_SHARE))]
    assert agreement(left, 1 - left, left * 0, ones) == [None]
    few = torch.zeros(4, 6, 1)
    few[0, 0] = 1  # 1 of 24 known pixels was seen by others: under a twentieth
    assert agreement(left, left, few, ones) == [None]
    assert agreement(left, left, few, few) == [1]


def test_values_are_relative_to_the_concepts_median():
    values = np.array([[0.2, 0.9], [0.4, np.nan], [0.8, np.nan]])
    expected = np.array([[0.5, 1.0], [1.0, np.nan], [1.0, np.nan]])
    np.testing.assert_allclose(relative(values), expected)
    assert np.isnan(relative(np.full((2, 1), np.nan))).all()


def test_coverage_prefers_a_new_view_to_a_better_duplicate():
    front, back = np.arange(100), np.arange(100, 160)
    sees = incidence([front, front, back, np.array([7, 7, 7])], 160)
    assert sees.sum() == 261  # a point counts once in a photo
    score = np.array([0.9, 0.85, 0.8, 1.0])
    # gains: front 90, 85, back 48; then the duplicate has 42.5 left, the back 48
    assert select_for_coverage(score, sees, 2) == [0, 2]
    assert select_top(score, 2) == [3, 0]
    assert select_for_coverage(score, sees, 10) == [0, 2, 1, 3]
    assert select_for_coverage(np.array([0.5, 0.5, 0.0, 0.0]), sees, 3) == [
        0,
        1,
    ]  # ties in their order; 0 is never chosen
    assert select_for_coverage(np.zeros(0), incidence([], 5), 3) == []


def test_the_highest_scores_are_selected():
    assert select_top(np.array([0.5, 0.7, 0.5, 0.0]), 4) == [1, 0, 2]


def entries(**columns: list[float]) -> list[dict[str, object]]:
    return [
        dict(zip(columns, row, strict=True)) | {"known": [True, False]} for row in zip(*columns.values(), strict=True)
    ]


def test_terms_are_combined_by_product_or_sum():
    photos = entries(geometry=[1.2, 0.4], occlusion=[0.5, 1.0])
    values = term_values(["geometry", "occlusion"], photos, [], 2)
    assert combine_scores(values, "sum", 2)[0].tolist() == pytest.approx([1.7, 1.4])
    assert combine_scores(values, "product", 2)[0].tolist() == pytest.approx([0.6, 0.4])
    np.testing.assert_allclose(combine_scores(values, "sum", 2)[1], [[1.7, 1.7], [1.4, 1.4]])
    values = term_values(["geometry", "agreement"], photos, [[0.3, None], [0.6, None]], 2)
    score, weights = combine_scores(values, "product", 2)
    middle = 0.45
    assert score.tolist() == pytest.approx([1.2 * 0.3 / middle, 0.4])
    np.testing.assert_allclose(weights, [[1.2 * 0.3 / middle, 0], [0.4, 0]])  # nothing known of the second concept
    np.testing.assert_allclose(combine_scores(values, "sum", 2)[1], [[1.2 + 0.3 / middle, 0], [1.4, 0]])


def test_certainty_enters_weights_and_not_scores():
    values = {"quality": np.array([0.5, 0.8]), "certainty": np.array([[1.0, 0.5], [0.5, np.nan]])}
    score, weights = combine_scores(values, "product", 2)
    assert score.tolist() == [0.5, 0.8]
    np.testing.assert_allclose(weights, [[0.5, 0.25], [0.4, 0.0]])
    assert combine_scores({"certainty": values["certainty"]}, "product", 2)[0].tolist() == [0.75, 0.5], (
        "where nothing else does"
    )


def test_photos_without_agreement_are_not_penalised():
    photos = [{"known": [True]}, {"known": [True]}, {"known": [False]}]
    values = term_values(["agreement"], photos, [[0.5], [None], [None]], 1)
    np.testing.assert_array_equal(values["agreement"], [[1], [1], [np.nan]])
    assert combine_scores(values, "product", 1)[0].tolist() == [1, 1, 0]


def test_every_photo_has_a_reason(tmp_path: Path):
    score = np.array([0.5, 0.9, 0.0, 0.1, 0.7])
    values = {"quality": np.array([0.5, 0.9, 0.0, 0.1, 0.7]), "certainty": np.array([[1.0], [1], [0.5], [1], [np.nan]])}
    reasons = explain([1, 0], score, [True, True, True, True, False], values)
    assert reasons == ["rank 2", "rank 1", "no quality", "lower than the 2 selected", "no concept known in it"]
    names = ["ä, b.jpg", "b", "c", "d", "e"]
    terms = {term: value if value.ndim == 1 else row_means(value) for term, value in values.items()}
    write_photo_choice(tmp_path, names, score, [1, 0], reasons, terms)
    write_concept_weights(tmp_path, names, ["rose window"], np.ones((5, 1)) / 3)
    with open(tmp_path / "choice.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {
        "photo": "ä, b.jpg", "score": "0.5000", "chosen": "true", "reason": "rank 2", "quality": "0.5000",
        "certainty": "1.0000",
    }  # fmt: skip
    assert [row["chosen"] for row in rows] == ["true", "true", "false", "false", "false"]
    with open(tmp_path / "weights.csv", newline="", encoding="utf-8") as stream:
        assert next(csv.DictReader(stream)) == {"photo": "ä, b.jpg", "concept": "rose window", "weight": "0.3333"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_terms": ["sharpness"]}, "quality, geometry, occlusion, certainty, agreement"),
        ({"score_terms": []}, "one or more of"),
        ({"score_terms": ["quality", "quality"]}, "one or more of"),
        ({"combine": "mean"}, "product or sum"),
        ({"selection": "random"}, "best or coverage"),
        ({"agreement_size": 0}, "at least 1 px"),
        ({"score_terms": ["geometry"]}, "building=cathedral"),
        ({"building": "cathedral", "crop": False}, "expected a use"),
    ],
)
def test_invalid_options_are_reported(options: dict[str, object], message: str):
    valid: dict[str, object] = {
        "score_terms": ["quality"],
        "combine": "product",
        "selection": "best",
        "agreement_size": 96,
    }
    valid |= {"building": None, "crop": True}
    check_options(**valid)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=message):
        check_options(**{**valid, **options})  # type: ignore[arg-type]
