"""Expressions of words: parsing, evaluation, and errors with positions."""

from __future__ import annotations

import pytest
import torch

from halonerf.errors import BadInput
from halonerf.expressions import MAX_DEPTH, MAX_QUERY_CHARS, And, Not, Or, Word, evaluate, normalise_query, parse, words

A, B, C = Word("a"), Word("b"), Word("c")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("rose window", Word("rose window")),
        ("church and square or not", Word("church and square or not")),
        ("ANDROID NOTRE-DAME", Word("ANDROID NOTRE-DAME")),
        ("a AND b", And((A, B))),
        ("a OR b AND c", Or((A, And((B, C))))),
        ("(a OR b) AND c", And((Or((A, B)), C))),
        ("NOT a AND NOT NOT b", And((Not(A), Not(Not(B))))),
        ("NOT(a OR b)OR c", Or((Not(Or((A, B))), C))),
        ("a AND b AND c", And((A, B, C))),
        ("window AND NOT rose window", And((Word("window"), Not(Word("rose window"))))),
        ("Fenêtre  OR\tокно", Or((Word("Fenêtre"), Word("окно")))),
        ("<b>a</b>; rm -rf /", Word("<b>a</b>; rm -rf /")),
    ],
)
def test_texts_are_parsed(text: str, meant: object):
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a text to look for, got ''"),
        (" \t\n\x00 ", r"a text to look for"),
        ("a AND", r"a word.*character 6, got the end"),
        ("a AND OR b", r"a word.*character 7, got 'OR'"),
        ("AND a", r"character 1, got 'AND'"),
        ("(a OR b", r"closing parenthesis at character 8, got the end"),
        ("a)", r"AND, OR or the end at character 2"),
        ("a (b)", r"AND, OR or the end at character 3, got '\('"),
        ("a NOT b", r"AND, OR or the end at character 3, got 'NOT'"),
        ("()", r"a word.*character 2"),
        ("a" * (MAX_QUERY_CHARS + 1), rf"at most {MAX_QUERY_CHARS} characters.*got {MAX_QUERY_CHARS + 1}"),
        ("(" * 200 + "a" + ")" * 200, rf"at most {MAX_DEPTH} nested parentheses"),
        ("NOT " * 100 + "a", rf"at most {MAX_DEPTH} nested parentheses"),
    ],
)
def test_syntax_errors_are_reported(text: str, message: str):
    with pytest.raises(BadInput, match=message) as error:
        parse(text)
    assert 'text="rose window"' in str(error.value)


def test_the_position_of_an_error_is_shown():
    with pytest.raises(BadInput) as error:
        parse("window  AND OR door")
    shown, mark = str(error.value).splitlines()[1:3]
    assert shown[mark.index("^") :].startswith("OR door")


def test_words_are_distinct_and_in_order():
    assert words(parse("b AND NOT (a OR b) AND c")) == ["b", "a", "c"]


def test_texts_are_normalised():
    assert normalise_query(" rose\x1b[31m \u0000 window\r\n") == "rose [31m window"
    assert normalise_query("e\u0301glise") == "\u00e9glise"
    assert normalise_query("a\u202eb") == "a\u202eb"  # a mark of writing direction is no control character


@pytest.mark.parametrize("text", ["a AND b", "a OR b", "NOT a", "NOT (a OR b)", "NOT a AND NOT b", "a AND NOT b"])
def test_zero_and_one_follow_boolean_logic(text: str):
    corners = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    ones = torch.ones(4)
    value, confidence = evaluate(parse(text), {"a": corners[0], "b": corners[1]}, {"a": ones, "b": ones})
    logic = text.replace("AND", "and").replace("OR", "or").replace("NOT", "not")
    table = {
        "a and b": [0, 0, 0, 1], "a or b": [0, 1, 1, 1], "not a": [1, 1, 0, 0], "not (a or b)": [1, 0, 0, 0],
        "not a and not b": [1, 0, 0, 0], "a and not b": [0, 0, 1, 0],
    }  # fmt: skip
    assert value.tolist() == table[logic]
    assert confidence.tolist() == [1.0] * 4


def test_other_values_follow_fuzzy_logic():
    p = {"a": torch.tensor([0.3]), "b": torch.tensor([0.6])}
    c = {"a": torch.tensor([2.0]), "b": torch.tensor([0.5])}
    for text, expected in (("a AND b", 0.3), ("a OR b", 0.6), ("NOT a", 0.7), ("b AND NOT a", 0.6)):
        value, confidence = evaluate(parse(text), p, c)
        assert value.item() == pytest.approx(expected)
        assert confidence.item() == (2.0 if text == "NOT a" else 0.5)


def test_unknown_words_make_an_expression_unknown():
    """A word that nobody knows of makes all that asks for it unknown, its negation, too."""
    p = {"a": torch.tensor([0.9]), "b": torch.tensor([0.0])}
    c = {"a": torch.tensor([3.0]), "b": torch.tensor([0.0])}
    for text in ("a AND b", "a OR b", "NOT b", "a AND NOT b"):
        value, confidence = evaluate(parse(text), p, c)
        assert (value.item(), confidence.item()) == (0.0, 0.0)
