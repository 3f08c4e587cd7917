"""Undo, redo and the browser's Back on the live page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from helpers.chromium import MARKS
from helpers.live_page import PATIENCE_MS, ask
from helpers.made_share_page import apart, seen, visit, wait_until_drawn

pytestmark = MARKS
Open = Callable[..., AbstractContextManager[tuple[Any, list[str]]]]
LIT = '.word label:has-text("portal") input'


def settled(page: Any) -> Any:
    """The picture after what was done has been remembered."""
    page.wait_for_timeout(400)
    wait_until_drawn(page)
    return seen(page)


def test_undo_and_redo_of_words_sliders_and_view(opened: Open):
    with opened(size=(900, 600)) as (page, errors):
        settled(page)
        ask(page, "portal")
        found = settled(page)
        page.fill('input[aria-label="portal: strength of colour"]', "0.2")
        settled(page)
        page.focus("#picture")
        page.keyboard.press("ArrowLeft")
        moved = settled(page)
        for _ in range(2):
            page.keyboard.press("Control+z")
            settled(page)
        assert apart(seen(page), found) < 1
        assert page.input_value('input[aria-label="portal: strength of colour"]') == "0.85"
        page.focus("#query-text")
        page.keyboard.press("Control+z")
        assert page.is_checked(LIT), "a text box has its own undo"
        page.focus("#picture")
        page.keyboard.press("Control+z")
        settled(page)
        assert not page.is_checked(LIT)
        for _ in range(3):
            page.keyboard.press("Control+Shift+Z")
            settled(page)
        assert apart(seen(page), moved) < 1
        assert page.input_value('input[aria-label="portal: strength of colour"]') == "0.2"
        assert not errors


def test_undo_finds_a_word_that_was_removed(opened: Open):
    with opened(size=(900, 600)) as (page, errors):
        settled(page)
        ask(page, "portal")
        settled(page)
        page.click('button[aria-label="Remove portal"]')
        settled(page)
        page.focus("#picture")
        page.keyboard.press("Control+z")
        page.wait_for_selector(f"{LIT}:checked", timeout=PATIENCE_MS)
        assert not errors


def test_back_goes_to_what_was_shown_before(opened: Open, served: Any):
    with opened(size=(900, 600)) as (page, errors):
        start = settled(page)
        ask(page, "portal")
        lit = settled(page)
        page.focus("#picture")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowRight")
        settled(page)
        visit(page, served.photos[3])
        settled(page)
        assert "view=" in urlsplit(page.url).fragment
        page.go_back()
        assert apart(settled(page), lit) < 1, "turning to and fro was no step"
        page.go_back()
        assert apart(settled(page), start) < 1
        assert urlsplit(page.url).fragment == ""
        page.go_forward()
        assert apart(settled(page), lit) < 1
        assert not errors
