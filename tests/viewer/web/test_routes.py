"""What the routes answer: facts, bytes, words, lights, photos and renderings equal those of the scene."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from halonerf.queries.connected_parts import PartOptions
from halonerf.viewer.engine import CACHED_TEXTS, Engine
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.visualization.palette import hex_colour, palette_colour
from halonerf.visualization.pictures import to_uint8
from helpers.made_web import CONCEPTS, HEADER, HOST, HOSTILE, arrays, client, guarded, open_session


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LiveScene:
    root = tmp_path_factory.mktemp("web")
    engine = Engine(open_session(root), PartOptions(min_elements=2), CONCEPTS)
    return LiveScene(engine, root / "explore", ["blue"], still_size=64, picture_size=200, thumbnail=32)


@pytest.fixture(scope="module")
def server(scene: LiveScene) -> TestClient:
    return client(guarded(scene))


def test_the_facts_and_the_splats_fit_each_other(server: TestClient, scene: LiveScene):
    facts = server.get("/api/scene").json()
    block = server.get("/api/splats").content
    found = arrays(facts, block)
    splats = scene.engine.splats
    assert set(found) == {"centre", "size", "rotation", "opacity", "colour/0"}
    assert facts["splats"] == facts["of"] == len(found["opacity"]) == len(splats)
    assert len(block) <= 17 * len(splats) + 16, "14 bytes of geometry and 3 of colour for each"
    near = (found["centre"] / 65535 * 2 - 1) * facts["reach"]
    inside = splats.centres.norm(dim=1).numpy() < 1
    np.testing.assert_allclose(near[inside], splats.centres.numpy()[inside], atol=facts["reach"] / 65535 * 1.01)
    np.testing.assert_array_equal(found["colour/0"], to_uint8(scene.engine.colours(scene.engine.light("mean"))))
    assert facts["title"] == HOSTILE
    assert facts["initial_words"] == ["blue"]
    assert facts["examples"] == list(CONCEPTS)
    views, seen = scene.engine.session.visibility
    assert facts["home"] == views[int((seen > 1e-6).sum(dim=1).argmax())]
    assert [photo["name"] for photo in facts["photos"]] == scene.engine.photos


def test_lights_are_those_of_the_engine_and_no_geometry_is_sent_again(server: TestClient, scene: LiveScene):
    lights = server.get("/api/lights").json()
    assert lights[0] == {"name": "mean of all photos", "photo": None}
    assert len(lights) >= 1 + len(scene.engine.photos)
    number = next(k for k, light in enumerate(lights) if light["name"] == f"photo {scene.engine.photos[2]}")
    sent = server.get(f"/api/lights/{number}/colours").content
    assert len(sent) == 3 * len(scene.engine.splats)
    expected = to_uint8(scene.engine.colours(scene.engine.light(scene.engine.photos[2])))
    np.testing.assert_array_equal(np.frombuffer(sent, np.uint8).reshape(-1, 3), expected)
    assert sent != server.get("/api/lights/0/colours").content
    sky = server.get(f"/api/lights/{number}").json()["sky"]
    assert sky is None or {len(colour) for colour in sky.values()} == {3}
    for wrong, status in (("99", 404), ("-1", 404), ("x", 422), ("..%2F..", 404)):
        assert server.get(f"/api/lights/{wrong}/colours").status_code == status


def test_a_word_is_a_byte_for_every_splat_twice(server: TestClient, scene: LiveScene):
    answer = server.post("/api/words", json={"text": "  blue "})
    word = answer.json()
    found = scene.engine.find("blue")
    assert word["text"] == "blue"
    assert word["threshold"] == pytest.approx(found.decision.threshold)
    assert word["guess"] == found.decision.guess
    assert [scene.engine.photos[number] for number in word["photos"]] == found.photos
    assert word["colour"] is None, "no concept of the scene: the window chooses"
    sent = np.frombuffer(server.get("/api/words/values", params={"text": "blue"}).content, np.uint8)
    element = scene.engine.splats.element
    assert len(sent) == 2 * len(element)
    probability, confidence = sent[: len(element)], sent[len(element) :]
    known = found.confidence[element].numpy() > 0
    np.testing.assert_array_equal(probability, to_uint8(found.probability[element]) * known)
    np.testing.assert_array_equal(confidence > 0, known)


def test_concepts_have_their_colours_and_parts_follow_the_threshold(server: TestClient, scene: LiveScene):
    own = server.post("/api/words", json={"text": "red"}).json()
    assert own["colour"] == hex_colour(palette_colour(1))
    low = server.post("/api/words", json={"text": "red", "threshold": 0.05}).json()
    high = server.post("/api/words", json={"text": "red", "threshold": 0.999}).json()
    assert sum(part["elements"] for part in low["parts"]) > sum(part["elements"] for part in high["parts"])
    assert len(low["parts"]) == len(scene.engine.parts(scene.engine.find("red"), 0.05))
    assert low["parts"][0]["photo"] in range(len(scene.engine.photos))


def test_an_unknown_word_is_unknown_and_not_absent(server: TestClient):
    word = server.post("/api/words", json={"text": "escalator"}).json()
    assert word["known"] == 0
    assert word["parts"] == []
    assert "does not mean absent" in word["notes"][0]
    values = server.get("/api/words/values", params={"text": "escalator"}).content
    assert set(values) == {0}


@pytest.mark.parametrize(
    ("question", "status", "message"),
    [
        ({"text": "window AND"}, 400, "expected"),
        ({"text": "x" * 201}, 422, "text: .*200"),
        ({"text": ""}, 422, "text"),
        ({"text": "red", "threshold": 0}, 422, "threshold"),
        ({"text": "red", "threshold": 2}, 422, "threshold"),
        ({"text": ["red"]}, 422, "text"),
        ({"text": "red", "file": "/etc/passwd"}, 422, "file"),
        ([], 422, ""),
    ],
)
def test_a_question_out_of_range_gets_an_answer_of_one_sentence(server: TestClient, question, status, message):
    answer = server.post("/api/words", json=question)
    assert answer.status_code == status
    assert isinstance(answer.json()["detail"], str)
    assert re.search(message, answer.json()["detail"], re.IGNORECASE)


def test_words_are_kept_up_to_a_limit(server: TestClient, scene: LiveScene):
    for number in range(CACHED_TEXTS + 5):
        assert server.post("/api/words", json={"text": f"word {number}"}).status_code == 200
    assert len(scene.engine._results) == CACHED_TEXTS
    assert server.get("/api/words/values", params={"text": "word 0"}).status_code == 200, "found again"


def test_progress_is_told_while_a_word_is_looked_for(server: TestClient):
    with server.websocket_connect(f"ws://{HOST}/api/progress", headers=HEADER) as socket:
        assert server.post("/api/words", json={"text": "green OR blue OR violet"}).status_code == 200
        message = socket.receive_json()
        assert message["text"] == "green OR blue OR violet"
        assert 0 < message["share"] <= 1


def test_photos_are_addressed_by_number(server: TestClient, scene: LiveScene):
    small = Image.open(io.BytesIO(server.get("/api/photos/1/thumbnail").content))
    assert max(small.size) == 32
    large = Image.open(io.BytesIO(server.get("/api/photos/1/picture").content))
    assert large.size == (scene.scene.views[1].width, scene.scene.views[1].height)
    for wrong in ("99", "-1", "..%2F..%2Fetc%2Fpasswd", scene.engine.photos[0]):
        assert server.get(f"/api/photos/{wrong}/picture").status_code in (404, 422)


@pytest.mark.parametrize("size", ["thumbnail", "picture"])
def test_a_photo_that_is_missing_on_disk_is_named_and_is_served_once_it_is_back(
    scene: LiveScene, monkeypatch: pytest.MonkeyPatch, size: str
):
    """Somebody removed or moved a stage's folder while the window is open."""
    server = client(guarded(LiveScene(scene.engine, scene.folder, thumbnail=32)))
    present = server.get(f"/api/photos/0/{size}").content
    with monkeypatch.context() as removed:
        removed.setattr(scene.scene, "folder", scene.scene.folder / "removed")
        answer = server.get(f"/api/photos/1/{size}")
        assert answer.status_code == 500
        said = answer.json()["detail"]
        assert said.startswith("expected to read or write images.u8, but: No such file or directory.\n")
        assert "/" not in said, "folders of the server are not told"
        if size == "thumbnail":
            assert server.get("/api/photos/0/thumbnail").content == present, "kept in memory"
        assert server.get("/api/scene").status_code == 200
        assert server.post("/api/words", json={"text": "red"}).status_code == 200
    assert Image.open(io.BytesIO(server.get(f"/api/photos/1/{size}").content)).format == "JPEG"


