"""What the routes of teaching answer, on the procedural cathedral with the packaged segmenter: no browser."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from halonerf.annotations import AnnotationSet
from halonerf.errors import BadInput, MissingArtifact
from halonerf.metrics import average_precision
from halonerf.queries.connected_parts import PartOptions
from halonerf.queries.session import QuerySession
from halonerf.queries.teaching import TeachingSession
from halonerf.viewer.engine import Engine
from halonerf.viewer.web import teaching as teaching_module
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.teaching import Teaching
from helpers.made_cathedral import FIELD, HEAD, HELD_OUT
from helpers.made_web import HEADER, HOST, client, guarded, open_session
from helpers.teachable_cathedral import (
    FEW,
    MARKED,
    OPENED,
    SEGMENTER,
    WORD,
    marks_of,
    truth,
    write_teachable_cathedral,
)
from helpers.tiny_grounding import write_tiny_sam2

WRONG = "wheel"  # a word of which the segmenter knows nothing
HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_teachable_cathedral(tmp_path_factory.mktemp("cathedral"))


@pytest.fixture(scope="module")
def engine(folders: dict[str, Path]) -> Engine:
    session = QuerySession({name: folders[name] for name in OPENED}, SEGMENTER, FIELD, HEAD)
    return Engine(session, PartOptions(min_elements=5), ["portal", WORD])


@pytest.fixture
def teaching(engine: Engine, tmp_path: Path) -> Teaching:
    engine._results.clear()
    return Teaching(engine, tmp_path / "explore", FEW)


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Config of a tiny SAM 2."""
    weights = write_tiny_sam2(tmp_path_factory.mktemp("sam"))
    return {"_target_": "halonerf.segmenters.Sam", "weights": str(weights)}


def served(engine: Engine, teaching: Teaching) -> TestClient:
    return client(guarded(LiveScene(engine, teaching.folder, picture_size=200, thumbnail=32), teaching=teaching))


@pytest.fixture
def server(engine: Engine, teaching: Teaching) -> TestClient:
    return served(engine, teaching)


def mark(server: TestClient, **changes: Any) -> Any:
    number = [photo["name"] for photo in server.get("/api/photos").json()].index(MARKED)
    wanted = {"concept": WORD, "photo": number, "tool": "stroke", "points": [[0.4, 0.4], [0.6, 0.4]], **changes}
    return server.post("/api/teaching/annotations", json=wanted)


def drawn(server: TestClient, folders: dict[str, Path], concept: str = WORD) -> list[Any]:
    """The answers to three strokes: a cross on the rose window, and a ring around it that it is not."""
    return [
        mark(server, concept=concept, points=points, positive=positive, radius=0.02).json()
        for points, positive in marks_of(truth(folders, MARKED))
    ]


def test_marks_teach_a_word_that_is_used_like_any_other(
    server: TestClient, engine: Engine, teaching: Teaching, folders: dict[str, Path]
):
    before = server.get("/api/teaching").json()
    assert (before["missing"], before["ready"], before["annotations"]) == (None, False, [])
    assert server.post("/api/teaching/open").json()["ready"]
    answer = drawn(server, folders)[-1]
    word = answer["word"]
    assert word["text"] == WORD
    assert word["notes"] == ["Taught by 3 marks."]
    assert word["parts"]
    assert 0.5 < answer["certainty"] <= 1
    position = server.get("/api/photos").json()
    assert MARKED not in [position[number]["name"] for number in answer["next"]]
    taught = engine.find(WORD)
    assert server.post("/api/words", json={"text": f" {WORD} "}).json() == word
    sent = np.frombuffer(server.get("/api/words/values", params={"text": WORD}).content, np.uint8)
    element = engine.splats.element
    expected = (255 * taught.probability[element] * (taught.confidence[element] > 0)).numpy()
    np.testing.assert_allclose(sent[: len(element)], expected, atol=1)
    assert server.get("/api/teaching/taught", params={"concept": WORD}).json() == answer
    joined = server.post("/api/words", json={"text": f"NOT {WORD}"}).json()
    assert joined["notes"] == ["Taught by 3 marks."]
    opposite = engine.find(f"NOT {WORD}")
    known = taught.confidence > 0
    np.testing.assert_allclose(opposite.probability[known], 1 - taught.probability[known], atol=1e-6)


