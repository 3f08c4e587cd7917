"""The live page: from a word to its colour, bytes, the first picture, memory, and eight windows at once.

    python benchmarks/viewer.py +experiments=demo                 # any options of the command line
    python benchmarks/viewer.py +experiments=demo --windows 8 --minutes 2

Needs Chromium and Playwright; WebGL is drawn in software here, so a real browser is quicker. Prints a table and writes
benchmarks/out/viewer.json.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Error, Page, sync_playwright
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.chromium import CHROMIUM, FLAGS, START_MS

OUT = Path(__file__).parent / "out" / "viewer.json"
WORDS = (
    "window", "portal", "tower", "rose window", "spire", "roof", "wall", "door", "column", "statue", "tympanum",
    "gable", "arch", "buttress", "stairs", "clock", "cross", "dome", "minaret", "balcony", "nave", "choir", "gallery",
    "window AND NOT rose window", "portal OR window", "tower AND window", "NOT tower", "window OR spire",
    "rose window OR portal", "tower AND NOT window",
)  # fmt: skip
CHANGE = 2.0  # of 255: the picture has changed by this much on average where it changed at all
PATIENCE_S = 120.0
IDLE = '#picture[data-idle="yes"]'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["+experiments=demo"], help="options of halonerf")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--words", type=int, default=len(WORDS))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--size", type=int, nargs=2, default=(900, 600), help="px, of a window")
    options = parser.parse_args()
    if not CHROMIUM:
        print("viewer: skipped, for there is no Chromium on the PATH")
        return
    result: dict[str, Any] = {"size": list(options.size)}
    with served(options.overrides) as (address, process, start_s), sync_playwright() as playwright:
        result["start_s"] = start_s
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS), timeout=START_MS)
        result["memory_before_mb"] = memory_mb(process.pid)
        result |= one_window(browser, address, tuple(options.size), options.words)
        result["memory_after_words_mb"] = memory_mb(process.pid)
        write(result)
        result |= many_windows(browser, address, options.windows, 60 * options.minutes)
        result["memory_after_windows_mb"] = memory_mb(process.pid)
        browser.close()
        result["server_alive"] = process.poll() is None
    write(result)
    table = Table("measure", "value")
    for key, value in result.items():
        table.add_row(key, f"{value:.2f}" if isinstance(value, float) else str(value))
    Console().print(table)


def write(result: dict[str, Any]) -> None:
    """What is known so far."""
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n")


@contextmanager
def served(overrides: list[str]) -> Iterator[tuple[str, subprocess.Popen[str], float]]:
    """`halonerf stage=explore` as people start it: address, process, seconds until it said its address."""
    command = [sys.executable, "-m", "halonerf.cli", *overrides, "stage=explore", "publish=null", "viewer.port=0"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+token=\S+", line):
                yield found.group(), process, time.perf_counter() - started
                break
        else:
            raise RuntimeError("the viewer did not start")
    finally:
        process.terminate()
        process.wait(30)


def one_window(browser: Browser, address: str, size: tuple[int, int], count: int) -> dict[str, Any]:
    """The first picture, bytes, and the time from Enter to changed pixels for every word."""
    started = time.perf_counter()
    page, received = window(browser, address, size)
    page.wait_for_selector(IDLE)
    result: dict[str, Any] = {"first_picture_s": time.perf_counter() - started, "opening_bytes": sum(received)}
    seconds: list[float] = []
    shares: list[float] = []
    sizes: list[int] = []
    for word in track(WORDS[:count], "words"):
        page.wait_for_selector(IDLE)
        page.wait_for_timeout(300)
        before, already, asked = picture(page), sum(received), time.perf_counter()
        ask(page, word)
        page.wait_for_selector(f'.word .text:text-is("{word}")')
        said = time.perf_counter()
        while not (lit := bool(np.abs(picture(page) - before).mean() > CHANGE)) and time.perf_counter() - said < 4:
            pass
        if lit:
            seconds.append(time.perf_counter() - asked)
        shares.append(said - asked)
        sizes.append(sum(received) - already)
        page.click(".word .remove")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    page.context.close()
    return {
        **result,
        "words": len(shares),
        "words_with_colour": len(seconds),
        "word_bytes_median": statistics.median(sizes),
        "word_bytes_most": max(sizes),
        **quantiles("word_to_answer", shares),
        **quantiles("word_to_colour", seconds),
        "page_heap_mb": metrics["JSHeapUsedSize"] / 1e6,
    }


def many_windows(browser: Browser, address: str, count: int, seconds: float) -> dict[str, Any]:
    """Windows that ask one after the other, all open all the time; errors are counted."""
    errors: list[str] = []
    pages = []
    for _ in track(range(count), "windows"):
        page, _ = window(browser, address, (560, 300))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.wait_for_selector(IDLE)
        pages.append(page)
    times, number, started = [], 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        page, word = pages[number % count], WORDS[number % len(WORDS)]
        number += 1
        asked = time.perf_counter()
        try:
            ask(page, word)
            page.wait_for_selector(f'.word .text:text-is("{word}")')
            times.append(time.perf_counter() - asked)
            page.click(".word .remove")
        except Error as error:
            errors.append(str(error)[:200])
    for page in pages:
        page.context.close()
    return {
        "windows": count,
        "windows_answers": len(times),
        "windows_errors": errors,
        **quantiles("windows_answer", times),
    }


def quantiles(name: str, seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile; nothing without a time."""
    if not seconds:
        return {}
    return {f"{name}_p50_s": statistics.median(seconds), f"{name}_p95_s": float(np.quantile(seconds, 0.95))}


def window(browser: Browser, address: str, size: tuple[int, int]) -> tuple[Page, list[int]]:
    """A window, and the list that the bytes of every answer it gets are added to."""
    page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.set_default_timeout(1000 * PATIENCE_S)
    received: list[int] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: received.append(int(event["encodedDataLength"])))
    page.goto(address)
    return page, received


def ask(page: Page, word: str) -> None:
    page.fill("#query-text", word)
    page.press("#query-text", "Enter")


def picture(page: Page) -> np.ndarray:
    """The middle of the picture, [H, W, 3]."""
    box = page.locator("#picture").bounding_box()
    assert box is not None
    clip = {
        "x": box["x"] + box["width"] * 0.2,
        "y": box["y"] + box["height"] * 0.2,
        "width": box["width"] * 0.6,
        "height": box["height"] * 0.6,
    }
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(float)


def memory_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
