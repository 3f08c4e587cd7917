"""Notes, distances and saved views: one file, limited, never overwritten; the point at a click against truth."""

from __future__ import annotations

import csv
import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from fastapi.testclient import TestClient

from halonerf.errors import BadInput
from halonerf.fields import Gaussians
from halonerf.queries.connected_parts import PartOptions
from halonerf.viewer.engine import Engine
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.note_book import NoteBook
from halonerf.viewer.web.note_models import MAX_ENTRIES, NewNote, Pixel
from halonerf.viewer.web.surface import surface_point
from helpers.made_web import CONCEPTS, HEADER, HOST, HOSTILE, client, guarded, open_session

A, B = [0.0, 0.0, 0.0], [0.0, 3.0, 4.0]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> LiveScene:
    root = tmp_path_factory.mktemp("notes")
    return LiveScene(Engine(open_session(root), PartOptions(min_elements=2), CONCEPTS), root / "explore")


@pytest.fixture
def server(scene: LiveScene) -> TestClient:
    (scene.folder / "notes.json").unlink(missing_ok=True)
    return client(guarded(scene))


def test_entries_are_kept_in_one_file_and_outlive_the_server(server: TestClient, scene: LiveScene):
    assert server.get("/api/notes").json() == {"entries": [], "scale": None, "metres_per_unit": None}
    server.post("/api/notes", json={"kind": "note", "text": HOSTILE, "point": A})
    server.post("/api/notes", json={"kind": "view", "name": "front", "address": "#word=portal&light=day"})
    told = server.post("/api/notes", json={"kind": "distance", "points": [A, B]}).json()
    assert [entry["number"] for entry in told["entries"]] == [1, 2, 3]
    assert told["entries"][2]["length"] == pytest.approx(5)
    again = client(guarded(scene)).get("/api/notes").json()
    assert again == told
    assert again["entries"][0]["text"] == HOSTILE
    stored = json.loads((scene.folder / "notes.json").read_text())
    assert (stored["kind"], len(stored["entries"])) == ("halonerf notes", 3)
    assert [entry["number"] for entry in server.delete("/api/notes/2").json()["entries"]] == [1, 3]
    assert server.delete("/api/notes/2").status_code == 404


def test_a_known_distance_gives_metres(server: TestClient):
    server.post("/api/notes", json={"kind": "distance", "points": [A, B]})
    server.post("/api/notes", json={"kind": "note", "text": "x", "point": A})
    assert server.put("/api/notes/scale", json={"number": 1, "metres": 20}).json()["metres_per_unit"] == 4
    assert server.put("/api/notes/scale", json={"number": 2, "metres": 20}).status_code == 400, "a note has no length"
    assert server.get("/api/notes").json()["metres_per_unit"] == 4
    assert server.put("/api/notes/scale").json()["metres_per_unit"] is None
    server.put("/api/notes/scale", json={"number": 1, "metres": 20})
    assert server.delete("/api/notes/1").json()["scale"] is None


def test_a_list_of_parts_has_metres_once_the_scale_is_known(server: TestClient, scene: LiveScene):
    asked = {"text": "red", "threshold": 0.3}
    rows = server.get("/api/words/parts", params={**asked, "kind": "json"})
    assert 'filename="parts.json"' in rows.headers["content-disposition"]
    parts = scene.engine.parts(scene.engine.find("red"), 0.3)
    assert [row["elements"] for row in rows.json()] == [len(part.elements) for part in parts]
    assert "area_m2" not in rows.json()[0]
    server.post("/api/notes", json={"kind": "distance", "points": [A, B]})
    server.put("/api/notes/scale", json={"number": 1, "metres": 20})
    table = list(csv.DictReader(io.StringIO(server.get("/api/words/parts", params=asked).text)))
    assert float(table[0]["extent_m_x"]) == pytest.approx(4 * float(table[0]["extent_x"]), rel=1e-3)
    assert table[0]["photos"].split()[0] in scene.engine.photos
    for wrong in ({"text": ""}, {"text": "red", "kind": "exe"}, {"text": "red", "threshold": 2}):
        assert server.get("/api/words/parts", params=wrong).status_code == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "note", "text": "", "point": A},
        {"kind": "note", "text": "x" * 1001, "point": A},
        {"kind": "note", "text": "x", "point": [0, 0]},
        {"kind": "note", "text": "x", "point": [0, 0, "NaN"]},
        {"kind": "view", "name": "x", "address": "javascript:alert(1)"},
        {"kind": "view", "name": "x", "address": "https://example.org"},
        {"kind": "distance", "points": [A]},
        {"kind": "file", "name": "x"},
        {"kind": "note", "text": "x", "point": A, "number": 7},
    ],
)
def test_entries_out_of_range_are_refused(server: TestClient, scene: LiveScene, wrong: dict[str, Any]):
    assert server.post("/api/notes", json=wrong).status_code == 422
    assert not (scene.folder / "notes.json").exists()
    assert server.post("/api/notes", json={"kind": "distance", "points": [A, A]}).status_code == 400


