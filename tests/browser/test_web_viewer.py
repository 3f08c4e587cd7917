"""The live page in a browser: words against ground truth, light, deep links, keys, sizes of screens, hostile pages."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from halonerf.data.scene.scene import Scene
from helpers.chromium import MARKS
from helpers.live_page import CONCEPTS, PATIENCE_MS, ask, downloaded
from helpers.made_cathedral import HELD_OUT, true_mask
from helpers.made_share_page import apart, highlighted, overlap, seen, visit, wait_until_drawn
from helpers.neighbour_page import ATTEMPTS
from helpers.neighbour_page import served as served_elsewhere

pytestmark = MARKS
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
Open = Callable[..., AbstractContextManager[tuple[Any, list[str]]]]
Keep = Callable[[Any, str], None]


def test_a_word_is_highlighted_where_the_ground_truth_has_it(opened: Open, folders: dict[str, Path], keep: Keep):
    """In a photo that neither the Gaussians nor the words come from."""
    scene = Scene(folders["ingest"])
    view = scene.views[scene.index(HELD_OUT)]
    with opened() as (page, errors):
        box = visit(page, HELD_OUT)
        plain = seen(page, box)
        ask(page, "rose window")
        picture = seen(page, box)
        keep(page, "web_word")
        assert not errors
    assert apart(plain, picture) > 5
    small = Image.fromarray(picture.astype(np.uint8)).resize((view.width, view.height), Image.Resampling.BOX)
    truth = true_mask(folders["collect"], "rose window", HELD_OUT).numpy() > 0.5
    assert truth.sum() > 300
    assert not highlighted(plain).any() or overlap(highlighted(plain), highlighted(picture)) < 0.1
    agreement = overlap(highlighted(np.asarray(small).astype(float)), truth)
    print(f"IoU of highlighted pixels and ground truth: {agreement:.3f}")
    assert agreement >= 0.75


def test_it_opens_ready_to_be_asked(opened: Open, served: Any, keep: Keep):
    with opened() as (page, errors):
        picture = seen(page)
        keep(page, "web_open")
        assert picture.std() > 15
        assert page.evaluate("document.activeElement.id") == "query-text"
        assert served.viewer.token not in page.url, "the token does not stay in the address"
        assert page.locator("#examples button").all_inner_texts() == list(CONCEPTS)
        assert not page.locator(".word").count()
        page.click('#examples button:has-text("portal")')
        page.wait_for_selector('.word label:has-text("portal") input:checked')
        assert apart(seen(page), picture) > 5
        assert not errors


def test_what_is_asked_before_the_scene_has_come_is_found_after(opened: Open, served: Any, browser: Any):
    context = browser.new_context()
    held: list[Any] = []
    page = context.new_page()
    page.route("**/api/splats", lambda route: held.append(route))
    page.goto(served.address)
    page.fill("#query-text", "portal")
    page.press("#query-text", "Enter")
    page.wait_for_selector(".waiting")
    assert page.locator(".word label").count() == 0
    held[0].continue_()
    page.wait_for_selector('.word label:has-text("portal") input:checked', timeout=PATIENCE_MS)
    context.close()


def test_parts_threshold_confidence_and_removal(opened: Open):
    with opened(size=(900, 600)) as (page, errors):
        start = seen(page)
        ask(page, "rose window")
        ask(page, "portal")
        both = seen(page)
        assert page.locator(".word .text").all_inner_texts() == ["portal", "rose window"], "the last one first"
        slider = 'input[aria-label="rose window: from probability"]'
        parts = "() => document.querySelector('.word:nth-child(2) .parts').innerText"
        before = page.evaluate(parts)
        assert "elements" in before
        with page.expect_response(lambda answer: answer.url.endswith("/api/words")):
            page.fill(slider, "1")
            page.dispatch_event(slider, "change")
        page.wait_for_function(f"(before) => ({parts})() !== before", arg=before)
        assert highlighted(seen(page)).sum() < highlighted(both).sum()
        page.click('button[aria-label="Fly to portal 1"]')
        assert apart(seen(page), both) > 3
        page.check("#show-confidence")
        assert page.locator("#confidence-legend").is_visible()
        page.check("#show-where")
        page.click('button[aria-label="Remove portal"]')
        page.click('button[aria-label="Remove rose window"]')
        page.click("#home")
        assert apart(seen(page), start) < 0.5
        assert "#" not in page.url
        assert not errors


def test_light_of_any_photo(opened: Open, served: Any, keep: Keep):
    with opened(size=(900, 600)) as (page, errors):
        pictures = [seen(page)]
        names = page.locator("#light-from option").all_inner_texts()
        assert names[0] == "mean of all photos"
        assert len(names) > len(served.photos)
        for photo in served.photos[1:4]:
            with page.expect_response(lambda answer: answer.url.endswith("/colours")):
                page.select_option("#light-from", label=f"photo {photo}")
            page.wait_for_timeout(200)
            pictures.append(seen(page))
        keep(page, "web_light")
        assert max(apart(pictures[0], picture) for picture in pictures[1:]) > 4
        page.select_option("#light-from", "0")
        assert apart(seen(page), pictures[0]) < 0.5
        assert not errors


def test_an_address_holds_view_words_and_light(opened: Open, served: Any):
    with opened(size=(900, 600)) as (page, errors):
        ask(page, "portal")
        page.select_option("#light-from", label=f"photo {served.photos[2]}")
        page.focus("#picture")
        for key in ("ArrowLeft", "ArrowLeft", "+"):
            page.keyboard.press(key)
        shown = seen(page)
        page.wait_for_timeout(300)
        fragment = urlsplit(page.url).fragment
        assert "word=portal" in fragment
        assert not errors
    with opened("#" + fragment, size=(900, 600)) as (page, errors):
        page.wait_for_selector('.word label:has-text("portal") input:checked', timeout=PATIENCE_MS)
        page.wait_for_timeout(500)
        assert apart(seen(page), shown) < 3
        assert page.locator("#light-from").evaluate("e => e.selectedOptions[0].text") == f"photo {served.photos[2]}"
        assert not errors


def test_keys_and_a_picture_to_keep(opened: Open, served: Any, keep: Keep):
    with opened(size=(900, 600)) as (page, errors):
        ask(page, "rose window")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "picture"
        page.keyboard.press("0")
        assert not page.locator(".word input[type=checkbox]").first.is_checked()
        page.keyboard.press("1")
        assert page.locator(".word input[type=checkbox]").first.is_checked()
        lit = seen(page)
        name, content = downloaded(page, "#save-picture")
        assert (served.folder / "pictures" / name).read_bytes() == content
        picture = Image.open(io.BytesIO(content)).convert("RGB")
        assert max(picture.size) == 320
        field = highlighted(np.asarray(picture).astype(float))
        small = Image.fromarray(lit.astype(np.uint8)).resize(picture.size, Image.Resampling.BOX)
        assert overlap(field, highlighted(np.asarray(small).astype(float))) > 0.6
        page.keyboard.press("/")
        page.focus("#picture")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "query-text"
        assert not errors


def test_unknown_malformed_and_hostile_words_get_messages(opened: Open):
    with opened(size=(900, 600)) as (page, errors):
        title = page.title()
        ask(page, "escalator")
        assert "unknown" in page.locator(".word .count").first.inner_text()
        page.fill("#query-text", "window AND")
        page.press("#query-text", "Enter")
        page.wait_for_selector("#message:not([hidden])")
        assert "expected" in page.inner_text("#message").lower()
        page.fill("#query-text", HOSTILE)
        page.press("#query-text", "Enter")
        page.wait_for_timeout(1500)
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == title
        assert page.locator(".waiting").count() == 0
        assert [error for error in errors if "400 (Bad Request)" not in error] == []


def test_it_fits_a_phone_and_a_very_large_screen(opened: Open, keep: Keep):
    with opened(size=(390, 844), touch=True) as (page, errors):
        ask(page, "portal")
        seen(page)
        keep(page, "web_390")
        for details in page.locator("aside summary:visible").all():
            details.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        inside = "[...document.querySelectorAll('aside *')].every((e) => e.getBoundingClientRect().right <= 391)"
        assert page.evaluate(inside)
        assert not errors
    with opened(size=(3840, 2160)) as (page, errors):
        ask(page, "portal")
        assert seen(page).std() > 10
        keep(page, "web_3840")
        assert page.evaluate("document.documentElement.scrollWidth") <= 3840
        assert not errors


def test_pages_of_other_origins_read_and_ask_nothing(opened: Open, served: Any, browser: Any, tmp_path: Path):
    """A page on another port of this machine, in a browser that holds the cookie: the worst neighbour there is."""
    with opened() as (own, _):
        wait_until_drawn(own)
        address = urlsplit(served.address)
        (tmp_path / "index.html").write_text("<p>another page</p>")
        with served_elsewhere(tmp_path) as port:
            other = own.context.new_page()
            other.goto(f"http://127.0.0.1:{port}/")
            target = f"127.0.0.1:{address.port}"
            tried = other.evaluate(ATTEMPTS, target)
            other.close()
        assert set(tried) == {"read", "blind", "image", "script", "socket"}
        assert set(tried.values()) == {"refused"}, tried
