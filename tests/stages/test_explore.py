"""Stage explore: what it gives to a viewer, where files are saved, and that the viewer is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from halonerf.artifacts import ArtifactStore
from halonerf.cli import composed
from halonerf.data.formats.names import CONCEPTS
from halonerf.errors import BadInput
from halonerf.files import write_json
from halonerf.pipeline.plan import ArtifactId, Step, resolve
from halonerf.pipeline.run import serve_step
from halonerf.stages.explore import Explore
from halonerf.stages.index.stage import Index
from helpers.made_folders import run_stage
from helpers.made_query import FIELD, HEAD, SEGMENTER, write_query_folders


class Recorder:
    """A viewer that records its calls and returns from `wait` at once."""

    calls: ClassVar[list[Any]] = []

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def start(self, session, folder, words=(), concepts=()):
        Recorder.calls = ["start", session, folder, list(words), list(concepts)]
        (folder / "paths").mkdir(exist_ok=True)
        return "http://here:1"

    def directions(self, address):
        return f"Open {address}"

    def wait(self):
        Recorder.calls.append("wait")
        if self.fails:
            raise RuntimeError("a failure")

    def stop(self):
        Recorder.calls.append("stop")


@pytest.fixture
def step(tmp_path: Path):
    """Makes stage explore, on a tiny scene in a store, a step of a plan."""
    store = ArtifactStore(tmp_path / "artifacts")
    folders = write_query_folders(tmp_path / "folders")
    run_stage(Index(SEGMENTER, FIELD, max_photos=3, map_size=32), tmp_path / "folders" / "index", folders)
    inputs = {}
    write_json(tmp_path / "folders" / "segment" / CONCEPTS, ["dome", "red"])
    for stage in ("ingest", "reconstruct", "segment", "index"):
        inputs[stage] = ArtifactId("my church", stage, "0" * 16)
        folder = store.folder(*inputs[stage])
        folder.parent.mkdir(parents=True)
        (tmp_path / "folders" / stage).rename(folder)

    def make(**options: Any) -> tuple[Step, ArtifactStore]:
        config = {
            "_target_": "halonerf.stages.Explore",
            "viewer": {"_target_": f"{__name__}.Recorder", "fails": options.pop("fails", False)},
            "segmenter": SEGMENTER,
            "field": FIELD,
            "head": HEAD,
            **options,
        }
        return Step("my church", "explore", config, "f" * 16, inputs, False), store

    return make


def test_the_viewer_gets_the_opened_scene_the_concepts_and_a_permanent_folder(step, capsys: pytest.CaptureFixture[str]):
    given, store = step(words=["red", "blue"])
    folder = serve_step(given, 0, store)
    assert folder == store.root / "my_church" / "explore"
    called, session, where, words, concepts, *rest = Recorder.calls
    assert (called, where, words, rest) == ("start", folder, ["red", "blue"], ["wait", "stop"])
    assert concepts == ["dome", "red"]
    assert len(session.query("red").parts) == 1
    assert "Open http://here:1" in capsys.readouterr().err
    (folder / "paths" / "path_0001.json").write_text("{}")
    serve_step(given, 0, store)
    assert (folder / "paths" / "path_0001.json").read_text() == "{}", "saved files are kept"


def test_the_viewer_is_stopped_after_an_error(step):
    given, store = step(fails=True)
    with pytest.raises(RuntimeError, match="a failure"):
        serve_step(given, 0, store)
    assert Recorder.calls[-1] == "stop"


def test_it_requires_the_index_and_checks_words_before_any_stage_runs():
    assert Explore.requires({"words": None}) == ("collect", "ingest", "reconstruct", "segment", "index", "localize")
    assert "adapt_segmenter" in Explore.requires({"adapted": True})
    with pytest.raises(BadInput):
        Explore.requires({"words": ["portal AND"]})


def test_it_is_never_finished(tmp_path: Path):
    config = composed(["stage=explore", f"artifacts={tmp_path}"])
    plan = resolve(config).steps
    assert [found.stage for found in plan if found.spec.interactive] == ["explore"]
    assert plan[-1].stage == "explore"
