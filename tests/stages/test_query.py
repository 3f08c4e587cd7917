"""Text queries equal lifting without an index, change no artifact, and report what is unknown."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import halonerf
from halonerf.cli import composed
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.fields.gaussians.field import Gaussians
from halonerf.files import write_json
from halonerf.heads.lifted import Lifted
from halonerf.lifting import render_known
from halonerf.pipeline.plan import resolve
from halonerf.pipeline.stage import Stage
from halonerf.queries.answer import QueryOptions
from halonerf.queries.session import QuerySession
from halonerf.stages.index.stage import Index
from halonerf.stages.query import Query
from helpers.made_folders import run_stage, write_masks
from helpers.made_query import CHANNELS, FIELD, HEAD, SEGMENTER, Colours, bilinear, noise, write_query_folders


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """Finished folders up to `index`, whose maps are as fine as the segmenter's."""
    folders = write_query_folders(tmp_path)
    run_stage(Index(SEGMENTER, FIELD, max_photos=3, map_size=32), tmp_path / "index", folders)
    return {**folders, "index": tmp_path / "index"}


def opened(inputs: dict[str, Path], **options: Any) -> QuerySession:
    return QuerySession(inputs, SEGMENTER, FIELD, HEAD, **options)


def ask(folder: Path, inputs: dict[str, Path], words: Any, **options: Any) -> Stage:
    return run_stage(Query(SEGMENTER, FIELD, HEAD, words, **options), folder, inputs)


def lifted_directly(inputs: dict[str, Path], words: list[str]) -> Lifted:
    """What a head makes of the segmenter's maps at the photos' own size, without any index."""
    scene, field = Scene(inputs["ingest"]), Gaussians()
    field.load(inputs["reconstruct"] / "field.safetensors")
    views = sorted(int(path.stem) for path in (inputs["index"] / "photos").iterdir())
    maps = [torch.stack([bilinear(scene, view, CHANNELS[word]) for word in words], dim=-1) for view in views]
    head = Lifted()
    head.fit(field.eval(), [scene.views[view] for view in views], maps, [torch.ones_like(m) for m in maps])
    return head


