"""Options of the Commons corpus: refused values, and the identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halonerf.data.commons.corpus import Commons
from halonerf.errors import BadInput
from helpers.made_commons import CONTACT, MadeCommons, serving

ROOT = "Cologne Cathedral"


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeCommons]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = MadeCommons()
    made.categories = {ROOT: []}
    with serving(made):
        yield made


def source(wiki: MadeCommons, category: str = ROOT, **options: Any) -> Commons:
    return Commons(category, **{"rate": 1000.0, "retries": 0, "contact": CONTACT, "api": wiki.api, **options})


def test_identity_ignores_speed_options(wiki: MadeCommons):
    same = source(wiki).identity()
    assert same == source(wiki, f"https://commons.wikimedia.org/wiki/Category:{ROOT.replace(' ', '_')}").identity()
    assert same == source(wiki, rate=0.5, retries=1, contact="https://example.org/us").identity()
    for change in ({"depth": 1}, {"width": 0}, {"licences": []}, {"snapshot": "2026"}, {"photos": 5}, {"skip": ["x"]}):
        assert source(wiki, **change).identity() != same


@pytest.mark.parametrize("contact", ["", "me", "me@localhost", "you@example.org\nX-Evil: 1"])
def test_a_contact_is_required_before_any_request(wiki: MadeCommons, tmp_path: Path, contact: str):
    with pytest.raises(BadInput, match=r"(?s)user agent policy.*corpus\.contact=you@example\.org"):
        source(wiki, contact=contact).collect(tmp_path)
    assert not wiki.asked


def test_a_missing_category_is_named(wiki: MadeCommons, tmp_path: Path):
    with pytest.raises(BadInput, match="called 'Colonge'"):
        source(wiki, "Colonge").collect(tmp_path)


def test_a_category_without_photos_gives_the_reasons(wiki: MadeCommons, tmp_path: Path):
    wiki.add("plan.svg", ROOT, mime="image/svg+xml")
    with pytest.raises(BadInput, match=r"none of 1 files: 1 x not a photo: image/svg\+xml"):
        source(wiki).collect(tmp_path)


def test_contradictory_sizes_are_refused(wiki: MadeCommons):
    with pytest.raises(BadInput, match=r"corpus\.min_pixels <= corpus\.max_pixels, got 9 and 5"):
        source(wiki, min_pixels=9, max_pixels=5)


def test_a_folder_begun_with_other_options_is_refused(wiki: MadeCommons, tmp_path: Path):
    with pytest.raises(BadInput, match="none of 0 files"):
        source(wiki).collect(tmp_path)
    with pytest.raises(BadInput, match="other options began it"):
        source(wiki, depth=0).collect(tmp_path)