def test_the_map_of_a_photo_is_what_its_view_shows(
    server: TestClient, engine: Engine, teaching: Teaching, folders: dict[str, Path]
):
    answer = drawn(server, folders)[-1]
    number = engine.photos.index(HELD_OUT)
    sent = server.get("/api/teaching/map", params={"concept": WORD, "photo": number})
    assert sent.headers["content-type"] == "image/png"
    belief = np.asarray(Image.open(io.BytesIO(sent.content)))
    again = TeachingSession(engine.session, teaching.path, FEW)
    np.testing.assert_allclose(belief, 255 * again.probability_map(WORD, HELD_OUT), atol=1)
    found, there = belief >= 255 * answer["word"]["threshold"], truth(folders, HELD_OUT)
    agreement = (found & there).sum() / (found | there).sum()
    print(f"IoU in a photo without marks: {agreement:.3f}")
    assert agreement >= 0.6  # measured 0.75
    for wrong in ("99", "-1", "x"):
        answer = server.get("/api/teaching/map", params={"concept": WORD, "photo": wrong})
        assert answer.status_code in (404, 422)


def test_undo_and_redo_are_remove_and_add_with_the_same_id(server: TestClient, teaching: Teaching):
    first = mark(server, id="a" * 32)
    mark(server, id="b" * 32, positive=False, points=[[0.1, 0.1]], tool="point")
    back = server.delete(f"/api/teaching/annotations/{'b' * 32}").json()
    assert back["word"]["threshold"] == first.json()["word"]["threshold"]
    gone = server.delete(f"/api/teaching/annotations/{'a' * 32}").json()
    assert gone == {"concept": WORD, "word": None, "certainty": 0, "next": []}
    assert server.get("/api/teaching/taught", params={"concept": WORD}).json() == gone
    assert "Taught" not in "".join(server.post("/api/words", json={"text": WORD}).json()["notes"])
    assert mark(server, id="a" * 32).status_code == 200
    assert [entry.id for entry in AnnotationSet.load(teaching.path)] == ["a" * 32]
    assert server.delete(f"/api/teaching/annotations/{'b' * 32}").status_code == 400
    assert server.delete("/api/teaching/annotations/no-id").status_code == 422


def test_the_3d_view_is_marked_from_any_camera(server: TestClient, engine: Engine, folders: dict[str, Path]):
    view = engine.scene.views[engine.photos.index(MARKED)]
    camera = {
        "width": view.width, "height": view.height, "focal": view.fx, "principal": [view.cx, view.cy],
        "pose": view.camera_to_world.flatten().tolist(),
    }  # fmt: skip
    for points, positive in marks_of(truth(folders, MARKED)):
        answer = mark(server, photo=None, camera=camera, points=points, positive=positive, radius=0.02)
    assert answer.json()["word"]["parts"]
    assert mark(server, photo=None, camera={**camera, "pose": [1.0] * 12}).status_code == 422
    assert mark(server, photo=None, camera={**camera, "width": 100_000}).status_code == 422
    assert mark(server, photo=None).status_code == 400
    assert mark(server, camera=camera).status_code == 400
    assert server.post("/api/teaching/masks").status_code == 400, "no photo has marks"


def test_marks_are_kept_and_fitted_again_after_a_restart(server: TestClient, engine: Engine, teaching: Teaching):
    answer = mark(server).json()
    later = served(engine, Teaching(engine, teaching.folder, FEW))
    state = later.get("/api/teaching").json()
    assert not state["ready"]
    assert [entry["concept"] for entry in state["annotations"]] == [WORD]
    again = later.post("/api/words", json={"text": WORD}).json()
    assert {**again, "seconds": 0} == {**answer["word"], "seconds": 0}


