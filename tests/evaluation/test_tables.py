"""Means, bootstrap intervals, paired differences, and the tables they go into."""

from __future__ import annotations

import numpy as np
import pytest

from halonerf.evaluation.bootstrap import DRAWS, differences, estimates
from halonerf.evaluation.examples import select_examples, stack_strips
from halonerf.evaluation.tables import escape_latex, latex_table, table_fields, table_rows


def row(photo: str, concept: str, method: str, ap: float | None, scene: str = "s") -> dict:
    return {"scene": scene, "photo": photo, "concept": concept, "method": method, "ap": ap, "iou": ap}


def normal_rows(photos: int, methods: dict[str, float], scene: str = "s", seed: int = 0) -> list[dict]:
    random = np.random.default_rng(seed)
    shared = random.normal(0.5, 0.1, photos)  # hard and easy photos are so for all methods
    return [
        row(f"{i}.jpg", "dome", method, float(shared[i] + shift + random.normal(0, 0.01)), scene)
        for method, shift in methods.items()
        for i in range(photos)
    ]


def test_means_go_over_photos_then_concepts_then_scenes():
    rows = [row("1", "a", "3d", 0.2), row("2", "a", "3d", 0.4), row("1", "b", "3d", 0.9), row("2", "b", "3d", None),
            row("9", "a", "3d", 0.0, "t")]  # fmt: skip
    found = estimates(rows)
    assert found["concepts"]["s"]["a"]["3d"]["mean"] == pytest.approx(0.3)
    assert found["concepts"]["s"]["b"]["3d"] == {"mean": 0.9, "low": None, "high": None}  # one photo tells no spread
    assert found["scenes"]["s"]["3d"]["mean"] == pytest.approx(0.6)
    assert found["scenes"]["t"]["3d"]["mean"] == 0.0
    assert found["overall"]["3d"]["mean"] == pytest.approx(0.3)
    assert estimates([]) == {"concepts": {}, "scenes": {}, "overall": {}}


def test_intervals_of_normal_values_agree_with_theory():
    rows = normal_rows(100, {"3d": 0.0})
    values = np.array([r["ap"] for r in rows])
    found = estimates(rows, draws=4000)["concepts"]["s"]["dome"]["3d"]
    error = 1.96 * values.std() / np.sqrt(len(values))
    # A quantile of 4,000 draws is itself sure to some 3 % of the half width.
    assert found["low"] == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert found["high"] == pytest.approx(values.mean() + error, abs=0.1 * error)


def test_intervals_of_a_scene_do_not_depend_on_other_rows():
    rows = normal_rows(12, {"2d": 0.0, "3d": 0.1})
    assert DRAWS >= 1000
    assert estimates(rows) == estimates(rows)
    alone = estimates(rows)["concepts"]["s"]["dome"]["3d"]
    others = normal_rows(5, {"3d": 0.2}, scene="t", seed=1)
    assert estimates([*others, *rows])["concepts"]["s"]["dome"]["3d"] == alone
    assert estimates([r for r in rows if r["method"] == "3d"])["concepts"]["s"]["dome"]["3d"] == alone
    assert estimates(rows, seed=1)["concepts"]["s"]["dome"]["3d"]["low"] != alone["low"]


def test_differences_are_paired():
    """Two methods that differ by 0.05 in every photo, whose photos differ by far more."""
    rows = normal_rows(30, {"2d": 0.0, "3d": 0.05})
    each = estimates(rows)["scenes"]["s"]
    assert each["3d"]["low"] < each["2d"]["high"]  # apart, they could be the same
    gap = differences(rows, "3d", "2d")["scenes"]["s"]
    assert gap["mean"] == pytest.approx(0.05, abs=0.01)
    assert gap["positive"] == 1.0
    assert gap["high"] - gap["low"] < 0.02
    back = differences(rows, "2d", "3d")["overall"]
    assert (back["mean"], back["positive"]) == (pytest.approx(-gap["mean"]), 0.0)


def test_differences_use_only_rows_of_both_methods():
    rows = [row("1", "a", "2d", 0.5), row("1", "a", "3d", 0.6), row("2", "a", "3d", 0.0), row("3", "a", "2d", None),
            row("3", "a", "3d", 0.1), row("4", "b", "3d", 1.0)]  # fmt: skip
    found = differences(rows, "3d", "2d")
    assert found["overall"] == {"mean": pytest.approx(0.1), "low": None, "high": None, "positive": None}
    assert found["concepts"]["s"]["b"]["mean"] is None
    assert differences([], "3d", "2d")["overall"]["mean"] is None


