"""Key-frames, paths and films: what routes take, give and keep, and that films can be cancelled."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from halonerf.camera_paths.path import CameraPath
from halonerf.queries.connected_parts import PartOptions
from halonerf.viewer.engine import Engine
from halonerf.viewer.web.films import MAX_WAITING, FilmStudio
from halonerf.viewer.web.live_scene import LiveScene
from helpers.made_web import CONCEPTS, HEADER, HOST, client, guarded, open_session


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LiveScene:
    root = tmp_path_factory.mktemp("films")
    return LiveScene(Engine(open_session(root), PartOptions(min_elements=2), CONCEPTS), root / "explore")


@pytest.fixture(scope="module")
def server(scene: LiveScene) -> TestClient:
    return client(guarded(scene))


def moment(scene: LiveScene, view: int, **more: Any) -> dict[str, Any]:
    """What a window at a photo's camera shows."""
    pose = scene.scene.views[view].camera_to_world.flatten().tolist()
    return {"pose": pose, "fov": 0.8, "light": "mean of all photos", "seconds": 1.0, **more}


def path_through(server: TestClient, *moments: dict[str, Any]) -> dict[str, Any]:
    keyframes = [server.post("/api/paths/keyframes", json=one).json() for one in moments]
    return {"loop": False, "keyframes": keyframes}


def finished(server: TestClient, number: int, state: str = "done") -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        film = next(film for film in server.get("/api/films").json() if film["film"] == number)
        if film["state"] not in ("waiting", "rendering"):
            assert film["state"] == state, film
            return film
        time.sleep(0.02)
    raise AssertionError("the film is not finished")


def test_a_key_frame_holds_what_the_window_shows(server: TestClient, scene: LiveScene):
    photo = scene.engine.photos[2]
    shown = moment(scene, 1, light=f"photo {photo}", to="mean of all photos", blend=0.25, words=["red"], threshold=0.3)
    key = server.post("/api/paths/keyframes", json=shown).json()
    assert key["light"] == {photo: 0.75, "mean": 0.25}
    assert (key["words"], key["fov"], key["threshold"], key["seconds"]) == (["red"], 0.8, 0.3, 1.0)
    np.testing.assert_allclose(np.array(key["camera_to_world"]).flatten(), shown["pose"], atol=1e-6)
    for wrong, status in (
        ({"light": "/etc/passwd"}, 400), ({"pose": [1.0] * 12}, 400), ({"pose": [0.0] * 11}, 422), ({"fov": 4}, 422),
        ({"seconds": 0}, 422), ({"words": ["red"] * 25}, 422), ({"file": "x"}, 422),
    ):  # fmt: skip
        assert server.post("/api/paths/keyframes", json={**shown, **wrong}).status_code == status, wrong


def test_a_path_is_kept_as_the_file_that_stage_render_reads(server: TestClient, scene: LiveScene):
    path = path_through(server, moment(scene, 0), moment(scene, 2, words=["red", "green"], opacity=0.5))
    answers = [server.post("/api/paths", json={"path": path}) for _ in range(2)]
    assert [answer.headers["content-disposition"] for answer in answers] == [
        f'attachment; filename="path_000{number}.json"' for number in (1, 2)
    ]
    kept = scene.folder / "paths" / "path_0001.json"
    assert kept.read_bytes() == answers[0].content
    read = CameraPath.read(kept)
    assert [key.words for key in read.keyframes] == [(), ("red", "green")]
    for light in ("/etc/passwd", [1.0, 2.0], "no photo"):
        path["keyframes"][0]["light"] = light
        assert server.post("/api/paths", json={"path": path}).status_code == 400
    for wrong in ({}, {"keyframes": []}, {"keyframes": [{}]}, {"keyframes": 3}):
        assert server.post("/api/paths", json={"path": wrong}).status_code == 400
    assert len(list((scene.folder / "paths").glob("*.json"))) == 2


def test_samples_are_those_of_the_film(server: TestClient, scene: LiveScene):
    photo = scene.engine.photos[3]
    path = path_through(server, moment(scene, 0), moment(scene, 2, light=f"photo {photo}", words=["red"], opacity=0.8))
    sent = server.post("/api/paths/samples", json={"path": path, "fps": 5}).json()
    expected = CameraPath.from_json(json.dumps(path)).sample(5)
    assert len(sent) == len(expected) == 5
    number = next(k for k, light in enumerate(scene.lights.all()) if light.photo == 3)
    for got, sample in zip(sent, expected, strict=True):
        np.testing.assert_allclose(got["pose"], sample.camera_to_world.flatten(), atol=1e-5)
        assert got["words"] == pytest.approx(sample.words, abs=1e-3)
        assert dict(got["lights"]).get(number, 0.0) == pytest.approx(sample.light.get(photo, 0.0), abs=1e-3)
    long = {**path, "keyframes": [{**key, "seconds": 3600.0} for key in path["keyframes"]]}
    assert len(server.post("/api/paths/samples", json={"path": long, "fps": 60}).json()) <= 4000


