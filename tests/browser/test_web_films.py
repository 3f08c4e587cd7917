"""The live page in a browser: key-frames, a path and films from them, pictures of the resting camera, hostile files."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from halonerf.camera_paths.path import CameraPath
from helpers.chromium import MARKS, open_page
from helpers.live_page import PATIENCE_MS, Served, ask, downloaded
from helpers.made_share_page import apart, seen, visit, wait_until_drawn

pytestmark = MARKS
SIZE = (900, 600)
Open = Callable[..., AbstractContextManager[tuple[Any, list[str]]]]


def add_key_frames(page: Any, photo: str) -> None:
    """Two key-frames: the first view, and a photo with a word lit up."""
    wait_until_drawn(page)
    page.click("#film-section summary")
    page.click("#add-keyframe")
    page.wait_for_selector("#keyframes li:nth-child(1)")
    ask(page, "portal")
    visit(page, photo)
    page.click("#add-keyframe")
    page.wait_for_selector("#keyframes li:nth-child(2)")


def test_key_frames_become_a_path_and_a_film(opened: Open, served: Any, keep: Any, tmp_path: Path):
    photo = served.photos[3]
    with opened(size=SIZE) as (page, errors):
        add_key_frames(page, photo)
        assert page.inner_text("#path-length") == "2 key-frames, 3.0 s"
        keep(page, "web_film")
        name, content = downloaded(page, "#save-path")
        assert (served.folder / "paths" / name).read_bytes() == content
        path = CameraPath.read(served.folder / "paths" / name)
        assert [key.words for key in path.keyframes] == [(), ("portal",)]
        pose = served.viewer.engine.scene.views[3].camera_to_world
        np.testing.assert_allclose(path.keyframes[1].camera_to_world, pose, atol=1e-3)
        page.fill("#film-width", "160")
        page.fill("#film-height", "90")
        page.fill("#film-fps", "5")
        assert "15 frames" in page.inner_text("#film-estimate")
        name, content = downloaded(page, "#render-film")
        assert (served.folder / "films" / name).read_bytes() == content
        with av.open(io.BytesIO(content)) as film:
            assert (film.streams.video[0].frames, film.streams.video[0].width) == (15, 160)
            frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 5
        page.reload()
        wait_until_drawn(page)
        assert page.locator("#keyframes li").count() == 2, "a reload loses no key-frames"
        page.click("#film-section summary")
        page.wait_for_selector(f"#films a[download='{name}']")
        page.click('button[aria-label="Remove key-frame 1"]')
        page.set_input_files("#load-path", served.folder / "paths" / "path_0001.json")
        page.wait_for_selector("#keyframes li:nth-child(2)")
        assert not errors


def test_a_preview_shows_the_film_and_then_what_was_shown_before(opened: Open, served: Any):
    with opened(size=SIZE) as (page, errors):
        add_key_frames(page, served.photos[3])
        page.click('button[aria-label="Fly to key-frame 1"]')
        page.fill('input[aria-label="Seconds from key-frame 1 to the next"]', "1.5")
        page.dispatch_event('input[aria-label="Seconds from key-frame 1 to the next"]', "change")
        before = seen(page)
        page.evaluate("() => { for (let k = 0; k < 2; k++) document.getElementById('play-path').click(); }")
        page.wait_for_selector("#play-path:text-is('Stop')")
        page.wait_for_selector("#play-path:text-is('Play')", timeout=PATIENCE_MS)
        after = seen(page)
        assert apart(before, after) > 5, "the camera is at the last key-frame"
        page.click('button[aria-label="Fly to key-frame 1"]')
        assert apart(seen(page), before) < 1, "light and words are those of before"
        assert not errors


def test_a_film_is_cancelled(opened: Open, served: Any):
    with opened(size=SIZE) as (page, errors):
        add_key_frames(page, served.photos[2])
        page.fill('input[aria-label="Seconds from key-frame 1 to the next"]', "300")
        page.dispatch_event('input[aria-label="Seconds from key-frame 1 to the next"]', "change")
        page.click("#render-film")
        page.click("#films li:first-child button:has-text('Cancel')")
        page.wait_for_selector("#films li:first-child:has-text('cancelled')", timeout=PATIENCE_MS)
        deadline = time.monotonic() + 30
        while list((served.folder / "films").glob(".*.mp4")):
            assert time.monotonic() < deadline, "a film that nobody waits for"
            time.sleep(0.1)
        assert not errors


def test_hostile_files_do_nothing(opened: Open, served: Any):
    with opened(size=SIZE) as (page, errors):
        wait_until_drawn(page)
        before = {path for path in served.folder.rglob("*") if path.is_file()}
        page.click("#film-section summary")
        title = page.title()
        script = '<img src=x onerror="document.title=1">'
        pose = [row.tolist() for row in served.viewer.engine.scene.views[0].camera_to_world]
        for content, said in (
            (b"0" * 1_500_000, "1,000,000 bytes"),
            (b"\xff\xfe not a path", "no text"),
            (b"[" * 100_000, "expected JSON"),
            (json.dumps({"keyframes": [{"camera_to_world": pose, "light": "/etc/passwd"}]}).encode(), "expected"),
        ):
            file = {"name": f"{script}.json", "mimeType": "application/json", "buffer": content}
            page.set_input_files("#load-path", [file])
            page.wait_for_selector(f"#message:has-text('{said}')")
            page.evaluate("document.getElementById('message').textContent = ''")
        named = {"keyframes": [{"camera_to_world": pose, "words": [script]}]}
        page.set_input_files(
            "#load-path", [{"name": "a.json", "mimeType": "application/json", "buffer": json.dumps(named).encode()}]
        )
        page.wait_for_selector("#keyframes li")
        assert script in page.inner_text("#keyframes")
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == title
        assert {path for path in served.folder.rglob("*") if path.is_file()} == before
        assert [error for error in errors if "400" not in error and "413" not in error] == []


@pytest.fixture(scope="module")
def reduced(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A viewer that sends a browser a tenth of the Gaussians."""
    made = Served(folders, tmp_path_factory.mktemp("reduced"), splats=400, still_size=640)
    yield made
    made.viewer.stop()


def test_the_fields_picture_is_shown_at_rest_and_goes_with_a_move(browser: Any, reduced: Any, keep: Any):
    with open_page(browser, reduced.address, SIZE, offline=False) as (page, errors):
        wait_until_drawn(page)
        page.wait_for_selector("#still:not([hidden])", timeout=PATIENCE_MS)
        page.wait_for_function("() => document.getElementById('still').complete")
        resting = seen(page)
        keep(page, "web_still")
        page.focus("#picture")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#still[hidden]", state="attached")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#still:not([hidden])", timeout=PATIENCE_MS)
        page.wait_for_function("() => document.getElementById('still').complete")
        assert apart(seen(page), resting) < 1
        assert page.evaluate("document.getElementById('still').naturalWidth") in range(450, 641)
        page.evaluate("document.getElementById('still').style.visibility = 'hidden'")
        assert apart(seen(page), resting) > 3, "the browser has only the most important Gaussians"
        assert not errors