def test_correcting_a_wrong_word_raises_its_average_precision(
    server: TestClient, engine: Engine, folders: dict[str, Path]
):
    """The segmenter does not know that the rose window is a wheel."""
    number = engine.photos.index(HELD_OUT)

    def precision() -> float:
        sent = server.get("/api/teaching/map", params={"concept": WRONG, "photo": number}).content
        belief = np.asarray(Image.open(io.BytesIO(sent)))
        return average_precision(belief / 255, truth(folders, HELD_OUT))

    alone = precision()
    state = server.put("/api/teaching/corrected", json={"concept": WRONG, "on": True}).json()
    assert state["corrected"] == [WRONG]
    assert drawn(server, folders, WRONG)[-1]["word"]["notes"] == ["Corrected by 3 marks."]
    corrected = precision()
    print(f"average precision of the word: {alone:.3f}, corrected: {corrected:.3f}")
    assert alone < 0.3  # measured 0.05
    assert corrected > 0.85  # measured 0.97
    server.put("/api/teaching/corrected", json={"concept": WRONG, "on": False})
    assert server.post("/api/words", json={"text": WRONG}).json()["notes"] == ["Taught by 3 marks."]


def test_the_mode_changes_what_is_found(server: TestClient, folders: dict[str, Path]):
    mixed = drawn(server, folders)[-1]
    assert server.put("/api/teaching/mode", json={"mode": "place"}).json()["mode"] == "place"
    assert server.get("/api/teaching/taught", params={"concept": WORD}).json()["certainty"] != mixed["certainty"]
    assert server.put("/api/teaching/mode", json={"mode": "nowhere"}).status_code == 422


def test_marks_and_masks_are_files_for_others(
    server: TestClient, engine: Engine, teaching: Teaching, tmp_path: Path, folders: dict[str, Path]
):
    assert server.get("/api/teaching/file").status_code == 400, "there is none yet"
    drawn(server, folders)
    mark(server, concept=HOSTILE)
    file = server.get("/api/teaching/file")
    assert "attachment" in file.headers["content-disposition"]
    masks = server.post("/api/teaching/masks")
    names = zipfile.ZipFile(io.BytesIO(masks.content)).namelist()
    assert f"{WORD}/{Path(MARKED).stem}.png" in names
    assert (teaching.folder / "masks" / WORD / MARKED).with_suffix(".png").is_file()
    assert all(".." not in name and not name.startswith("/") for name in names)
    other = served(engine, Teaching(engine, tmp_path / "elsewhere", FEW))
    content = json.loads(file.content)
    assert set(other.post("/api/uploads/annotations", json=content).json()) == {WORD, HOSTILE}
    assert other.post("/api/uploads/annotations", json=content).json() == []
    assert other.post("/api/words", json={"text": HOSTILE}).json()["text"] == HOSTILE
    assert other.get("/api/teaching").json()["annotations"] == server.get("/api/teaching").json()["annotations"]


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"concept": ""}, 422, "concept"),
        ({"concept": "x" * 201}, 422, "200"),
        ({"photo": 99}, 400, "expected a photo from 0 to 7"),
        ({"photo": -1}, 422, "photo"),
        ({"points": []}, 422, "points"),
        ({"points": [[0.5, 0.5]] * 10_001}, 422, "10000"),
        ({"points": [[0.5, 9.0]]}, 422, "points"),
        ({"radius": 2}, 422, "radius"),
        ({"id": "../../etc/passwd"}, 422, "id"),
        ({"tool": "laser"}, 422, "tool"),
        ({"file": "/etc/passwd"}, 422, "file"),
        ({"concept": " \n "}, 400, "expected a name"),
    ],
)
def test_marks_out_of_range_get_an_answer_of_one_sentence(
    server: TestClient, teaching: Teaching, changes: Any, status: int, message: str
):
    answer = mark(server, **changes)
    assert answer.status_code == status
    assert message in answer.json()["detail"]
    assert not teaching.path.exists()


