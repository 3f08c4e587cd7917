"""Teaching a word in a browser: strokes, touches and keys on a photo light the part up in photos that have no marks."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from halonerf.queries.session import QuerySession
from halonerf.viewer.web.viewer import WebViewer
from helpers.chromium import MARKS, open_browser, open_page
from helpers.made_cathedral import FIELD, HEAD, HELD_OUT
from helpers.made_share_page import highlighted, overlap, seen, visit, wait_until_drawn
from helpers.neighbour_page import served
from helpers.teachable_cathedral import (
    FEW,
    MARKED,
    OPENED,
    SEGMENTER,
    WORD,
    marks_of,
    truth,
    write_teachable_cathedral,
)
from helpers.tiny_grounding import write_tiny_sam2

pytestmark = MARKS
SHOTS = Path(os.environ.get("HALONERF_SCREENSHOTS", "artifacts/screenshots"))  # for inspection
WRONG = "wheel"  # a word of which the segmenter knows nothing
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
PATIENCE_MS = 60_000  # WebGL in software, beside other tests
Open = Callable[..., AbstractContextManager[tuple[Any, list[str]]]]

POSTS = """async (target) => {
  const mark = { concept: "of another page", photo: 1, tool: "point", points: [[0.5, 0.5]] };
  const post = (type) => fetch(`http://${target}/api/teaching/annotations`, {
    method: "POST", mode: "no-cors", credentials: "include", headers: { "content-type": type },
    body: JSON.stringify(mark),
  }).catch(() => {});
  await Promise.all([post("text/plain"), post("application/json")]);
}"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_teachable_cathedral(tmp_path_factory.mktemp("landmark"))


@pytest.fixture(scope="module")
def viewer(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebViewer]:
    sam = {"_target_": "halonerf.segmenters.Sam", "weights": str(write_tiny_sam2(tmp_path_factory.mktemp("sam")))}
    made = WebViewer(port=0, still_size=0, min_elements=5, teaching=FEW, interactive_segmenter=sam)
    session = QuerySession({name: folders[name] for name in OPENED}, SEGMENTER, FIELD, HEAD)
    made.address = made.start(session, tmp_path_factory.mktemp("explore"), (), ("portal", "window", WORD))  # type: ignore[attr-defined]
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def opened(browser: Any, viewer: WebViewer) -> Iterator[Open]:
    """Opens the page in a new window; marks are removed at the end."""
    yield lambda **options: open_page(browser, viewer.address, offline=False, **options)  # type: ignore[attr-defined]
    for entry in marks(viewer):
        ask_server(viewer, f"/api/teaching/annotations/{entry['id']}", "DELETE")
    ask_server(viewer, "/api/teaching/corrected", "PUT", {"concept": WRONG, "on": False})


def ask_server(viewer: WebViewer, path: str, method: str = "GET", body: Any = None) -> Any:
    address = urlsplit(viewer.address)  # type: ignore[attr-defined]
    headers = {"X-HaloNeRF-Token": viewer.token, "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address.netloc}{path}", content, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def marks(viewer: WebViewer) -> list[Any]:
    """What the server keeps."""
    found: list[Any] = ask_server(viewer, "/api/teaching")["annotations"]
    return found


def begin(page: Any, concept: str = WORD) -> None:
    """Open the tool on the photo that is marked, for a word."""
    page.click("#teach-open")
    page.wait_for_selector("#teach-preparing", state="hidden", timeout=PATIENCE_MS)
    page.click(f'button[aria-label="Fly to photo {MARKED}"]')
    if concept:
        page.fill("#teach-name", concept)
        page.press("#teach-name", "Enter")
    page.fill("#teach-size", "0.02")


def drag(page: Any, points: list[list[float]], button: str = "left") -> None:
    """Draw a line on the photo; points in widths and heights of it."""
    box = page.locator("#teach-photo").bounding_box()
    places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in points]
    page.mouse.move(*places[0])
    page.mouse.down(button=button)
    for place in places[1:]:
        page.mouse.move(*place, steps=3)
    page.mouse.up(button=button)


