"""A concept has the same parts, counts, threshold and colour in a query, in a window and on a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from halonerf.data.scene.scene import Scene
from halonerf.heads.lifted import Lifted
from halonerf.queries.connected_parts import PartOptions
from halonerf.queries.session import QuerySession
from halonerf.stages.index.stage import Index
from halonerf.stages.query import Query
from halonerf.thresholds import HALF, decide
from halonerf.viewer.engine import Engine
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Question
from helpers.made_folders import run_stage
from helpers.made_query import SEGMENTER
from helpers.made_share import FIELD, GAUSSIANS, HEAD, WORDS, opened_field, shared, write_share_folders

PARTS = {"part_radius": 3.0, "min_elements": 4, "max_parts": 50}


def lift_concepts(folders: dict[str, Path], high: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A head in which the first concept is on the right of the scene, with a probability around `high`."""
    random = torch.Generator().manual_seed(1)
    centres = opened_field(folders).element_centres()
    right = (centres[:, 0] > 0.1).float()
    noise = torch.rand(GAUSSIANS, generator=random)
    first = right * high * (0.8 + 0.2 * noise) + (1 - right) * 0.1 * high * noise
    probability = torch.stack([first, 0.9 * (1 - right)], dim=1)
    support = torch.ones(GAUSSIANS, 2)
    support[:20] = 0
    head = Lifted()
    head.hold(probability, support)
    head.save(folders["localize"] / "head.safetensors")
    return head.probabilities()[:, 0], head.confidence()[:, 0]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    made = write_share_folders(tmp_path / "folders")
    names = Scene(made["ingest"]).names
    rows = "photo,score,chosen,reason\n" + "".join(f"{name},0.9,true,\n" for name in names)
    (made["segment"] / "choice.csv").write_text(rows)
    run_stage(Index(SEGMENTER, FIELD, max_photos=2), tmp_path / "index", made)
    return {**made, "index": tmp_path / "index"}


def queried(folders: dict[str, Path], out: Path, text: str) -> dict[str, Any]:
    """What stage `query` writes."""
    stage = Query(SEGMENTER, FIELD, HEAD, [text], **PARTS)  # type: ignore[arg-type]
    out.mkdir()
    stage.bind(out, {need: folders[need] for need in Query.requires({"words": "red"})}, 0)
    stage.prepare()
    stage.predict_step("query.json", 0)
    return json.loads((out / "query.json").read_text())


@pytest.mark.parametrize("high", [0.9, 0.3, 0.04])
def test_a_concept_is_answered_alike_everywhere(folders: dict[str, Path], tmp_path: Path, high: float):
    probability, confidence = lift_concepts(folders, high)
    decision = decide(probability.numpy(), confidence.numpy())
    assert decision.guess == (high < HALF)
    assert 0.1 * high < decision.threshold < high
    text = WORDS[0]
    answer = queried(folders, tmp_path / "query", text)
    engine = Engine(QuerySession(folders, SEGMENTER, FIELD, HEAD), PartOptions(**PARTS), WORDS)  # type: ignore[arg-type]
    window = LiveScene(engine, tmp_path / "explore").word(Question(text=text))
    parts = engine.parts(engine.find(text))
    _, facts = shared(folders, tmp_path / "page", **PARTS)
    page = facts["words"][0]

    counts = [len(part.elements) for part in parts]
    assert counts, "parts are found however low the probabilities are"
    assert [part["elements"] for part in answer["parts"]] == counts == [part["elements"] for part in page["parts"]]
    assert [part.model_dump() for part in window.parts] == page["parts"]
    for one, two, three in zip(answer["parts"], parts, page["parts"], strict=True):
        assert one["centre"] == two.centre.round(5).tolist() == three["centre"]
        assert three["extent"] == (two.box[1] - two.box[0]).round(5).tolist()
        assert one["probability"] == pytest.approx(two.probability, abs=1e-4)
        assert three["probability"] == pytest.approx(two.probability, abs=1e-3)
    for threshold in (answer["thresholds"][0], window.threshold, page["threshold"]):
        assert threshold == pytest.approx(decision.threshold, abs=1e-4)
    assert answer["guesses"] == [decision.guess] == [page["guess"]] == [window.guess]
    assert answer["colours"] == [page["colour"]] == [window.colour]
    if decision.guess:
        assert len(parts) == 1, "the best part alone"
        assert any("guess" in note for note in answer["notes"])
        assert any("guess" in note for note in window.notes)


def test_operands_of_expressions_are_the_concepts(folders: dict[str, Path]):
    probability, confidence = lift_concepts(folders, 0.9)
    session = QuerySession(folders, SEGMENTER, FIELD, HEAD)
    both = session.query([f"{WORDS[0]} AND NOT red", WORDS[0], "red"])
    known = both.confidence[:, 0] > 0
    expected = torch.minimum(both.probability[:, 1], 1 - both.probability[:, 2])
    assert known.any()
    torch.testing.assert_close(both.probability[known, 0], expected[known])
    torch.testing.assert_close(both.probability[:, 1], probability)
    torch.testing.assert_close(both.confidence[:, 1], confidence)
    compared = session.query(WORDS[0], negatives=["red"])
    assert not torch.equal(compared.probability[:, 0], probability), "negatives compare maps, which the index has"


def test_a_threshold_that_is_given_counts_everywhere(folders: dict[str, Path], tmp_path: Path):
    probability, confidence = lift_concepts(folders, 0.3)
    session = QuerySession(folders, SEGMENTER, FIELD, HEAD)
    answer = session.query(WORDS[0], threshold=0.05, **PARTS)
    engine = Engine(session, PartOptions(**PARTS), WORDS)  # type: ignore[arg-type]
    parts = engine.parts(engine.find(WORDS[0]), 0.05)
    _, facts = shared(folders, tmp_path / "page", threshold=0.05, **PARTS)
    counts = [len(part.elements) for part in answer.parts[0]]
    assert counts == [len(part.elements) for part in parts]
    assert counts == [part["elements"] for part in facts["words"][0]["parts"]]
    assert not answer.decisions[0].guess
    assert not facts["words"][0]["guess"]
    assert (np.asarray(probability)[parts[0].elements] >= 0.05).all()
    assert (np.asarray(confidence)[parts[0].elements] > 0).all()