def test_files_that_are_none_are_refused_and_change_nothing(server: TestClient, teaching: Teaching):
    mark(server)
    before = teaching.path.read_bytes()
    state = json.loads(before)
    long = {**state["annotations"][0], "id": "c" * 32, "concept": "x" * 300}
    wrong = (
        [], {"kind": "something else", "version": 1}, {**state, "version": 2}, {**state, "more": 1},
        {**state, "annotations": [{**state["annotations"][0], "photo": None}]}, {**state, "annotations": [long]},
    )  # fmt: skip
    for content in wrong:
        assert server.post("/api/uploads/annotations", json=content).status_code in (400, 422)
    assert teaching.path.read_bytes() == before


def test_the_number_of_marks_is_limited(server: TestClient, teaching: Teaching, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teaching_module, "MAX_ANNOTATIONS", 1)
    assert mark(server, id="a" * 32).status_code == 200
    assert mark(server, id="a" * 32, positive=False).status_code == 200, "the same mark again"
    refused = mark(server, id="b" * 32)
    assert refused.status_code == 400
    assert "at most 1 marks" in refused.json()["detail"]
    assert len(teaching.annotations) == 1


def test_a_refused_mark_changes_nothing_and_no_window_hears_of_it(server: TestClient, teaching: Teaching):
    kept = mark(server, id="a" * 32).json()
    state, file = server.get("/api/teaching").json(), teaching.path.read_bytes()
    with server.websocket_connect(f"ws://{HOST}/api/progress", headers=HEADER) as socket:
        for changes, status, message in (
            ({"photo": 99}, 400, "expected a photo from 0 to 7"),
            ({"concept": " "}, 400, "expected a name"),
            ({"photo": None}, 400, "expected either a photo or a camera"),
            ({"snap": "sam"}, 400, "interactive_segmenter=sam interactive_segmenter.weights=DIR"),
            ({"snap": "somewhere"}, 422, "snap"),
            ({"tool": "laser"}, 422, "tool"),
        ):
            refused = mark(server, id="b" * 32, **changes)
            assert (refused.status_code, refused.json()["detail"].startswith("Value error")) == (status, False)
            assert message in refused.json()["detail"]
        assert server.delete(f"/api/teaching/annotations/{'b' * 32}").status_code == 400, "it was not kept"
        assert server.get("/api/teaching").json() == state
        assert teaching.path.read_bytes() == file
        assert server.get("/api/teaching/taught", params={"concept": WORD}).json() == kept
        mark(server, id="c" * 32, concept="of the next mark")
        assert socket.receive_json()["changed"] == ["of the next mark"], "nothing was told before"


def test_marks_snap_to_what_sam_finds_where_it_is_at_hand(
    server: TestClient, engine: Engine, teaching: Teaching, sam: dict[str, Any]
):
    assert server.get("/api/teaching").json()["snaps"] == ["off", "superpixels"]
    plain = mark(server, id="a" * 32).json()
    teaching.remove("a" * 32)
    with_sam = served(engine, Teaching(engine, teaching.folder, FEW, sam))
    assert with_sam.get("/api/teaching").json()["snaps"] == ["off", "superpixels", "sam"]
    answer = mark(with_sam, id="a" * 32, snap="sam").json()
    assert answer["word"]["notes"] == ["Taught by 1 mark."]
    assert answer["certainty"] != plain["certainty"]
    assert with_sam.get("/api/teaching").json()["annotations"][0]["snap"] == "sam"
    for wrong in ({"positive": False}, {"tool": "polygon", "points": [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]}):
        refused = mark(with_sam, snap="sam", **wrong)
        assert (refused.status_code, "points and strokes" in refused.json()["detail"]) == (400, True)
    later = served(engine, Teaching(engine, teaching.folder, FEW))
    first, second = later.post("/api/words", json={"text": WORD}).json()["notes"]
    assert first == "Taught by 1 mark."
    assert second.startswith("1 of them snaps to what SAM finds, which is switched off: ")
    assert "interactive_segmenter=sam" in second
    as_drawn = later.get("/api/teaching/taught", params={"concept": WORD}).json()
    assert as_drawn["certainty"] == plain["certainty"]