def test_a_query_equals_lifting_without_an_index(inputs: dict[str, Path]):
    session, head = opened(inputs), lifted_directly(inputs, ["red", "blue"])
    answer = session.query(["red", "blue"], view=session.data.names[2], size=None)
    assert (answer.confidence > 0).any()
    # half precision of the encodings and tables: 5e-4 each
    torch.testing.assert_close(answer.probability, head.probabilities(), atol=2e-3, rtol=0)
    torch.testing.assert_close(answer.confidence, head.confidence(), atol=1e-2, rtol=2e-3)
    shown = head.render(session.field, session.data.views[2], session.field.appearance(session.data.names[2]))
    torch.testing.assert_close(answer.maps[0].probability, shown[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(answer.maps[0].confidence, shown[1], atol=1e-5, rtol=0)


def test_elements_are_rendered_as_by_a_head(inputs: dict[str, Path]):
    session, head = opened(inputs), lifted_directly(inputs, ["red"])
    head.support[::3] = 0  # unknown
    view, light = session.data.views[1], session.field.mean_appearance()
    expected = head.render(session.field, view, light)
    found = render_known(session.field, view, light, head.probabilities(), head.confidence())
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


def test_the_stage_writes_the_answer_of_a_session(tmp_path: Path, inputs: dict[str, Path]):
    texts = ["red", "red AND NOT (green OR blue)"]
    stage = ask(tmp_path / "out", inputs, texts, views=2, threshold=0.4, min_elements=2, size=48)
    answer = opened(inputs).query(texts, views=2, threshold=0.4, min_elements=2, size=48)
    written = json.loads((tmp_path / "out" / "query.json").read_text())
    assert written["texts"] == texts
    assert {"encode", "decode", "lift", "render", "total"} <= set(written["seconds"])
    parts = sum(written["seconds"][name] for name in ("decode", "lift", "render"))
    assert written["seconds"]["total"] == pytest.approx(parts, abs=1e-3)
    assert [view["photo"] for view in written["views"]] == [shown.photo for shown in answer.maps]
    assert [part["elements"] for part in written["parts"]] == [len(p.elements) for text in answer.parts for p in text]
    elements = load_file(tmp_path / "out" / "elements.safetensors")
    assert torch.equal(elements["probability"], answer.probability)
    p = [opened(inputs).query(word).probability[:, 0] for word in ("red", "green", "blue")]
    known = answer.confidence[:, 1] > 0
    expected = torch.minimum(p[0], 1 - torch.maximum(p[1], p[2]))
    assert torch.equal(elements["probability"][known, 1], expected[known])
    for shown, view in zip(answer.maps, written["views"], strict=True):
        with np.load(tmp_path / "out" / view["map"]) as arrays:
            assert arrays["probability"].shape == arrays["confidence"].shape == (2, 36, 48)
            assert arrays["probability"].dtype == np.uint8
            assert np.array_equal(arrays["probability"][1], np.round(shown.probability[..., 1].numpy() * 255))
        assert (tmp_path / "out" / view["picture"]).is_file()
    assert (tmp_path / "out" / "sheet.jpg").is_file()
    assert stage.summary()["parts"] == len(written["parts"])
    assert all(stage.done(item) for item in stage.items())


def test_a_query_encodes_no_photo_and_leaves_the_index_unchanged(inputs: dict[str, Path]):
    before, stamps = Colours.encoded, {p: p.stat().st_mtime_ns for p in inputs["index"].rglob("*")}
    session = opened(inputs)
    first = session.query("red")
    session.query(["green", "blue"])
    again = session.query("red")
    assert torch.equal(first.probability, again.probability)
    assert Colours.encoded == before
    assert stamps == {p: p.stat().st_mtime_ns for p in inputs["index"].rglob("*")}


def test_negatives_lower_probabilities_and_never_raise_them(inputs: dict[str, Path]):
    session = opened(inputs)
    plain = session.query("red").probability
    beaten = session.query("red", negatives=["blue"]).probability
    assert (beaten <= plain + 1e-6).all()
    assert (plain - beaten).max() > 0.05
    assert torch.equal(session.query("red", negatives=["red"]).probability, plain)
    assert torch.equal(session.query("red", relevancy=True).probability, plain)  # unknown phrases say nothing


def test_the_sky_lowers_the_probability_of_other_words(inputs: dict[str, Path]):
    plain, under = opened(inputs).query(["red", "blue"]), opened(inputs, sky="blue").query(["red", "blue"])
    assert (under.probability[:, 0] < plain.probability[:, 0] - 0.05).any()
    assert torch.equal(under.probability[:, 1], plain.probability[:, 1])  # asked by its own name, it is there


def test_words_unknown_to_the_segmenter_are_unknown(tmp_path: Path, inputs: dict[str, Path]):
    answer = opened(inputs).query(["portal", "red AND NOT portal", "red"])
    assert not answer.confidence[:, :2].any()
    assert not answer.probability[:, :2].any()
    assert answer.known[2] > 0
    assert [note.split(":")[0] for note in answer.notes] == ["'portal'", "'red AND NOT portal'"]
    assert answer.parts[:2] == [[], []]


def test_mask_folders_know_only_their_concepts(tmp_path: Path):
    folders = write_query_folders(tmp_path)
    write_masks(tmp_path / "masks", "domes", Scene(folders["ingest"]).names[:3])
    masks = {"_target_": "halonerf.segmenters.Masks", "path": str(tmp_path / "masks")}
    run_stage(Index(masks, FIELD, max_photos=4, map_size=32), tmp_path / "index", folders)
    inputs = {**folders, "index": tmp_path / "index"}
    run_stage(Query(masks, FIELD, HEAD, ["dome", "rose window"]), tmp_path / "out", inputs)
    written = json.loads((tmp_path / "out" / "query.json").read_text())
    assert written["known"][0] > 0
    assert written["known"][1] == 0
    assert [note for note in written["notes"] if "rose window" in note] == [
        "'rose window': unknown everywhere, which does not mean absent. The segmenter knows: domes."
    ]
    with np.load(tmp_path / "out" / written["views"][0]["map"]) as arrays:
        assert arrays["confidence"][0].any()
        assert not arrays["confidence"][1].any()


def test_texts_never_become_paths_or_markup(tmp_path: Path, inputs: dict[str, Path]):
    texts = ["../../etc/passwd", "<b onload=alert>&amp;</b>", "red\x00\x1b[2J", "é" * 400]
    ask(tmp_path / "out", inputs, texts)
    written = json.loads((tmp_path / "out" / "query.json").read_text())
    assert written["texts"] == [texts[0], texts[1], "red [2J", texts[3]]
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    view = written["views"][0]["view"]
    maps = {f"maps/{view:05d}.npz", f"maps/{view:05d}.png"}
    expected = {"query.json", "parts.csv", "elements.safetensors", "sheet.jpg", *maps}
    assert names == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [(None, "stage=query text="), ("", "a text to look for"), ([], "empty list"), ("a AND", "got the end")],
)
def test_a_malformed_query_is_reported_before_any_stage_runs(words: Any, message: str):
    with pytest.raises(BadInput, match=message):
        Query.requires({"words": words})


def test_the_command_line_requires_a_valid_text():
    with pytest.raises(BadInput, match="stage=query text="):
        resolve(composed(["stage=query"]))
    with pytest.raises(BadInput, match="closing parenthesis"):
        resolve(composed(["stage=query", 'text="(a OR b"']))


def test_numbers_become_texts():
    assert Query(SEGMENTER, FIELD, HEAD, 1889).words == ["1889"]  # as the command line reads text=1889


def test_the_documented_options_are_those_of_a_query():
    """docs/query.md, `QueryOptions` and the stage have the same options and defaults."""
    page = (Path(__file__).parents[2] / "docs" / "query.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE))
    defaults = {field.name: field.default for field in dataclasses.fields(QueryOptions)}
    defaults["metres_per_unit"] = None  # of the stage alone: it changes what is written, not what is found
    assert documented == {name: json.dumps(value) for name, value in defaults.items()}
    parameters = inspect.signature(Query).parameters
    assert {name: parameters[name].default for name in defaults} == defaults


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, r"query\.threshold"),
        ({"views": 0}, r"query\.views"),
        ({"size": 8}, r"query\.size"),
        ({"part_radius": 0.0}, "part_radius above 0"),
        ({"negatives": "sky"}, r"query\.negatives=\[sky,tree\]"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str):
    with pytest.raises(BadInput, match=message):
        Query(SEGMENTER, FIELD, HEAD, "red", **options)


def test_an_unknown_photo_and_a_trained_head_are_refused(inputs: dict[str, Path]):
    with pytest.raises(BadInput, match=r"query\.view to be a photo's name"):
        opened(inputs).query("red", view="gone.jpg")
    with pytest.raises(BadInput, match=r"a head that lifts(.|\n)*head=lifted"):
        QuerySession(inputs, SEGMENTER, FIELD, {"_target_": f"{__name__}.Learner"})


class Learner(Lifted):
    """Has what makes a head one that learns."""

    rounds = 1

    def start(self, *given: Any) -> None: ...

    def fit_round(self, number: int) -> float: ...

    def save_state(self, path: Path) -> None: ...

    def load_state(self, path: Path) -> None: ...


def test_python_opens_artifacts_of_the_command_line(tmp_path: Path, inputs: dict[str, Path]):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"never read")
    overrides = ["scene=photos", f"scene.path={tmp_path / 'photos'}", f"artifacts={tmp_path / 'artifacts'}"]
    plan = resolve(composed([*overrides, "stage=query", "text=any"]))
    store, needed = plan.store, plan.goal.inputs
    folders = {need: store.folder(*artifact) for need, artifact in needed.items()}
    for need, folder in folders.items():
        folder.parent.mkdir(parents=True)
        if need == "index":
            config = {
                key: value
                for key, value in next(step for step in plan.steps if step.stage == "index").config.items()
                if key != "_target_"
            }
            run_stage(Index(**config), folder, {**folders, "segment": inputs["segment"]})
        elif need == "localize":
            folder.mkdir()
            write_json(folder / "concepts.json", [])
        else:
            inputs[need].rename(folder)
        write_json(folder / "manifest.json", {})
    answer = halonerf.Scene.open(*overrides).query("window", size=64)
    assert answer.maps[0].probability.shape == (48, 64, 1)
    assert answer.known[0] > 0