def test_windows_are_told_of_changes(server: TestClient):
    with server.websocket_connect(f"ws://{HOST}/api/progress", headers=HEADER) as socket:
        server.post("/api/notes", json={"kind": "note", "text": "x", "point": A})
        assert socket.receive_json() == {"notes": 1}


def test_concurrent_changes_lose_nothing_and_numbers_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    book = NoteBook(tmp_path / "explore")
    note = NewNote(kind="note", text="x", point=(0, 0, 0))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: NoteBook(tmp_path / "explore").add(note), range(24)))
    assert [entry.number for entry in book.read().entries] == list(range(1, 25))
    monkeypatch.setattr("halonerf.viewer.web.note_book.MAX_ENTRIES", 24)
    assert MAX_ENTRIES > 24
    with pytest.raises(BadInput, match="at most 24"):
        book.add(note)


NO_DISTANCE = '{"kind": "halonerf notes", "version": 1, "entries": [], "scale": {"number": 1, "metres": 2}}'


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kind": "halonerf notes", "version": 2}', "\x00", NO_DISTANCE])
def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path: Path, content: str):
    (tmp_path / "notes.json").write_text(content)
    with pytest.raises(BadInput, match="Move the file away"):
        NoteBook(tmp_path)
    assert (tmp_path / "notes.json").read_text() == content


def plane(height: float) -> Gaussians:
    """A wall at that height: small opaque Gaussians on a grid of 121 x 121, 1/60 apart."""
    axis = torch.arange(-60, 61) / 60
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten(), torch.full((x.numel(),), height)], dim=1)
    field = Gaussians()
    field.initialise(places, torch.rand(len(places), 3), ["a"], seed=0)
    with torch.no_grad():
        field.opacity_logits.fill_(6.0)
        field.log_scales[:, 2] = math.log(1e-4)
    return field.eval()


@pytest.mark.parametrize(("x", "y"), [(160.5, 120.5), (40.2, 200.9), (300.0, 30.5)])
def test_the_point_at_a_click_lies_on_the_surface(x: float, y: float):
    """A plane, seen obliquely: the ray's intersection with it is known exactly."""
    field, tilt = plane(0.25), math.radians(35)
    pose = [1, 0, 0, 0.1, 0, math.cos(tilt), -math.sin(tilt), 0.9, 0, math.sin(tilt), math.cos(tilt), -1.2]
    pixel = Pixel(width=320, height=240, focal=400, principal=(170, 118), pose=tuple(map(float, pose)), x=x, y=y)
    engine = SimpleNamespace(field=field, exclusive=nullcontext)
    found = surface_point(pixel, cast(Engine, engine))
    assert found is not None
    ray = torch.tensor(pose).reshape(3, 4)[:, :3] @ torch.tensor([(x - 170) / 400, (y - 118) / 400, 1.0])
    eye = torch.tensor(pose).reshape(3, 4)[:, 3]
    truth = eye + (0.25 - eye[2]) / ray[2] * ray
    error = float((torch.tensor(found) - truth).norm())
    print(f"error of the point: {error:.5f} world units, {error / float((truth - eye).norm()):.2%} of the distance")
    assert error < 1e-4
    away = pixel.model_copy(update={"pose": tuple(-v if k % 4 == 2 or k % 4 == 0 else v for k, v in enumerate(pose))})
    assert surface_point(away, cast(Engine, engine)) is None, "nothing is seen in the other direction"


def test_the_route_gives_a_point_or_null(server: TestClient, scene: LiveScene):
    view = scene.scene.views[1]
    pixel = {
        "width": view.width, "height": view.height, "focal": view.fx, "principal": [view.cx, view.cy],
        "pose": view.camera_to_world.flatten().tolist(), "x": 0.5, "y": 0.5,
    }  # fmt: skip
    rendering = scene.engine.render(view, scene.engine.light("mean"))
    row, column = divmod(int(rendering.opacity.argmax()), view.width)
    point = server.post("/api/surface", json={**pixel, "x": column + 0.5, "y": row + 0.5}).json()["point"]
    depth = view.world_to_camera[2, :3] @ torch.tensor(point) + view.world_to_camera[2, 3]
    assert float(depth) == pytest.approx(float(rendering.depth[row, column]), rel=0.1), "near the mean depth"
    empty = divmod(int(rendering.opacity.argmin()), view.width)
    assert server.post("/api/surface", json={**pixel, "x": empty[1] + 0.5, "y": empty[0] + 0.5}).json()["point"] is None
    assert server.post("/api/surface", json={**pixel, "pose": [1.0] * 12}).status_code == 400
