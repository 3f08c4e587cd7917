"""The shared page as a file: its size, that it is deterministic, and that only its own script can run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from halonerf.data.collection import write_collection
from halonerf.data.commons.attribution import Attribution, write_attribution
from halonerf.data.scene.scene import Scene
from halonerf.page.document import escaped_json
from halonerf.stages.evaluate import Evaluate
from halonerf.stages.report import Report
from halonerf.types import ImageRecord
from helpers.made_folders import run_stage
from helpers.made_share import GAUSSIANS, HOSTILE, element, shared, write_share_folders


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return write_share_folders(tmp_path / "folders")


def test_texts_of_records_cannot_run_as_script(folders, tmp_path: Path):
    names = Scene(folders["ingest"]).names
    records = [ImageRecord(name, landmark=HOSTILE, caption=f"{HOSTILE} \ud800 Ωμέγα") for name in names]
    write_collection(folders["collect"], HOSTILE, tmp_path, records)
    credit = Attribution(names[1], title=HOSTILE, author=HOSTILE, licence="CC0", source_url="javascript:alert(1)")
    write_attribution(folders["collect"], [credit, Attribution("another.jpg")])
    page, facts = shared(folders, tmp_path / "out")
    assert facts["title"] == HOSTILE
    assert facts["words"][1]["text"] == HOSTILE
    assert [row["title"] for row in facts["credits"]] == [HOSTILE]
    assert "Ωμέγα" in facts["photos"][0]["caption"]
    assert "\u2028" not in element(page, "facts-data")
    for broken in ("<img src=x", "<!--"):
        assert broken not in page
    assert len(re.findall("<script", page)) == len(re.findall("</script>", page)) == 3
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "onerror=&#34;" in outside
    assert 'onerror="' not in outside


def test_only_its_own_script_may_run_and_nothing_is_loaded(folders, tmp_path: Path):
    page, _ = shared(folders, tmp_path / "out")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)
    assert policy
    assert script
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy.group(1)
    assert policy.group(1).startswith("default-src 'none'; ")
    code = page.replace(element(page, "splats"), "")
    assert not re.search(r'(src|href)="(?!data:)', code)
    assert not re.search(
        r"\b(fetch|XMLHttpRequest|importScripts|eval|innerHTML|insertAdjacentHTML|document\.write)\b", code
    )


def test_the_same_inputs_give_the_same_bytes(folders, tmp_path: Path):
    for name in ("one", "two"):
        shared(folders, tmp_path / name)
    for file in ("index.html", "preview.jpg", "share.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_size_is_reported_and_bounded(folders, tmp_path: Path):
    page, facts = shared(folders, tmp_path / "out", max_photos=2, photo_size=32, lights=1, preview=100)
    counts = json.loads((tmp_path / "out" / "share.json").read_text())
    assert counts["megabytes"] == round(len(page.encode()) / 1e6, 2)
    assert counts["photos"] == len(facts["photos"]) >= 2
    assert (counts["splats"], counts["words"], counts["lights"]) == (GAUSSIANS, 2, len(facts["lights"]))
    bytes_each = 14 + 3 * len(facts["lights"]) + 2 * 2
    assert len(element(page, "splats")) < (GAUSSIANS * bytes_each + 64) * 4 / 3 + 4
    for photo in facts["photos"]:
        raw = base64.b64decode(photo["picture"].removeprefix("data:image/jpeg;base64,"))
        (tmp_path / "photo.jpg").write_bytes(raw)
        assert Image.open(tmp_path / "photo.jpg").size == (32, 24)
    assert Image.open(tmp_path / "out" / "preview.jpg").size == (100, 75)


def test_escaped_json_decodes_to_the_same_value():
    value = {"a": [HOSTILE, "&amp;", "\ud800", "Ω", 1.5, None]}
    text = escaped_json(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")
    assert text.isascii()


def test_the_report_links_to_the_page(folders, tmp_path: Path):
    folders["share"], folders["evaluate"] = tmp_path / "share", tmp_path / "evaluate"
    shared(folders, folders["share"])
    run_stage(Evaluate(), folders["evaluate"], folders)
    (folders["evaluate"] / "manifest.json").write_text('{"wall_s": 1.0}')
    assert Report.requires({"explore": True}) == (*Report.needs, "share")
    assert Report.requires({"explore": False}) == Report.needs
    for explore in (True, False):
        stage, out = Report(explore=explore, command="halonerf scene=<b>"), tmp_path / f"report{explore}"
        out.mkdir()
        stage.bind(out, folders, 0)
        stage.prepare()
        stage.predict_step("page", 0)
        page = (out / "report.html").read_text(encoding="utf-8")
        assert ('href="explore.html"' in page) == (out / "explore.html").is_file() == explore
        assert "<code>halonerf scene=&lt;b&gt; stage=query text=&#34;rose window&#34;</code>" in page
        assert page.count("<img") == page.count('src="data:image/')
    assert (tmp_path / "reportTrue" / "explore.html").read_bytes() == (folders["share"] / "index.html").read_bytes()
