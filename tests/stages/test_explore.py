"""Explore: what it hands to a viewer, where things are kept, and that it ends well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from omegaconf import OmegaConf

from halonerf.artifacts import ArtifactStore
from halonerf.cli import composed
from halonerf.errors import BadInput
from halonerf.pipeline.plan import ArtifactId, Step, resolve
from halonerf.pipeline.run import serve_step
from halonerf.protocols import Viewer
from halonerf.stages.explore import Explore
from halonerf.stages.index.stage import Index
from halonerf.viewer.browser import Browser
from helpers.made_query import FIELD, HEAD, SEGMENTER, write_query_road
from helpers.made_road import run_stage
from helpers.places import CONF

GROUP = CONF / "viewer"


class Watcher:
    """A viewer that looks at what it is given, and has then seen enough."""

    calls: ClassVar[list[Any]] = []

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def start(self, scene, folder, words=()):
        Watcher.calls = ["start", scene, folder, list(words)]
        (folder / "paths").mkdir(exist_ok=True)
        return "http://here:1"

    def directions(self, address):
        return f"Open {address}"

    def wait(self):
        Watcher.calls.append("wait")
        if self.fails:
            raise RuntimeError("the roof fell in")

    def stop(self):
        Watcher.calls.append("stop")


@pytest.fixture
def step(tmp_path: Path):
    """Explore on a tiny road that lies in a store, as a step of a plan."""
    store = ArtifactStore(tmp_path / "artifacts")
    road = write_query_road(tmp_path / "road")
    run_stage(Index(SEGMENTER, FIELD, max_photos=3, map_size=32), tmp_path / "road" / "index", road)
    inputs = {}
    for stage in ("ingest", "reconstruct", "index"):
        inputs[stage] = ArtifactId("my church", stage, "0" * 16)
        folder = store.folder(*inputs[stage])
        folder.parent.mkdir(parents=True)
        (tmp_path / "road" / stage).rename(folder)

    def make(**options: Any) -> tuple[Step, ArtifactStore]:
        config = {
            "_target_": "halonerf.stages.Explore",
            "viewer": {"_target_": f"{__name__}.Watcher", "fails": options.pop("fails", False)},
            "segmenter": SEGMENTER,
            "field": FIELD,
            "head": HEAD,
            **options,
        }
        return Step("my church", "explore", config, "f" * 16, inputs, False), store

    return make


def test_a_viewer_gets_the_opened_scene_and_a_folder_that_is_kept(step, capsys: pytest.CaptureFixture[str]):
    given, store = step(words=["red", "blue"])
    folder = serve_step(given, 0, store)
    assert folder == store.root / "my_church" / "explore"
    called, scene, where, words, *rest = Watcher.calls
    assert (called, where, words, rest) == ("start", folder, ["red", "blue"], ["wait", "stop"])
    assert len(scene.query("red").parts) == 1
    assert "Open http://here:1" in capsys.readouterr().err
    (folder / "paths" / "path_0001.json").write_text("{}")
    serve_step(given, 0, store)
    assert (folder / "paths" / "path_0001.json").read_text() == "{}", "nothing that was kept is lost"


def test_the_viewer_is_stopped_whatever_happens(step):
    given, store = step(fails=True)
    with pytest.raises(RuntimeError, match="roof"):
        serve_step(given, 0, store)
    assert Watcher.calls[-1] == "stop"


def test_it_asks_for_the_index_and_checks_words_before_hours_of_work():
    assert Explore.requires({"words": None}) == ("ingest", "reconstruct", "index")
    assert "adapt_segmenter" in Explore.requires({"adapted": True})
    with pytest.raises(BadInput):
        Explore.requires({"words": ["portal AND"]})


def test_it_is_never_finished(tmp_path: Path):
    config = composed(["stage=explore", f"artifacts={tmp_path}"])
    plan = resolve(config).steps
    assert [found.stage for found in plan if found.spec.interactive] == ["explore"]
    assert "localize" not in {found.stage for found in plan}


def test_the_browser_is_a_viewer_and_refuses_nonsense():
    options = OmegaConf.to_container(OmegaConf.load(GROUP / "browser.yaml"))
    assert isinstance(options, dict)
    options.pop("_target_")
    assert isinstance(Browser(**options), Viewer)
    for wrong in ({"port": 70_000}, {"windows": 0}, {"cameras": -1}, {"thumbnail": 2}, {"still_size": -1}):
        with pytest.raises(BadInput, match="viewer"):
            Browser(**{**options, **wrong})


def test_directions_warn_where_everybody_can_look():
    assert "password" not in Browser().directions("http://127.0.0.1:8080")
    assert "ssh -L 8080:127.0.0.1:8080" in Browser().directions("http://127.0.0.1:8080")
    assert "no password" in Browser(host="0.0.0.0").directions("http://127.0.0.1:8080")