def test_a_rendering_is_that_of_the_field_with_its_highlights(server: TestClient, scene: LiveScene):
    view = scene.scene.views[1]
    wanted = {
        "width": view.width, "height": view.height, "focal": view.fx, "principal": [view.cx, view.cy],
        "pose": view.camera_to_world.flatten().tolist(), "light": f"photo {scene.engine.photos[2]}",
    }  # fmt: skip
    answer = server.post("/api/renderings", json=wanted)
    assert answer.headers["content-type"] == "image/png"
    plain = np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)
    expected = to_uint8(scene.engine.render(view, scene.engine.light(scene.engine.photos[2])).colour)
    np.testing.assert_allclose(plain, expected, atol=1)
    word = {"text": "red", "rgb": [255, 0, 0], "threshold": 0.2, "strength": 1.0}
    lit = server.post("/api/renderings", json={**wanted, "words": [word]}).content
    assert np.abs(np.asarray(Image.open(io.BytesIO(lit))).astype(int) - plain).max() > 30
    blended = {**wanted, "to": "mean of all photos", "blend": 0.5}
    assert server.post("/api/renderings", json=blended).content != answer.content
    for wrong, status in (
        ({"width": 201}, 400), ({"light": "/etc/passwd"}, 400), ({"pose": [1.0] * 12}, 400),
        ({"pose": [1.0] * 11}, 422), ({"focal": 0}, 422),
        ({"words": [word] * 25}, 422), ({"words": [{**word, "rgb": [0, 0, 256]}]}, 422),
    ):  # fmt: skip
        refused = server.post("/api/renderings", json={**wanted, **wrong})
        assert refused.status_code == status, wrong


