"""Teaching a word on the live page: from the end of a stroke to what is believed, over the photo and in 3D.

    python benchmarks/teaching.py +experiments=demo               # any options of the command line
    python benchmarks/teaching.py +experiments=demo --strokes 20 --size 1280 800

Needs Chromium and Playwright; WebGL is drawn in software here, so a real browser is quicker. Prints a table and writes
benchmarks/out/teaching.json. The marks of the benchmark are removed at its end.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.chromium import CHROMIUM, FLAGS, START_MS

OUT = Path(__file__).parent / "out" / "teaching.json"
CONCEPT = "benchmark"
PATIENCE_MS = 180_000

# Notes, for every stroke, the milliseconds from the end of the pointer's press to the first frame with the new map over
# the photo, and to the finished picture of the 3D view.
TIMER = """() => {
  let start = 0;
  const since = (name) => requestAnimationFrame(() => setTimeout(() => {
    if (start && !window.measured[name]) window.measured[name] = performance.now() - start;
  }));
  document.getElementById("teach-marks").addEventListener("pointerup", () => {
    start = performance.now();
    window.measured = {};
  });
  const map = document.getElementById("teach-belief"), picture = document.getElementById("picture");
  new MutationObserver(() => since("photo")).observe(map, { attributeFilter: ["width"] });
  let moved = false;
  new MutationObserver(() => {
    if (picture.dataset.idle !== "yes") moved = true;
    else if (moved) { moved = false; since("view"); }
  }).observe(picture, { attributeFilter: ["data-idle"] });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["+experiments=demo"], help="options of halonerf")
    parser.add_argument("--strokes", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 800), help="px, of the window")
    options = parser.parse_args()
    if not CHROMIUM:
        print("teaching: skipped, for there is no Chromium on the PATH")
        return
    with served(options.overrides) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=START_MS)
        viewport = {"width": options.size[0], "height": options.size[1]}
        page = browser.new_context(viewport=viewport, reduced_motion="reduce").new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        result = {"size": list(options.size), **timed_strokes(page, options.strokes)}
        browser.close()
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    table = Table("measure", "value")
    for key, value in result.items():
        table.add_row(key, f"{value:.2f}" if isinstance(value, float) else str(value))
    Console().print(table)


@contextmanager
def served(overrides: list[str]) -> Iterator[str]:
    """`halonerf stage=explore` as people start it: the address with its token."""
    command = [sys.executable, "-m", "halonerf.cli", *overrides, "stage=explore", "publish=null"]
    process = subprocess.Popen([*command, "viewer.port=0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+token=[\w-]+", line):
                yield found.group()
                break
        else:
            raise RuntimeError("the viewer did not start")
    finally:
        process.terminate()
        process.wait(30)


def timed_strokes(page: Page, count: int) -> dict[str, Any]:
    """Seconds of strokes on one photo, two thirds of them positive; and until the tool was ready."""
    page.wait_for_selector("#teach-open:not([hidden])")
    started = time.perf_counter()
    page.click("#teach-open")
    page.wait_for_selector("#teach-preparing", state="hidden")
    ready = time.perf_counter() - started
    page.fill("#teach-name", CONCEPT)
    page.press("#teach-name", "Enter")
    page.evaluate(TIMER)
    random, measured = np.random.default_rng(0), []
    for number in range(count):
        box = page.locator("#teach-photo").bounding_box()
        assert box is not None
        start = random.uniform((0.3, 0.3), (0.6, 0.6))
        draw(page, box, start, start + random.uniform(-0.1, 0.1, 2), "right" if number % 3 == 2 else "left")
        page.wait_for_function("() => window.measured?.photo && window.measured?.view")
        measured.append(page.evaluate("() => window.measured"))
        page.wait_for_timeout(200)
    for _ in range(count):
        page.click("#teach-undo")
    page.wait_for_function("() => !document.querySelector('#teach-list li')")
    page.wait_for_function("() => !document.getElementById('teach-status').textContent.startsWith('Learning')")
    seconds = {name: [one[name] / 1000 for one in measured] for name in ("photo", "view")}
    found: dict[str, Any] = {"strokes": count, "ready_s": ready}
    for name, values in seconds.items():
        found |= {f"stroke_to_{name}_p{q}_s": float(np.quantile(values, q / 100)) for q in (50, 95)}
    return found


def draw(page: Page, box: Any, start: np.ndarray, end: np.ndarray, button: Any) -> None:
    """A stroke with the mouse, points in widths and heights of the photo's box."""
    places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down(button=button)
    page.mouse.move(*places[1], steps=8)
    page.mouse.up(button=button)


if __name__ == "__main__":
    main()