def test_the_papers_field_answers_queries(tmp_path: Path):
    sizes = {"width": 16, "depth": 5, "position_frequencies": 3, "samples": 6, "render_samples": 8, "grid_side": 6}
    nerf = {"_target_": "halonerf.fields.HaNerf", **sizes}
    folders = write_query_folders(tmp_path, photos=3)
    field = build(nerf)
    field.initialise(noise((60, 3)) - 0.5, noise((60, 3)), ["a.jpg"], seed=0)
    field.save(folders["reconstruct"] / "field.safetensors")
    run_stage(Index(SEGMENTER, nerf, max_photos=2, map_size=16, size=32), tmp_path / "index", folders)
    session = QuerySession({**folders, "index": tmp_path / "index"}, SEGMENTER, nerf, HEAD)
    answer = session.query("red", size=32, threshold=0.3, min_elements=1)
    assert answer.maps[0].probability.shape == (24, 32, 1)
    assert 0.3 < float(answer.probability[answer.confidence > 0].mean()) < 0.7  # of noise
    placed = [int(e) for part in answer.parts[0] for e in part.elements]
    assert placed
    assert session.field.elements - 1 not in placed  # all other space is in no one place


@pytest.mark.parametrize("option", [{"robust": "median"}, {"refinements": 2}, {"smoothing": 1.0}])
def test_options_of_the_head_apply(inputs: dict[str, Path], option: dict[str, Any]):
    plain = opened(inputs).query("red")
    other = QuerySession(inputs, SEGMENTER, FIELD, {**HEAD, **option}).query("red")
    known = plain.confidence > 0
    assert torch.equal(other.confidence > 0, known)
    assert not torch.allclose(other.probability[known], plain.probability[known], atol=1e-3)
    assert torch.allclose(other.probability[known], plain.probability[known], atol=0.4)  # of the same noise