def test_texts_of_records_stay_text(server: TestClient):
    page = server.get("/").text
    assert HOSTILE not in page
    assert "&lt;/script&gt;&lt;img" in page
    assert 'onerror="' not in page
    for path in ("/api/scene", "/api/photos"):
        answer = server.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
    mistake = server.post("/api/words", json={"text": f"AND {HOSTILE}"})
    assert mistake.headers["content-type"] == "application/json"


def test_only_the_pages_own_files_are_served(server: TestClient):
    assert server.get("/app/live.js").headers["content-type"].startswith("text/javascript")
    assert server.get("/app/page.css").headers["content-type"].startswith("text/css")
    for path in ("page.html", "..%2Fdocument.py", "%2e%2e/document.py", "live.js%00", "x.js", ""):
        assert server.get(f"/app/{path}").status_code == 404


def test_the_interface_is_documented_without_anything_from_elsewhere(server: TestClient):
    described = server.get("/openapi.json").json()
    assert {"/api/scene", "/api/splats", "/api/words", "/api/words/values", "/api/renderings"} <= set(
        described["paths"]
    )
    binary = described["paths"]["/api/splats"]["get"]["responses"]["200"]["content"]
    assert list(binary) == ["application/octet-stream"]
    for path in ("/docs", "/redoc"):
        assert server.get(path).status_code == 404


def test_a_scene_without_a_collection_is_served_by_its_names(tmp_path: Path):
    session = open_session(tmp_path)
    del session.inputs["collect"]
    bare = LiveScene(Engine(session, PartOptions()), tmp_path / "explore", still_size=0, thumbnail=32)
    assert bare.facts.title == session.data.name
    assert [photo.caption for photo in bare.photos] == [""] * len(session.data)
    assert len(bare.word_bytes("red")) == 2 * len(bare.engine.splats)
    assert torch.equal(bare.lights.code(0), session.field.mean_appearance())
