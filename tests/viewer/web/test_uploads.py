"""Uploads: a photo's light, a path; what is refused, and that bodies are counted while they arrive."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from halonerf.queries.connected_parts import PartOptions
from halonerf.viewer.engine import Engine
from halonerf.viewer.web import light_table
from halonerf.viewer.web.live_scene import LiveScene
from helpers.made_web import CONCEPTS, client, guarded, open_session


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LiveScene:
    """A scene whose field computes appearance codes from photos."""
    root = tmp_path_factory.mktemp("uploads")
    return LiveScene(Engine(open_session(root, encodes=True), PartOptions(), CONCEPTS), root / "explore")


@pytest.fixture(scope="module")
def server(scene: LiveScene) -> TestClient:
    return client(guarded(scene, upload=200_000))


def picture(kind: str, colour: str = "orange", size: tuple[int, int] = (30, 20)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_the_light_of_a_photo_is_one_more_light(server: TestClient, scene: LiveScene, kind: str):
    before = len(scene.lights)
    added = server.post("/api/uploads/light", params={"name": "a\n<b>.x"}, content=picture(kind)).json()
    assert added["number"] == before
    assert added["name"].endswith(": a<b>.x")
    assert server.get("/api/scene").json()["lights"][before]["name"] == added["name"]
    colours = server.get(f"/api/lights/{before}/colours").content
    expected = scene.engine.colours(scene.engine.encode(picture(kind)))
    np.testing.assert_allclose(
        np.frombuffer(colours, np.uint8).reshape(-1, 3), (255 * expected).round().numpy(), atol=1
    )


def test_an_uploaded_light_goes_into_pictures_and_paths(server: TestClient, scene: LiveScene):
    light = server.post("/api/uploads/light", params={"name": "x.png"}, content=picture("PNG", "navy")).json()
    pose = scene.scene.views[0].camera_to_world.flatten().tolist()
    moment = {"pose": pose, "fov": 0.8, "light": light["name"], "to": "mean of all photos", "blend": 0.5}
    key = server.post("/api/paths/keyframes", json=moment).json()
    code = scene.lights.code(light["number"])
    expected = 0.5 * code + 0.5 * scene.engine.light("mean")
    torch.testing.assert_close(torch.tensor(key["light"]), expected)
    key = server.post("/api/paths/keyframes", json={**moment, "blend": 0}).json()
    samples = server.post("/api/paths/samples", json={"path": {"keyframes": [key]}}).json()
    assert samples[0]["lights"] == [[light["number"], 1.0]], "a preview shows it"


def test_the_light_that_one_window_uploads_is_shown_by_another(server: TestClient, scene: LiveScene):
    """The other window gets a path with that light: its preview names a number that the window fetches."""
    other = client(guarded(scene))
    known = len(other.get("/api/lights").json())
    uploaded = server.post("/api/uploads/light", params={"name": "dusk.png"}, content=picture("PNG", "purple")).json()
    pose = scene.scene.views[1].camera_to_world.flatten().tolist()
    moment = {"pose": pose, "fov": 0.8, "light": uploaded["name"]}
    key = server.post("/api/paths/keyframes", json=moment).json()
    loaded = other.post("/api/uploads/path", content=json.dumps({"keyframes": [key]})).json()
    samples = other.post("/api/paths/samples", json={"path": loaded}).json()
    assert {number for sample in samples for number, _ in sample["lights"]} == {uploaded["number"]}
    assert uploaded["number"] >= known
    fetched = other.get("/api/lights").json()[known:]
    assert fetched[uploaded["number"] - known] == {"name": uploaded["name"], "photo": None}
    number = uploaded["number"]
    assert other.get(f"/api/lights/{number}").json() == server.get(f"/api/lights/{number}").json()
    colours = [window.get(f"/api/lights/{number}/colours").content for window in (server, other)]
    assert colours[0] == colours[1]
    assert colours[0] != other.get("/api/lights/0/colours").content
    assert other.get(f"/api/lights/{len(scene.lights)}").status_code == 404


def hostile_files() -> Iterator[tuple[str, bytes]]:
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    yield "bomb", bomb.getvalue()
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    yield "gif", picture("GIF")
    yield "cut", picture("PNG")[:50]
    yield "empty", b""
    yield "pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x04evil\x94."


@pytest.mark.parametrize(("name", "content"), list(hostile_files()), ids=lambda value: value if len(value) < 9 else "")
def test_what_is_no_photo_is_refused(server: TestClient, scene: LiveScene, name: str, content: bytes):
    before = len(scene.lights)
    answer = server.post("/api/uploads/light", content=content)
    assert answer.status_code == 400, name
    assert "expected a photo" in answer.json()["detail"]
    assert len(scene.lights) == before


def test_lights_of_uploads_are_limited(server: TestClient, scene: LiveScene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(light_table, "MAX_UPLOADED", len(scene.lights._codes))
    answer = server.post("/api/uploads/light", content=picture("PNG"))
    assert (answer.status_code, "expected at most" in answer.json()["detail"]) == (400, True)


def test_a_path_is_checked_and_given_back(server: TestClient, scene: LiveScene):
    pose = [row.tolist() for row in scene.scene.views[0].camera_to_world]
    path = {"loop": True, "keyframes": [{"camera_to_world": pose, "light": scene.engine.photos[1], "words": ["red"]}]}
    read = server.post("/api/uploads/path", content=json.dumps(path)).json()
    assert read["loop"]
    assert read["keyframes"][0]["words"] == ["red"]
    assert read["keyframes"][0]["seconds"] == 2.0, "what the file leaves out has its default"
    path["keyframes"][0]["light"] = "/etc/passwd"
    for content in (json.dumps(path), b"\xff\xfe", b"[" * 100_000, b"{}", b'{"keyframes": [{"camera_to_world": 1}]}'):
        answer = server.post("/api/uploads/path", content=content)
        assert answer.status_code == 400
        assert "expected" in answer.json()["detail"]


def test_only_uploads_may_be_larger_than_other_bodies(scene: LiveScene):
    server = client(guarded(scene, body=1_000, upload=5_000))
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1_000
            yield bytes(1_000)

    assert server.post("/api/uploads/light", content=bytes(4_000)).status_code == 400, "read, and no photo"
    for path in ("/api/uploads/light", "/api/uploads/path"):
        assert server.post(path, content=bytes(5_001)).status_code == 413
        assert server.post(path, content=endless()).status_code == 413
    assert server.post("/api/words", content=bytes(4_000)).status_code == 413


def test_a_field_without_an_encoder_takes_no_light(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("plain")
    plain = client(guarded(LiveScene(Engine(open_session(root), PartOptions(), CONCEPTS), root / "explore")))
    answer = plain.post("/api/uploads/light", content=picture("PNG"))
    assert answer.status_code == 400
    assert "field.codes=encoder" in answer.json()["detail"]
    assert not plain.get("/api/scene").json()["encodes"]