def draw(page: Any, folders: dict[str, Path]) -> None:
    """The three strokes; what is not the part with the right mouse button."""
    for points, positive in marks_of(truth(folders, MARKED)):
        drag(page, points, "left" if positive else "right")


def wait_for_marks(page: Any, viewer: WebViewer, count: int) -> None:
    """Until the page has shown the answer to all marks, and the server keeps them."""
    page.wait_for_function(
        """(count) => document.querySelectorAll("#teach-list li").length === count
          && !document.getElementById("teach-status").textContent.startsWith("Learning")""",
        arg=count, timeout=PATIENCE_MS,
    )  # fmt: skip
    assert len(marks(viewer)) == count


def keep(page: Any, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SHOTS / f"{name}.png"))


def believed(page: Any) -> np.ndarray:
    """Opacity of the map over the photo, [h, w] in 0..255."""
    width, height, values = page.evaluate("""() => {
      const map = document.getElementById("teach-belief");
      const { width, height } = map;
      const { data } = map.getContext("2d").getImageData(0, 0, width, height);
      return [width, height, map.hidden ? [] : [...data].filter((_, k) => k % 4 === 3)];
    }""")
    return np.array(values or [0] * (width * height)).reshape(height, width)


def is_believed_in(page: Any, there: np.ndarray) -> bool:
    """Whether the map over the photo becomes strong at the part and faint elsewhere, when the last answer comes."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        belief = believed(page)
        if belief.shape == there.shape and belief[there].mean() > 3 * belief[~there].mean():
            return True
        page.wait_for_timeout(300)
    return False


def test_three_strokes_light_the_part_up_in_a_photo_without_marks(
    opened: Open, viewer: WebViewer, folders: dict[str, Path]
):
    with opened() as (page, errors):
        begin(page)
        draw(page, folders)
        wait_for_marks(page, viewer, 3)
        assert [entry["positive"] for entry in marks(viewer)] == [True, True, False]
        assert is_believed_in(page, truth(folders, MARKED)), "shown over the marked photo, too"
        assert "% sure" in page.inner_text("#teach-status")
        assert "would tell most" in page.inner_text("#teach-next")
        assert "Taught by 3 marks." in page.inner_text("#words")
        keep(page, "teach")
        page.click("#teach-done")
        box = visit(page, HELD_OUT)
        picture = seen(page, box)
        keep(page, "teach_held_out")
        assert not errors
    there = truth(folders, HELD_OUT)
    small = Image.fromarray(picture.astype(np.uint8)).resize(there.shape[::-1], Image.Resampling.BOX)
    agreement = overlap(highlighted(np.asarray(small).astype(float)), there)
    print(f"IoU of highlighted pixels and ground truth in a photo without marks: {agreement:.3f}")
    assert agreement >= 0.6


def test_marks_are_there_after_a_reload_and_in_other_windows(opened: Open, viewer: WebViewer, folders: dict[str, Path]):
    with opened(size=(900, 600)) as (page, errors), opened(size=(900, 600)) as (other, _):
        begin(page)
        draw(page, folders)
        wait_for_marks(page, viewer, 3)
        other.wait_for_selector(f'#teach-words button:has-text("{WORD}")', timeout=PATIENCE_MS)
        page.reload()
        page.wait_for_selector(f'#teach-words button:has-text("{WORD}")')
        page.click(f'#teach-words button:has-text("{WORD}")')
        page.wait_for_selector(f'.word label:has-text("{WORD}") input:checked', timeout=PATIENCE_MS)
        assert page.locator("#teach-list li").count() == 3
        assert page.input_value("#teach-name") == WORD
        assert page.locator("#teach-stage").is_visible()
        assert not errors


def test_marks_are_undone_done_again_and_removed(opened: Open, viewer: WebViewer):
    with opened(size=(900, 600)) as (page, errors):
        begin(page)
        drag(page, [[0.3, 0.4], [0.5, 0.4]])
        page.keyboard.press("x")
        assert page.get_attribute("#teach-is-not", "aria-pressed") == "true"
        drag(page, [[0.3, 0.8], [0.5, 0.8]])
        page.keyboard.press("x")
        wait_for_marks(page, viewer, 2)
        before = marks(viewer)
        assert [entry["positive"] for entry in before] == [True, False]
        page.keyboard.press("Control+z")
        wait_for_marks(page, viewer, 1)
        page.keyboard.press("Control+z")
        wait_for_marks(page, viewer, 0)
        page.wait_for_function("() => !document.querySelector('.word')")
        page.keyboard.press("Control+Shift+z")
        page.keyboard.press("Control+Shift+z")
        wait_for_marks(page, viewer, 2)
        assert marks(viewer) == before
        page.click("#teach-marks-of summary")
        page.click('#teach-list li[data-sign="is-not"] .remove')
        wait_for_marks(page, viewer, 1)
        page.click("#teach-undo")
        wait_for_marks(page, viewer, 2)
        page.keyboard.press("Escape")
        assert not page.locator("#teach-stage").is_visible()
        assert not errors


def test_every_tool_marks_and_a_mark_without_a_name_waits_for_it(opened: Open, viewer: WebViewer):
    with opened(size=(900, 600)) as (page, errors):
        begin(page, "")
        page.click('[data-tool="point"]')
        drag(page, [[0.4, 0.4]])
        assert "name" in page.inner_text("#teach-status")
        page.fill("#teach-name", WORD)
        page.press("#teach-name", "Enter")
        wait_for_marks(page, viewer, 1)
        page.click('[data-tool="lasso"]')
        drag(page, [[0.2, 0.2], [0.4, 0.2], [0.4, 0.4], [0.2, 0.35]])
        page.click('[data-tool="polygon"]')
        for corner in ([0.6, 0.2], [0.8, 0.2], [0.8, 0.4]):
            drag(page, [corner])
        page.keyboard.press("Enter")
        page.select_option("#teach-snap", "superpixels")
        page.click('[data-tool="stroke"]')
        drag(page, [[0.3, 0.4], [0.5, 0.4]])
        wait_for_marks(page, viewer, 4)
        page.select_option("#teach-snap", "off")
        page.click("#teach-on-view")
        wait_until_drawn(page)
        picture = page.locator("#teach-picture").bounding_box()
        middle = picture["x"] + picture["width"] / 2, picture["y"] + picture["height"] / 2
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 40, middle[1], steps=4)
        page.mouse.up()
        wait_for_marks(page, viewer, 5)
        assert not errors
    found = marks(viewer)
    assert [entry["tool"] for entry in found] == ["point", "polygon", "polygon", "stroke", "stroke"]
    assert [entry["snap"] for entry in found] == ["off", "off", "off", "superpixels", "off"]
    assert [entry["photo"] for entry in found] == [MARKED] * 4 + [None]
    np.testing.assert_allclose(found[0]["points"][0], [0.4, 0.4], atol=0.01)
    np.testing.assert_allclose(found[2]["points"], [[0.6, 0.2], [0.8, 0.2], [0.8, 0.4]], atol=0.01)


def test_a_word_is_corrected(opened: Open, viewer: WebViewer, folders: dict[str, Path]):
    with opened(size=(1100, 700)) as (page, errors):
        page.fill("#query-text", WRONG)
        page.press("#query-text", "Enter")
        page.click(f'button[aria-label="Correct {WRONG} by marks in photos"]', timeout=PATIENCE_MS)
        page.wait_for_selector("#teach-preparing", state="hidden", timeout=PATIENCE_MS)
        assert page.input_value("#teach-name") == WRONG
        page.wait_for_function("() => document.getElementById('teach-correct').checked")
        page.click(f'button[aria-label="Fly to photo {MARKED}"]')
        page.fill("#teach-size", "0.02")
        draw(page, folders)
        wait_for_marks(page, viewer, 3)
        page.wait_for_function("() => document.getElementById('words').innerText.includes('Corrected by 3 marks.')")
        assert is_believed_in(page, truth(folders, MARKED))
        assert not errors


def test_keys_alone_and_fingers_draw(opened: Open, viewer: WebViewer):
    with opened(size=(900, 600)) as (page, errors):
        begin(page)
        page.focus("#teach-marks")
        page.keyboard.press("2")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Space")
        for _ in range(3):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Space")
        wait_for_marks(page, viewer, 1)
        assert not errors
    first = marks(viewer)[0]
    assert first["points"][-1][0] - first["points"][0][0] == pytest.approx(0.15)
    with opened(size=(390, 844), touch=True) as (page, errors):
        begin(page, "")
        page.fill("#teach-name", WORD)
        page.press("#teach-name", "Enter")
        box = page.locator("#teach-marks").bounding_box()
        fingers = page.context.new_cdp_session(page)

        def touch(kind: str, *places: tuple[float, float]) -> None:
            at = [
                {"x": box["x"] + u * box["width"], "y": box["y"] + v * box["height"], "id": k}
                for k, (u, v) in enumerate(places)
            ]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

        touch("touchStart", (0.4, 0.5))
        touch("touchMove", (0.5, 0.5))
        touch("touchMove", (0.6, 0.5))
        touch("touchEnd")
        wait_for_marks(page, viewer, 2)
        before = page.locator("#teach-photo").bounding_box()["width"]
        touch("touchStart", (0.4, 0.5))
        touch("touchStart", (0.4, 0.5), (0.6, 0.5))
        touch("touchMove", (0.2, 0.5), (0.8, 0.5))
        touch("touchEnd")
        page.wait_for_timeout(200)
        assert page.locator("#teach-photo").bounding_box()["width"] > 1.5 * before
        assert page.locator("#teach-list li").count() == 2, "pinching draws nothing"
        keep(page, "teach_390")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        assert not errors


def test_names_stay_text_and_wrong_files_get_a_message(opened: Open, viewer: WebViewer, tmp_path: Path):
    with opened(size=(900, 600)) as (page, errors):
        title = page.title()
        begin(page, HOSTILE)
        drag(page, [[0.3, 0.4], [0.5, 0.4]])
        wait_for_marks(page, viewer, 1)
        assert HOSTILE in page.inner_text("#teach-words")
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == title
        assert not errors
        (tmp_path / "marks.json").write_text("{")
        page.set_input_files("#teach-file", tmp_path / "marks.json")
        page.wait_for_selector('#message:has-text("Expected a file of marks")')
        (tmp_path / "marks.json").write_text('{"kind": "something else", "version": 1}')
        page.set_input_files("#teach-file", tmp_path / "marks.json")
        page.wait_for_selector('#message:has-text("halonerf annotations")')
        with page.expect_download() as waiting:
            page.click("#teach-save")
        saved = json.loads(Path(waiting.value.path()).read_text())
        assert [entry["concept"] for entry in saved["annotations"]] == [HOSTILE]
        with page.expect_download() as waiting:
            page.click("#teach-masks")
        assert waiting.value.suggested_filename == "masks.zip"


def test_pages_of_other_origins_mark_nothing(opened: Open, viewer: WebViewer, tmp_path: Path):
    with opened(size=(900, 600)) as (page, _):
        (tmp_path / "index.html").write_text("<p>another page</p>")
        with served(tmp_path) as port:
            other = page.context.new_page()
            other.goto(f"http://127.0.0.1:{port}/")
            other.evaluate(POSTS, urlsplit(viewer.address).netloc)  # type: ignore[attr-defined]
            other.close()
    assert marks(viewer) == []


def painted(page: Any) -> list[float]:
    """Left, top, right and bottom of what is painted, in widths and heights of the marked area; [] for nothing."""
    found: list[float] = page.evaluate("""() => {
      const layer = document.getElementById("teach-marks");
      const { width, height } = layer;
      const { data } = layer.getContext("2d").getImageData(0, 0, width, height);
      const places = [...Array(width * height).keys()].filter((k) => data[4 * k + 3]);
      const [xs, ys] = [places.map((k) => k % width), places.map((k) => Math.floor(k / width))];
      const ends = (values, side) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [side, 0]);
      const [[left, right], [top, bottom]] = [ends(xs, width), ends(ys, height)];
      return places.length ? [left / width, top / height, right / width, bottom / height] : [];
    }""")
    return found


def drag_view(page: Any, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
    """Drag over the 3D view; places in widths and heights of the area that is marked."""
    box = page.locator("#teach-marks").bounding_box()
    page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.mouse.down(button=button)
    page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=4)
    page.mouse.up(button=button)


def test_marks_without_a_name_wait_while_the_tool_is_closed(opened: Open, viewer: WebViewer):
    with opened(size=(900, 600)) as (page, errors):
        begin(page, "")
        drag(page, [[0.3, 0.4], [0.5, 0.4]])
        page.focus("#teach-marks")
        page.keyboard.press("Control+z")
        page.keyboard.press("Escape")
        page.click("#teach-open")
        page.focus("#teach-marks")
        page.keyboard.press("Control+Shift+z")
        page.keyboard.press("Escape")
        page.click("#teach-open")
        page.wait_for_timeout(300)
        assert not page.is_visible("#message"), page.inner_text("#message")
        page.focus("#teach-marks")
        page.keyboard.press("Control+z")
        page.fill("#teach-name", WORD)
        page.press("#teach-name", "Enter")
        page.keyboard.press("Control+Shift+z")
        wait_for_marks(page, viewer, 1)
        assert not errors
    assert marks(viewer)[0]["concept"] == WORD


def test_a_mark_on_the_view_is_shown_again_from_its_camera(opened: Open, viewer: WebViewer):
    with opened(size=(900, 600)) as (page, errors):
        begin(page)
        page.click("#teach-on-view")
        wait_until_drawn(page)
        page.click('[data-tool="polygon"]')
        for corner in ((0.4, 0.4), (0.6, 0.4)):
            drag_view(page, corner, corner)
        page.wait_for_timeout(300)
        assert painted(page)
        page.mouse.wheel(0, 100)
        wait_until_drawn(page)
        assert not painted(page), "its corners would belong to two cameras"
        page.click('[data-tool="stroke"]')
        drag_view(page, (0.4, 0.5), (0.6, 0.5))
        wait_for_marks(page, viewer, 1)
        first = painted(page)
        drag_view(page, (0.5, 0.5), (0.7, 0.5), button="middle")
        wait_until_drawn(page)
        assert not painted(page)
        page.evaluate("() => window.dispatchEvent(new Event('focus'))")  # the server's copy of the mark has come
        page.wait_for_timeout(500)
        page.click("#teach-marks-of summary")
        page.click("#teach-list .show")
        page.wait_for_timeout(1500)
        wait_until_drawn(page)
        np.testing.assert_allclose(painted(page), first, atol=0.02)
        keep(page, "teach_view")
        page.reload()
        page.click(f'#teach-words button:has-text("{WORD}")', timeout=PATIENCE_MS)
        page.click("#teach-marks-of summary")
        page.click("#teach-list .show")
        page.wait_for_timeout(1500)
        wait_until_drawn(page)
        assert not page.is_visible("#message"), page.inner_text("#message")
        np.testing.assert_allclose(painted(page), first, atol=0.02)
        assert not errors


def test_a_mark_of_another_reconstruction_says_why_it_is_not_shown(opened: Open, viewer: WebViewer):
    pose = np.eye(3, 4).flatten().tolist()
    camera = {"width": 640, "height": 480, "focal": 500.0, "principal": [320, 240], "pose": pose}
    points = {"concept": WORD, "tool": "stroke", "points": [[0.4, 0.5], [0.6, 0.5]]}
    foreign = {**points, "camera": {**camera, "reconstruction": "another"}}
    file = {"kind": "halonerf annotations", "version": 1, "annotations": [{**points, "photo": MARKED}, foreign]}
    ask_server(viewer, "/api/uploads/annotations", "POST", file)
    with opened(size=(900, 600)) as (page, errors):
        page.click(f'#teach-words button:has-text("{WORD}")', timeout=PATIENCE_MS)
        page.click("#teach-marks-of summary")
        page.click('#teach-list .show:has-text("3D view")')
        page.wait_for_selector('#message:has-text("this one was drawn in another")')
        assert not errors


def test_marks_snap_to_objects_where_sam_is_at_hand(opened: Open, viewer: WebViewer):
    with opened(size=(900, 600)) as (page, errors):
        begin(page)
        offered = page.locator("#teach-snap option").all_inner_texts()
        assert offered == ["as drawn", "to edges", "to the object (SAM)"]
        page.select_option("#teach-snap", "sam")
        drag(page, [[0.3, 0.4], [0.5, 0.4]])
        drag(page, [[0.3, 0.8], [0.5, 0.8]], "right")
        page.click('[data-tool="lasso"]')
        drag(page, [[0.2, 0.2], [0.4, 0.2], [0.4, 0.4], [0.2, 0.35]])
        wait_for_marks(page, viewer, 3)
        keep(page, "teach_sam")
        assert not errors
        assert [entry["snap"] for entry in marks(viewer)] == ["sam", "off", "off"], "only positive points and strokes"

        def without_sam(route: Any) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, json={**answer.json(), "snaps": ["off", "superpixels"]})

        page.route("**/api/teaching", without_sam)
        page.evaluate("() => window.dispatchEvent(new Event('focus'))")
        page.wait_for_function("() => document.getElementById('teach-snap').options.length === 2", timeout=PATIENCE_MS)
        assert page.input_value("#teach-snap") == "off", "what is no longer offered is not chosen"
        page.unroute("**/api/teaching")


def test_a_mark_leaves_a_word_off_in_other_windows(opened: Open, viewer: WebViewer):
    box = f'.word label:has-text("{WORD}") input'
    with opened(size=(900, 600)) as (page, errors), opened(size=(900, 600)) as (other, _):
        begin(page)
        drag(page, [[0.3, 0.4], [0.5, 0.4]])
        wait_for_marks(page, viewer, 1)
        other.fill("#query-text", WORD)
        other.press("#query-text", "Enter")
        other.wait_for_selector(f"{box}:checked", timeout=PATIENCE_MS)
        other.uncheck(box)
        with other.expect_response(lambda answer: "api/words/values" in answer.url, timeout=PATIENCE_MS):
            drag(page, [[0.3, 0.8], [0.5, 0.8]])
        other.wait_for_function("() => document.getElementById('words').textContent.includes('Taught by 2 marks.')")
        assert not other.is_checked(box)
        assert not errors


def test_keys_act_on_the_tool_while_it_is_open(opened: Open):
    with opened(size=(900, 600)) as (page, errors):
        begin(page)
        assert page.evaluate("() => document.getElementById('picture').tabIndex") == -1
        page.focus("#query-text")
        page.keyboard.press("Escape")
        assert page.evaluate("() => document.activeElement.id") == "teach-marks"
        page.keyboard.press("Escape")
        assert page.evaluate("() => document.activeElement.id") == "picture"
        assert page.evaluate("() => document.getElementById('picture').tabIndex") == 0
        assert not errors