def test_sam_without_weights_ends_the_start_with_what_to_type(
    engine: Engine, tmp_path: Path, sam: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingArtifact, match=r"interactive_segmenter\.weights=DIR"):
        Teaching(engine, tmp_path, FEW, {**sam, "weights": str(tmp_path / "nowhere")})
    with pytest.raises(BadInput, match=r"got halonerf\.heads\.FewShot\.\nUse one: interactive_segmenter=sam"):
        Teaching(engine, tmp_path, FEW, FEW)


def test_a_mark_on_the_view_is_known_to_be_of_this_reconstruction_after_a_restart(
    server: TestClient, engine: Engine, teaching: Teaching
):
    pose = np.eye(3, 4).flatten().tolist()
    camera = {"width": 64, "height": 48, "focal": 50.0, "principal": [32, 24], "pose": pose}
    mark(server, photo=None, camera=camera)
    foreign = json.loads(teaching.path.read_bytes())
    foreign["annotations"][0] |= {"id": "f" * 32}
    foreign["annotations"][0]["camera"] |= {"reconstruction": "another"}
    assert server.post("/api/uploads/annotations", json=foreign).status_code == 200
    later = served(engine, Teaching(engine, teaching.folder, FEW)).get("/api/teaching").json()
    own = [entry["camera"]["reconstruction"] == later["reconstruction"] for entry in later["annotations"]]
    assert later["reconstruction"]
    assert own == [True, False]
    gone = server.delete(f"/api/teaching/annotations/{later['annotations'][0]['id']}")
    assert (gone.status_code, gone.json()["word"]) == (200, None), "what is left does not count here"


def test_every_window_hears_of_marks(server: TestClient):
    with server.websocket_connect(f"ws://{HOST}/api/progress", headers=HEADER) as socket:
        number = 1
        wanted = {"concept": WORD, "photo": number, "tool": "point", "points": [[0.5, 0.5]]}
        server.post("/api/teaching/annotations", json=wanted, headers={"x-halonerf-window": "me"})
        assert socket.receive_json() == {"changed": [WORD], "by": "me"}


def test_marks_of_photos_that_are_gone_do_not_stop_the_word(server: TestClient, engine: Engine, teaching: Teaching):
    mark(server)
    file = json.loads(teaching.path.read_bytes())
    file["annotations"][0]["photo"] = "gone.jpg"
    teaching.path.write_text(json.dumps(file))
    later = served(engine, Teaching(engine, teaching.folder, FEW))
    assert later.post("/api/words", json={"text": WORD}).json()["notes"] == []
    assert len(later.get("/api/teaching").json()["annotations"]) == 1, "kept"


def test_where_nothing_can_be_taught_it_says_what_to_use(tmp_path: Path, engine: Engine):
    session = open_session(tmp_path)
    for made, head, advice in (
        (Engine(session, PartOptions()), FEW, "segmenter=timm_text"),
        (engine, None, "viewer.teaching"),
    ):
        server = served(made, Teaching(made, tmp_path / "explore", head))
        assert advice in server.get("/api/teaching").json()["missing"]
        answer = server.post("/api/teaching/open")
        assert answer.status_code == 400
        assert advice in answer.json()["detail"]
        assert server.post("/api/words", json={"text": "red"}).status_code == 200
    (tmp_path / "explore").mkdir()
    (tmp_path / "explore" / "annotations.json").write_text("{}{")
    broken = served(engine, Teaching(engine, tmp_path / "explore", FEW))
    assert "expected a file of annotations" in broken.get("/api/teaching").json()["missing"]
    assert (tmp_path / "explore" / "annotations.json").read_text() == "{}{", "kept as it is"
