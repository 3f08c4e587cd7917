"""Options are judged by their types: what is refused, what is said, and which readings are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Interval, MinLen

from halonerf.cli import composed
from halonerf.config.option_types import Component, Fraction, Pixels, PositiveInt, Text
from halonerf.errors import BadInput
from halonerf.pipeline.plan import resolve
from halonerf.pipeline.validation import checked_values, describe

HALF_OPEN = Annotated[float, Interval(ge=0, lt=1)]


def check(value: Any, kind: Any) -> Any:
    return checked_values({"x": value}, {"x": kind}, str)["x"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, int),
        (0.5, Fraction),
        (1, Fraction),
        (None, int | None),
        ("a", Literal["a", "b"]),
        (["a"], Sequence[str]),
        ([], Sequence[str]),
        ([0.1, 1], tuple[float, float]),
        ({"a": ["b"], "c": "d"}, Mapping[str, str | Sequence[str]]),
        ({"_target_": "a.B"}, Component),
        (True, bool),
        ("2024", Text),
    ],
)
def test_what_is_of_its_type_is_kept(value: Any, kind: Any):
    assert check(value, kind) == value


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (3.0, int, "an integer, got 3.0"),
        ("3", int, "an integer, got '3'"),
        (True, int, "got true"),
        (0, PositiveInt, "an integer of at least 1, got 0"),
        (15, Pixels, "an integer from 16 to 65535, got 15"),
        (1.5, Fraction, "a number from 0 to 1, got 1.5"),
        (1.0, HALF_OPEN, "a number of at least 0 and below 1, got 1.0"),
        (float("nan"), float, "a number, got NaN"),
        (float("inf"), float, "a number, got Infinity"),
        ("no", bool, "true or false, got 'no'"),
        (1, bool, "true or false, got 1"),
        ("c", Literal["a", "b"], "one of a, b, got 'c'"),
        ("", Text, "non-empty text, got ''"),
        (1.5, Text, "Quote text"),
        ("abc", Sequence[str], "a list, each entry text"),
        (["a", 1.5], Sequence[str], "x.1 to be text, got 1.5"),
        ([], Annotated[Sequence[int], MinLen(1)], "a non-empty list"),
        ([1], Annotated[Sequence[int], MinLen(2)], "a list of at least 2, each entry an integer, got [1]"),
        ({"mean": 1}, Mapping[Literal["means", "codes"], int], "no option x.mean. Did you mean x.means?"),
        ({"c": 1}, Mapping[Literal["a", "b"], int] | None, "no option x.c.\nOptions of x: a, b."),
        ({"a": {"b": 2}}, Mapping[str, float], "x.a to be a number"),
        ({"b": 2}, Component, "mapping with _target_"),
        (None, int, "an integer, got null"),
        ("x" * 500, int, "..."),
    ],
)
def test_what_is_not_is_named(value: Any, kind: Any, words: str):
    with pytest.raises(BadInput) as caught:
        check(value, kind)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_two_readings_of_one_value_are_made_one():
    assert check(1, float) == 1.0
    assert isinstance(check(1, Fraction), float)
    assert check(2024, Text) == "2024"
    assert check(["portal", 1889], str | Sequence[str]) == ["portal", "1889"]
    assert check(3, str | int) == 3


def test_types_in_words():
    assert describe(int | None) == "an integer or null"
    assert describe(Annotated[Sequence[Fraction], MinLen(1)]) == "a non-empty list, each entry a number from 0 to 1"
    assert describe(Mapping[str, PositiveInt]) == "a mapping of names, each to an integer of at least 1"


def plan_keys(*overrides: str) -> list[str]:
    return [step.key for step in resolve(composed(["stage=targets", *overrides])).steps]


def test_readings_that_mean_the_same_have_one_fingerprint():
    assert plan_keys("trainer.precision=16") == plan_keys("trainer.precision=16-mixed")
    assert plan_keys("trainer.precision=32") == plan_keys()
    assert plan_keys("scene.passers_by=10") == plan_keys()
    assert plan_keys("trainer.precision=bf16") != plan_keys()


def test_an_option_is_named_where_it_is_written():
    """`reconstruct.field` is `${field}`: the user wrote `field.budget`."""
    with pytest.raises(BadInput, match=r"expected field\.budget to be"):
        resolve(composed(["stage=reconstruct", "field.budget=0"]))


def test_all_problems_are_listed():
    with pytest.raises(BadInput) as caught:
        resolve(composed(["stage=reconstruct", "field.budget=0", "field.width=x", "loss.terms.depth.weight=-1"]))
    assert [name in str(caught.value) for name in ("field.budget", "field.width", "loss.terms.depth.weight")] == [
        True
    ] * 3


def test_options_of_stages_that_are_not_in_the_plan_are_not_judged():
    resolve(composed(["stage=ingest", "field.budget=0"]))
