"""Every command line that cannot be run ends with exit code 2 and a message, before anything was made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from helpers.bad_command_lines import COMMAND_LINES, OPTIONS, judged, run_here

CASES = [*((judged, *case) for case in OPTIONS), *((run_here, *case) for case in COMMAND_LINES)]


@pytest.mark.parametrize(("run", "line", "words"), CASES, ids=[line for _, line, _ in CASES])
def test_a_bad_command_line_is_refused(
    run: Callable[[str], tuple[int, str]], line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "a.png")
    code, message = run(line)
    assert code == 2, message
    assert "Traceback" not in message
    assert words in message
    assert not list(tmp_path.rglob("manifest.json"))