def test_a_constant_metric_has_an_interval_of_zero_width():
    rows = [row(str(i), "a", m, 0.25) for i in range(5) for m in ("2d", "3d")]
    assert estimates(rows)["overall"]["3d"] == {"mean": 0.25, "low": 0.25, "high": 0.25}
    assert differences(rows, "3d", "2d")["overall"]["positive"] == 0.0


def test_a_table_has_one_line_per_scene_concept_and_method():
    rows = [
        row("1", "a", "2d", 0.5),
        row("1", "a", "3d", 0.6),
        row("2", "a", "3d", 0.8),
        row("1", "a", "3d", None, "t"),
    ]
    lines = table_rows(rows, ("ap", "iou"))
    keys = [(line["scene"], line["concept"], line["method"], line["photos"]) for line in lines]
    assert keys == [("s", "a", "2d", 1), ("s", "a", "3d", 2), ("s", "mean", "2d", 1), ("s", "mean", "3d", 2),
                    ("t", "a", "3d", 1), ("t", "mean", "3d", 1),
                    ("mean", "mean", "2d", 1), ("mean", "mean", "3d", 3)]  # fmt: skip
    assert set(lines[0]) == set(table_fields(("ap", "iou")))
    assert (lines[1]["ap"], lines[0]["ap_low"], lines[4]["ap"]) == ("0.700000", "", "")
    assert float(str(lines[1]["ap_low"])) == pytest.approx(0.6)
    assert table_rows([], ("ap",)) == []


def test_latex_is_escaped_balanced_and_bold_where_best():
    rows = [
        row(str(i), "rose_window & 100 %", m, v + 0.01 * i) for i in range(4) for m, v in (("2d", 0.4), ("3d", 0.6))
    ]
    text = latex_table(rows, titles={"2d": "CLIPSeg_{#1}"}, caption="a ~ b^c \\ d $5")
    assert r"rose\_window \& 100 \%" in text
    assert r"CLIPSeg\_\{\#1\}" in text
    assert r"\caption{a \textasciitilde{} b\textasciicircum{}c \textbackslash{} d \$5}" in text
    assert r"\textbf{0.615}" in text
    assert r"\textbf{0.415}" not in text
    body = text.split(r"\midrule")[1]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 2
    assert all(line.replace(r"\&", "").count("&") == 2 for line in lines)
    assert text.count("{") == text.count("}")
    assert all(text.count(rf"\{rule}rule") == 1 for rule in ("top", "mid", "bottom"))
    assert text.index("CLIPSeg") < text.index("3d")
    assert "& first & 3d" in latex_table(rows[::-1], titles={"2d": "first"})
    several = latex_table([*rows, row("1", "dome", "3d", None, "Notre-Dame")])
    assert r"\multicolumn{3}{l}{\textit{Notre-Dame}}" in several
    assert "dome & -- & --" in several
    assert r"\textbf{mean of scenes}" in several


def test_escaping_keeps_other_scripts():
    assert escape_latex("Голова  Δ\nß") == "Голова Δ ß"


def test_the_best_the_median_and_the_worst_are_selected():
    photos = [{"concepts": {"a": {"3d": {"ap": ap}}}} for ap in (0.5, 0.9, None, 0.1, 0.7)] + [{"concepts": {}}]
    assert select_examples(photos, "a") == [("best of 4", 1), ("median of 4", 4), ("worst of 4", 3)]
    assert select_examples(photos[:2], "a") == [("best of 2", 1), ("worst of 2", 0)]
    assert select_examples(photos[:1], "a") == [("best of 1", 0)]
    assert select_examples(photos[2:3], "a") == []


def test_strips_are_stacked_under_their_titles():
    sheet = stack_strips([("one", np.full((40, 90, 3), 200, np.uint8)), ("two", np.full((10, 90, 3), 100, np.uint8))])
    assert sheet.shape == (22 + 40 + 22 + 10, 90, 3)
    assert (sheet[22:62] == 200).all()
    assert (sheet[84:] == 100).all()
    assert sheet[:22].std() > 0