def test_a_film_is_rendered_told_of_kept_and_downloaded(server: TestClient, scene: LiveScene):
    path = path_through(server, moment(scene, 0), moment(scene, 2, words=["red"]))
    with server.websocket_connect(f"ws://{HOST}/api/progress", headers=HEADER) as socket:
        order = {"path": path, "width": 64, "height": 48, "fps": 5, "kind": "webm"}
        film = server.post("/api/films", json=order).json()
        assert (film["frames"], film["file"]) == (5, None)
        told = [socket.receive_json()]
        while told[-1]["state"] not in ("done", "failed"):
            told.append(socket.receive_json())
    assert told[-1]["state"] == "done"
    assert [message["share"] for message in told] == sorted(message["share"] for message in told)
    file = server.get(f"/api/films/{film['film']}/file")
    assert file.headers["content-type"] == "video/webm"
    assert 'filename="film_0001.webm"' in file.headers["content-disposition"]
    assert (scene.folder / "films" / "film_0001.webm").read_bytes() == file.content
    with av.open(io.BytesIO(file.content)) as opened:
        frames = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    assert len(frames) == 5
    assert frames[0].shape == (48, 64, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 30
    assert server.get("/api/films/99/file").status_code == 404


def test_a_film_can_be_cancelled_and_leaves_nothing_behind(server: TestClient, scene: LiveScene):
    path = path_through(server, moment(scene, 0, seconds=600), moment(scene, 2))
    order = {"path": path, "width": 64, "height": 48, "fps": 30}
    before = sorted((scene.folder / "films").glob("*.*"))
    long, waiting = (server.post("/api/films", json=order).json() for _ in range(2))
    assert server.get(f"/api/films/{long['film']}/file").status_code == 404
    assert server.delete(f"/api/films/{waiting['film']}").json()["state"] == "cancelled"
    server.delete(f"/api/films/{long['film']}")
    finished(server, long["film"], "cancelled")
    assert sorted((scene.folder / "films").glob("*.*")) == before
    assert server.delete("/api/films/99").status_code == 404


@pytest.mark.parametrize(
    ("wrong", "status", "message"),
    [
        ({"width": 4000}, 400, "at most 3840 px"),
        ({"width": 9000}, 422, "width"),
        ({"height": 8}, 422, "height"),
        ({"fps": 1000}, 422, "fps"),
        ({"kind": "exe"}, 422, "kind"),
        ({"path": {"keyframes": []}}, 400, "key-frames"),
    ],
)
def test_an_order_out_of_range_is_refused(server: TestClient, scene: LiveScene, wrong, status, message):
    order = {"path": path_through(server, moment(scene, 0)), "width": 64, "height": 48}
    answer = server.post("/api/films", json={**order, **wrong})
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_films_are_limited_in_number_and_length_and_end_with_the_viewer(scene: LiveScene, tmp_path: Path):
    studio = FilmStudio(scene.engine, tmp_path, 3840, lambda film: None)
    server = client(guarded(scene, studio=studio))
    path = path_through(server, moment(scene, 0, seconds=300), moment(scene, 2))
    order = {"path": path, "width": 64, "height": 48, "fps": 30}
    for _ in range(MAX_WAITING):
        assert server.post("/api/films", json=order).status_code == 200
    refused = server.post("/api/films", json=order)
    assert (refused.status_code, "wait for one" in refused.json()["detail"]) == (400, True)
    path["keyframes"][0]["seconds"] = 3600
    assert "20,000 frames" in server.post("/api/films", json=order).json()["detail"]
    studio.close()
    assert not [film for film in studio.films() if film.state == "done"]
    assert not list(tmp_path.glob("*.mp4"))


def test_a_picture_is_kept_where_a_rendering_is_not(server: TestClient, scene: LiveScene):
    view = scene.scene.views[1]
    wanted = {
        "width": view.width, "height": view.height, "focal": view.fx, "principal": [view.cx, view.cy],
        "pose": view.camera_to_world.flatten().tolist(), "light": "mean of all photos",
    }  # fmt: skip
    rendered = server.post("/api/renderings", json=wanted)
    assert not (scene.folder / "pictures").exists()
    kept = server.post("/api/pictures", json=wanted)
    assert kept.headers["content-disposition"] == 'attachment; filename="picture_0001.png"'
    assert kept.content == rendered.content == (scene.folder / "pictures" / "picture_0001.png").read_bytes()
    unsure = Image.open(io.BytesIO(server.post("/api/renderings", json={**wanted, "confidence": "escalator"}).content))
    middle = np.asarray(unsure)[view.height // 2, view.width // 2].astype(int)
    assert middle[2] > middle[0] > middle[1], "unknown is violet, as in the window"
