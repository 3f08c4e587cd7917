"""Localized concepts and words of the index together: which comes from where, in order, and rendered alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads.lifted import Lifted
from halonerf.lifting import render_known
from halonerf.queries.session import QuerySession
from halonerf.queries.word_layers import WordLayers, render_elements
from helpers.made_query import FIELD, HEAD, SEGMENTER
from helpers.made_render import write_words_folders

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished folders whose head was fitted to "portal" alone."""
    return write_words_folders(tmp_path_factory.mktemp("words") / "folders")


@pytest.fixture(scope="module")
def session(folders: dict[str, Path]) -> QuerySession:
    return QuerySession(folders, SEGMENTER, FIELD, HEAD)


@pytest.fixture
def head(folders: dict[str, Path]) -> Lifted:
    head = Lifted()
    head.load(folders["localize"] / "head.safetensors")
    return head


def test_concepts_come_from_the_head_and_other_words_from_the_index(session: QuerySession, head: Lifted):
    opened = []
    texts = ["red", "portal", "red AND NOT blue", "portal"]
    layers = WordLayers(head, ["portal"], texts, lambda: opened.append(1) or session)
    assert layers.texts == texts[:3]
    assert layers.columns == [None, 0, None]
    assert not opened
    probability, confidence = layers.elements
    answer = session.query(["red", "red AND NOT blue"])
    assert torch.equal(probability[:, [0, 2]], answer.probability)
    assert torch.equal(confidence[:, [0, 2]], answer.confidence)
    assert torch.equal(probability[:, 1], head.probabilities()[:, 0])
    assert torch.equal(confidence[:, 1], head.confidence()[:, 0])
    assert layers.elements[0] is probability
    assert opened == [1]


def test_the_session_is_not_opened_for_concepts(folders: dict[str, Path], head: Lifted):
    def refuse() -> QuerySession:
        raise AssertionError("opened")

    layers = WordLayers(head, ["portal"], ["portal"], refuse)
    assert torch.equal(layers.elements[0], head.probabilities())
    assert WordLayers(head, ["portal"], [], refuse).elements[0].shape == (len(head.probabilities()), 0)
    view = Scene(folders["ingest"]).views[0]
    field = Gaussians()
    field.load(folders["reconstruct"] / "field.safetensors")
    code = field.mean_appearance()
    with torch.no_grad():
        expected = head.render(field, view, code)[0]
        torch.testing.assert_close(layers.render(field, view, code, ["portal"], 512.0), expected)


def test_unknown_words_are_noted_and_rendered_as_zero(session: QuerySession, head: Lifted):
    layers = WordLayers(head, ["portal"], ["portal", "spire"], lambda: session)
    view, code = session.data.views[1], session.field.mean_appearance()
    with torch.no_grad():
        maps = layers.render(session.field, view, code, ["spire", "portal"], 512.0)
    assert maps.shape == (view.height, view.width, 2)
    assert not maps[..., 0].any()
    assert maps[..., 1].any()
    assert [note.split(":")[0] for note in layers.notes] == ["'spire'"]


def test_a_small_memory_budget_changes_nothing(session: QuerySession):
    answer = session.query(["red", "blue"])
    view, code = session.data.views[1].with_long_side(100), session.field.mean_appearance()
    whole = render_known(session.field, view, code, answer.probability, answer.confidence)[0]
    parts = render_elements(session.field, view, code, answer.probability, answer.confidence, memory_mb=0.1)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
