"""Extras: a package that options need is named before any stage has run."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from halonerf import errors
from halonerf.cli import composed, run
from halonerf.errors import MissingExtra
from halonerf.stages.specs import ExportSpec, RenderSpec


@pytest.mark.parametrize(
    ("overrides", "missing", "extra"),
    [
        (["stage=export"], "trimesh", "export"),
        (["stage=export", "export.formats=[splats,mesh]"], "skimage", "export"),
        (["stage=render", "path=orbit", "render.film=gif"], "av", "video"),
        (["stage=render", "render.video=[day,night]"], "av", "video"),
        (["stage=explore"], "fastapi", "viewer"),
    ],
)
def test_a_missing_extra_is_named_before_any_stage_runs(
    overrides: list[str], missing: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 48)).save(photos / "a.png")
    found = errors.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == missing else found(name))
    config = composed([*overrides, "scene=photos", f"scene.path={photos}", f"artifacts={tmp_path / 'artifacts'}"])
    with pytest.raises(MissingExtra, match=rf"'{missing}'(.|\n)*halonerf\[{extra}\]"):
        run(config)
    assert not list((tmp_path / "artifacts").rglob("manifest.json"))


def test_options_that_need_no_extra_name_none():
    assert ExportSpec.extra_packages({"formats": ["splats", "masks"]}) == {}
    assert RenderSpec.extra_packages({"path": None, "video": None, "film": "mp4"}) == {}
    assert RenderSpec.extra_packages({"path": "orbit", "film": "frames"}) == {}


def test_a_procedural_landmark_needs_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = errors.find_spec
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "mitsuba" else found(name))
    with pytest.raises(MissingExtra, match=r"halonerf\[procedural\]"):
        run(composed(["stage=collect", "scene=mosque", f"artifacts={tmp_path}"]))
