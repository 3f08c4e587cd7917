"""Texts from the web: plain text, safe file names, escaped cells; licences by name."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halonerf.data.commons.attribution import Attribution, credit_line, read_attribution, write_attribution
from halonerf.data.commons.category_walk import category_title
from halonerf.data.commons.filter import ENDINGS, FREE_LICENCES, PhotoFilter, PhotoNames, safe_stem
from halonerf.data.commons.media_file import CommonsFile
from halonerf.data.commons.text import in_languages, one_line, plain_text, tidy_text
from halonerf.errors import MissingArtifact


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("Portal &amp; T&uuml;r &#8211; x", "Portal & Tür – x"),
        ("<p>a</p><p>b</p>c<br/>d", "a b c d"),
        ('a<span style="DISPLAY : none">b<span>c</span>d</span>e', "ae"),
        ('a<div style="display:none">b<div>c</div>d</div><b>e</b>', "ae"),
        ("a<script>alert('x')</script><style>p{}</style>b", "ab"),
        ("<<b>>portal</b>", "<>portal"),
        ('<img src="x" style="display:none">portal', "portal"),
        ("one\ttwo\n three\x00\x07four", "one two three four"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("u\u0308ber", "über"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner is part of the word
    ],
)
def test_html_becomes_its_visible_text(html: str, text: str):
    assert plain_text(html) == text


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_becomes_one_clean_line(text: str):
    for made in (plain_text(text), tidy_text(text)):
        assert made == made.strip()
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in made)
        made.encode()
    assert tidy_text(tidy_text(text)) == tidy_text(text)


def test_a_huge_description_is_read_in_part():
    assert len(plain_text("<b>x</b> " * 1_000_000)) < 50_000


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("<i>Dom</i>", {"": "Dom"}),
        ({"de": "Dom", "_type": "lang", "fr": " "}, {"de": "Dom"}),
        (2019, {"": "2019"}),
        ("", {}),
    ],
)
def test_languages_are_separated(value: Any, texts: dict[str, str]):
    assert in_languages(value) == texts


def test_one_line_is_english_where_it_can_be():
    assert one_line({"de": "Eigenes Werk", "en": "Own work"}) == "Own work"
    assert one_line({"de": "Eigenes Werk"}) == "Eigenes Werk"
    assert one_line("") == ""


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.sampled_from(sorted(ENDINGS)))
def test_names_are_safe_whatever_the_title(title: str, mime: str):
    name = "".join(safe_stem(title, mime))
    assert Path(name).name == name
    assert not set(name) & set('/\\:*?"<>|')
    assert not name.startswith(".")
    assert name.isprintable()
    assert len(name.encode()) < 255
    assert name.lower().endswith(ENDINGS[mime])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="aA./ ", max_size=4), max_size=12))
def test_names_are_unique(titles: list[str]):
    names = PhotoNames()
    given_names = [names.give(title, "image/jpeg", number) for number, title in enumerate(titles)]
    assert len({name.casefold().rpartition(".")[0] for name in given_names}) == len(titles)


def test_a_name_with_a_number_does_not_collide():
    names = PhotoNames()
    made = [names.give(title, "image/jpeg", 7) for title in ("a (7).jpg", "a.jpg", "A.jpg", "a.jpeg")]
    assert len({name.casefold().rpartition(".")[0] for name in made}) == 4


@pytest.mark.parametrize(
    ("given_title", "title"),
    [
        ("Cologne Cathedral", "Cologne Cathedral"),
        ("Category:Cologne_Cathedral", "Cologne Cathedral"),
        ("category: Dom ", "Dom"),
        ("https://commons.wikimedia.org/wiki/Category:K%C3%B6lner_Dom", "Kölner Dom"),
        ("AC/DC", "AC/DC"),
    ],
)
def test_a_category_may_be_given_in_several_ways(given_title: str, title: str):
    assert category_title(given_title) == title


def licence_problem(patterns: tuple[str, ...], name: str = "", key: str = "", url: str = "") -> str:
    chosen = PhotoFilter(["image/jpeg"], 0, 0, 0, 0, patterns, scaled=False)
    file = CommonsFile(1, "a.jpg", ("x",), mime="image/jpeg", url="u", licence=name, licence_key=key, licence_url=url)
    return chosen.problem(file)


@pytest.mark.parametrize(
    "name",
    """CC BY-SA 4.0|CC BY 2.0 fr|CC-BY-SA-3.0,2.5,2.0,1.0|CC0|Public domain|GFDL|GFDL 1.2|FAL|No restrictions|PD
    |Attribution|PD-USGov|CC BY-SA 3.0 de|cc_by_sa_3.0|OGL 3""".replace("\n    ", "").split("|"),
)
def test_free_licences_are_taken(name: str):
    assert licence_problem(FREE_LICENCES, name) == ""
    assert licence_problem(FREE_LICENCES, "Something", key=name) == ""


@pytest.mark.parametrize(
    "name",
    """CC BY-NC 2.0|CC BY-ND 4.0|CC BY-NC-SA 3.0|CC BY-NC-ND 4.0|Fair use||All rights reserved|Attribution-NonCommercial
    |see below|CC BY-SA-NC 2.0""".replace("\n    ", "").split("|"),
)
def test_other_licences_are_not(name: str):
    assert licence_problem(FREE_LICENCES, name).startswith("licence: ")


def test_licences_can_be_chosen_by_address_or_not_at_all():
    by = "https://creativecommons.org/licenses/by/4.0"
    assert licence_problem(("*creativecommons.org/licenses/by/*",), "odd name", url=by) == ""
    assert licence_problem(("*creativecommons.org/licenses/by/*",), "CC BY 4.0") == "licence: CC BY 4.0"
    assert licence_problem(()) == ""


CELLS = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "'quoted", "\tx", "", "plain", 'a,b\n"c"', "日本"]


def test_formulas_are_escaped_and_restored(tmp_path: Path):
    rows = [Attribution(f"{i}.jpg", title=cell, author=cell, changes=cell) for i, cell in enumerate(CELLS)]
    write_attribution(tmp_path, rows)
    assert read_attribution(tmp_path) == rows
    with open(tmp_path / "attribution.csv", newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=5))
def test_the_table_keeps_any_text(tmp_path_factory: pytest.TempPathFactory, texts: list[str]):
    folder = tmp_path_factory.mktemp("table")
    rows = [Attribution("a.jpg", author=text) for text in texts]
    write_attribution(folder, rows)
    assert read_attribution(folder) == rows


def test_a_missing_table_says_how_to_get_one(tmp_path: Path):
    with pytest.raises(MissingArtifact, match="corpus=commons"):
        read_attribution(tmp_path)


def test_the_credit_line_names_what_is_known():
    row = Attribution("a.jpg", "Portal.jpg", "Ada", "", "CC BY 4.0", "https://l", "", "https://s", "scaled")
    assert credit_line(row) == "Portal.jpg, by Ada, CC BY 4.0, https://l, https://s, scaled"
    assert credit_line(Attribution("a.jpg", "Portal.jpg", credit="City archive")) == "Portal.jpg, by City archive"
