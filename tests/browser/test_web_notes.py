"""Notes, distances and saved views on the live page: clicks against the truth, kept over a reload, texts stay text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

import pytest

from helpers.chromium import MARKS
from helpers.live_page import PATIENCE_MS, ask, downloaded
from helpers.made_share_page import apart, seen, visit, wait_until_drawn

pytestmark = MARKS
SCRIPT = '<img src=x onerror="document.title=1">'
KEEP_SOCKETS = """
  window.sockets = [];
  window.WebSocket = class extends WebSocket { constructor(...where) { super(...where); sockets.push(this); } };
"""
Open = Callable[..., AbstractContextManager[tuple[Any, list[str]]]]


def click_model(page: Any, x: float, y: float) -> None:
    """Click at shares of the picture's width and height."""
    box = page.locator("#picture").bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_distance_is_that_between_the_points_of_the_surface(opened: Open, served: Any, keep: Any):
    with opened(size=(900, 600)) as (page, errors):
        visit(page, served.photos[1])
        page.click("#notes-section summary")
        page.fill("#note-text", "facade")
        page.click("#measure")
        for x in (0.4, 0.6):
            with page.expect_response(lambda answer: answer.url.endswith("/api/surface")) as waiting:
                click_model(page, x, 0.6)
            assert waiting.value.json()["point"] is not None
        page.wait_for_selector("#notes li")
        length = float(re.search(r"facade: ([\d.]+) units", page.inner_text("#notes li")).group(1))  # type: ignore[union-attr]
        assert 0.05 < length < 2
        stored = (served.folder / "notes.json").read_text()
        assert "facade" in stored
        page.fill('#notes input[type="number"]', "10")
        page.dispatch_event('#notes input[type="number"]', "change")
        page.wait_for_selector("#notes li:has-text('facade: 10.00 m')")
        assert "world unit" in page.inner_text("#notes-scale")
        keep(page, "web_notes")
        ask(page, "rose window")
        name, content = downloaded(page, 'button[aria-label="rose window: save its parts as CSV"]')
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        assert name == "parts.csv"
        scale = 10 / length
        assert float(rows[0]["extent_m_x"]) == pytest.approx(scale * float(rows[0]["extent_x"]), rel=0.01)
        page.focus("#picture")
        page.keyboard.press("m")
        assert page.get_attribute("#measure", "aria-pressed") == "true"
        page.keyboard.press("Escape")
        assert page.get_attribute("#measure", "aria-pressed") == "false"
        assert not errors


def test_notes_and_views_outlive_a_reload_and_reach_other_windows(opened: Open, served: Any):
    with opened(size=(900, 600)) as (page, errors), opened(size=(900, 600)) as (other, _):
        title = page.title()
        wait_until_drawn(other)
        ask(page, "portal")
        lit = seen(page)
        page.click("#notes-section summary")
        page.fill("#note-text", SCRIPT)
        page.click('button[aria-label="Pin a note to portal 1"]')
        page.wait_for_selector(f"#notes li:has-text('{SCRIPT[:8]}')")
        page.wait_for_timeout(400)
        page.fill("#note-text", "the portals")
        page.click("#save-view")
        page.wait_for_selector("#notes li:has-text('the portals')")
        other.wait_for_selector("#notes li:has-text('the portals')", state="attached", timeout=PATIENCE_MS)
        page.goto(page.url.split("#")[0])
        page.reload()
        wait_until_drawn(page)
        page.click("#notes-section summary")
        assert SCRIPT in page.inner_text("#notes")
        assert page.locator("img[src=x]").count() == 0
        page.click("#notes .there:has-text('the portals')")
        page.wait_for_selector('.word label:has-text("portal") input:checked', timeout=PATIENCE_MS)
        page.wait_for_timeout(500)
        assert apart(seen(page), lit) < 3
        assert "word=portal" in urlsplit(page.url).fragment
        assert page.title() == title
        for number in range(page.locator("#notes .remove").count(), 0, -1):
            page.click("#notes li:last-child .remove")
            page.wait_for_function("(count) => document.querySelectorAll('#notes li').length < count", arg=number)
        assert not errors


def test_the_key_that_measures_shows_what_to_click(opened: Open):
    with opened(size=(900, 600)) as (page, errors):
        wait_until_drawn(page)
        assert not page.is_visible("#pick-hint")
        page.focus("#picture")
        page.keyboard.press("m")
        assert page.is_visible("#pick-hint")
        assert page.inner_text("#pick-hint") == "Click two points on the model."
        assert not errors


def test_what_changed_while_the_socket_was_lost_is_fetched(opened: Open):
    with opened(size=(900, 600)) as (page, errors), opened(size=(900, 600)) as (other, _):
        other.add_init_script(KEEP_SOCKETS)
        other.reload()
        wait_until_drawn(other)
        other.evaluate("() => sockets.forEach((socket) => socket.close())")
        page.click("#notes-section summary")
        page.fill("#note-text", "while away")
        page.click("#save-view")
        page.wait_for_selector("#notes li:has-text('while away')")
        assert other.locator("#notes li").count() == 0
        other.wait_for_selector("#notes li:has-text('while away')", state="attached", timeout=PATIENCE_MS)
        page.click("#notes li:has-text('while away') .remove")
        page.wait_for_selector("#notes li", state="detached")
        assert not errors
