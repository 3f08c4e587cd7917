"""A tiny scene behind the web viewer's application, its guard, and clients that know the token or do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi.testclient import TestClient

from halonerf.data.collection import write_collection
from halonerf.data.scene.scene import Scene
from halonerf.queries.session import QuerySession
from halonerf.stages.index.stage import Index
from halonerf.types import ImageRecord
from halonerf.viewer.web.app import make_app
from halonerf.viewer.web.films import FilmStudio
from halonerf.viewer.web.guard import Guard, Limits
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.note_book import NoteBook
from halonerf.viewer.web.teaching import Teaching
from helpers.made_folders import run_stage
from helpers.made_query import FIELD, HEAD, SEGMENTER, made_field, write_query_folders

HOSTILE = '</script><img src=x onerror="alert(1)">'
HOST, TOKEN, COOKIE = "127.0.0.1:8080", "the-token-of-the-test", "halonerf_8080"
HEADER = {"x-halonerf-token": TOKEN}
CONCEPTS = ("green", "red")


def open_session(root: Path, encodes: bool = False) -> QuerySession:
    """A session on 60 Gaussians and five photos, whose landmark and captions contain a script.

    encodes: whether the field computes appearance codes from photos.
    """
    codes = "encoder" if encodes else "embedding"
    folders = write_query_folders(root)
    folders["collect"] = root / "collect"
    folders["collect"].mkdir()
    names = Scene(folders["ingest"]).names
    made_field(photos=names, codes=codes).save(folders["reconstruct"] / "field.safetensors")
    records = [ImageRecord(name, landmark=HOSTILE, caption=HOSTILE) for name in names]
    write_collection(folders["collect"], "made", root, records)
    field = {**FIELD, "codes": codes}
    run_stage(Index(SEGMENTER, field, max_photos=4, map_size=32), root / "index", folders)
    session = QuerySession({**folders, "index": root / "index"}, SEGMENTER, field, HEAD)
    with torch.no_grad():  # codes that differ, as those of a fitted field do
        random = torch.Generator().manual_seed(0)
        session.field.codes.table.copy_(torch.randn(session.field.codes.table.shape, generator=random))
        weight = session.field.appearance_model.to_affine.weight
        weight.copy_(torch.randn(weight.shape, generator=random))
    return session


def guarded(
    scene: LiveScene, studio: FilmStudio | None = None, teaching: Teaching | None = None, **limits: int
) -> Guard:
    """The application as the viewer serves it.

    studio: where films are rendered; None: one that keeps them as usual. teaching: None: nothing can be taught.
    """
    teaching = teaching or Teaching(scene.engine, scene.folder, None)
    studio = studio or FilmStudio(scene.engine, scene.folder / "films", scene.picture_size, scene.board.publish)
    app = make_app(scene, studio, NoteBook(scene.folder), teaching)
    return Guard(app, {HOST, "localhost:8080"}, TOKEN, COOKIE, Limits(**limits))


def client(app: Any, headers: dict[str, str] | None = HEADER) -> TestClient:
    """A client of an application; headers: None for one without a token."""
    return TestClient(app, base_url=f"http://{HOST}", headers=headers, follow_redirects=False)


def arrays(facts: dict[str, Any], block: bytes) -> dict[str, np.ndarray]:
    """The arrays of `/api/splats` by name."""
    found = {}
    for name, entry in facts["arrays"].items():
        count = int(np.prod(entry["shape"]))
        kind = np.dtype(entry["type"]).newbyteorder("<")
        found[name] = np.frombuffer(block, kind, count, entry["start"]).reshape(entry["shape"])
    return found
