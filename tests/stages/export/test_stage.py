"""Stage export: its files, formats from outside, resumed runs, rejected options, and descriptions of the files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from halonerf.data.collection import write_collection
from halonerf.data.commons.attribution import Attribution, read_attribution, write_attribution
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads.lifted import Lifted
from halonerf.lifting import render_known
from halonerf.queries.session import QuerySession
from halonerf.stages.export.contents import ExportContents, ExportedConcepts, choose_concepts
from halonerf.stages.export.formats import FORMATS, Format, PhotoFormat
from halonerf.stages.export.stage import EVERY_FORMAT, Export
from halonerf.stages.index.stage import Index
from halonerf.types import Splats
from halonerf.visualization.palette import palette_colour
from helpers.made_export import GAUSSIANS, HEAD, write_ball_folders
from helpers.made_folders import run_stage
from helpers.made_query import FIELD, SEGMENTER, write_query_folders


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_ball_folders(tmp_path_factory.mktemp("folders"), photos=6)


class Mirror(Gaussians):
    """Gaussians whose light is computed from a photo."""

    encodes = True

    def encode(self, photo: torch.Tensor) -> torch.Tensor:
        return torch.cat([photo.mean(dim=(0, 1)), photo.new_zeros(1)])


def exported(folders: dict[str, Path], out: Path, **options) -> Export:
    stage = run_stage(Export(GAUSSIANS, HEAD, {}, **options), out, folders)
    assert isinstance(stage, Export)
    return stage


def test_every_format_has_a_folder_with_a_description(folders, tmp_path: Path):
    stage = exported(folders, tmp_path / "out", formats=list(FORMATS), voxels=32)
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {*FORMATS, "export.json"}
    described = json.loads((out / "export.json").read_text())
    assert described["frame"] == "world"
    assert [c["name"] for c in described["concepts"]] == ["dome", "nothing"]
    assert described["formats"] == stage.summary()
    for kind in FORMATS:
        text = (out / kind / "README.txt").read_text()
        assert "nine tenths of its points lie within 1 unit" in text
        assert "Light: mean." in text
        assert "dome: file name dome" in text
        assert all(f"threshold {c['threshold']:g}" in text for c in described["concepts"])
        assert "Ask the photographers" in text
        contents = json.loads((out / kind / "contents.json").read_text())
        assert stage.summary()[kind].items() >= contents.items()
        assert stage.summary()[kind]["bytes"] > 500
    assert not list(out.rglob(".*"))  # nothing half written


class CameraTable:
    """A format from outside: a table of the cameras' centres, and a file with the size of each photo."""

    name = "cameras"
    summary = "centres.csv: centres of the cameras."
    wants_images = False

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        centres = contents.frame.points(torch.stack([view.centre for view in contents.scene.views]))
        np.savetxt(folder / "centres.csv", centres, delimiter=",")
        return {"cameras": len(centres)}

    def files(self, contents: ExportContents, folder: Path, view: int) -> list[Path]:
        return [folder / f"{view:05d}.txt"]

    def write_photo(self, contents: ExportContents, folder: Path, view: int) -> None:
        camera = contents.scene.views[view]
        self.files(contents, folder, view)[0].write_text(f"{camera.width} {camera.height}")


def test_a_format_from_outside_is_one_entry_of_the_registry(folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert isinstance(CameraTable(), PhotoFormat)
    monkeypatch.setitem(FORMATS, "cameras", CameraTable())
    stage = exported(folders, tmp_path / "out", formats=["cameras", "depth"], frame="model")
    folder, scene = tmp_path / "out" / "cameras", Scene(folders["ingest"])
    assert np.loadtxt(folder / "centres.csv", delimiter=",").shape == (len(scene), 3)
    assert (folder / "00003.txt").read_text() == f"{scene.views[3].width} {scene.views[3].height}"
    assert "centres.csv: centres of the cameras." in (folder / "README.txt").read_text()
    assert stage.summary()["cameras"]["cameras"] == len(scene)


def test_every_format_is_described_and_has_a_unique_name():
    assert tuple(FORMATS) == EVERY_FORMAT
    for name, kind in FORMATS.items():
        assert isinstance(kind, Format)
        assert kind.name == name
        assert kind.summary.isascii()
        assert kind.summary.endswith(".")
    assert [name for name, kind in FORMATS.items() if isinstance(kind, PhotoFormat)] == ["masks", "depth"]


def test_authors_and_licences_are_exported(tmp_path: Path):
    folders = write_ball_folders(tmp_path / "folders", photos=4)
    names = Scene(folders["ingest"]).names
    rows = [Attribution(n, author="=Äda <b>", licence="CC BY-SA 4.0" if i else "CC0") for i, n in enumerate(names)]
    write_attribution(folders["collect"], rows)
    exported(folders, tmp_path / "out", formats=["splats", "masks"])
    for folder in (tmp_path / "out", tmp_path / "out/splats", tmp_path / "out/masks"):
        assert read_attribution(folder) == rows
    text = (tmp_path / "out/splats/README.txt").read_text()
    assert "CC0: 1 of the photos" in text
    assert "CC BY-SA 4.0: 3 of the photos" in text


def test_a_stopped_run_resumes(folders, tmp_path: Path):
    whole = exported(folders, tmp_path / "whole")
    first = run_stage(Export(GAUSSIANS, HEAD, {}), tmp_path / "out", folders, most=7)
    assert [first.done(item) for item in first.items()] == [True] * 7 + [False] * (len(first.items()) - 7)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    second = exported(folders, tmp_path / "out")
    assert all(second.done(item) for item in second.items())
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    names = [sorted(p.relative_to(r) for p in r.rglob("*") if p.is_file()) for r in (tmp_path / "out", whole.folder)]
    assert names[0] == names[1]
    for name in names[0]:
        if name.suffix in (".ply", ".png", ".npz") or name.name in ("coco.json", "transforms.json"):
            assert (tmp_path / "out" / name).read_bytes() == (whole.folder / name).read_bytes()


def test_words_are_exported_beside_the_concepts(tmp_path: Path):
    folders = write_query_folders(tmp_path / "folders")
    scene = Scene(folders["ingest"])
    folders["collect"], folders["localize"], folders["index"] = (tmp_path / n for n in ("collect", "localize", "index"))
    folders["collect"].mkdir()
    write_collection(folders["collect"], "made", tmp_path, [])
    run_stage(Index(SEGMENTER, FIELD, max_photos=4), folders["index"], folders)
    concepts = write_localize(folders, scene)
    stage = Export(FIELD, HEAD, SEGMENTER, formats=["points", "masks"], words=["red", "red AND NOT blue"], opacity=0)
    (tmp_path / "out").mkdir()
    stage.bind(tmp_path / "out", folders, 0)
    stage.prepare()
    for number, item in enumerate(stage.items()):
        stage.predict_step(item, number)
    stage.finish()
    session = QuerySession(folders, SEGMENTER, FIELD, HEAD)
    answer = session.query(["red", "red AND NOT blue"])
    vertex = PlyData.read(tmp_path / "out/points/points.ply")["vertex"]
    np.testing.assert_allclose(vertex["p_red"], answer.probability[:, 0], atol=1e-6)
    np.testing.assert_allclose(vertex["p_red_and_not_blue"], answer.probability[:, 1], atol=1e-6)
    np.testing.assert_allclose(vertex["p_dome"], concepts)
    code = session.field.appearance(scene.names[2])
    maps, _ = render_known(session.field, scene.views[2], code, answer.probability, answer.confidence)
    for place, name in enumerate(("red", "red_AND_NOT_blue")):
        picture = np.asarray(Image.open(tmp_path / "out/masks/probability" / name / f"{scene.names[2]}.png"))
        assert np.abs(picture / 255 - maps[..., place].numpy()).max() < 0.003
    assert [c["name"] for c in json.loads((tmp_path / "out/masks/coco.json").read_text())["categories"]] == [
        "dome",
        "red",
        "red AND NOT blue",
    ]


def write_localize(folders: dict[str, Path], scene: Scene) -> np.ndarray:
    """One concept, of even probability; its value for every element."""
    head = Lifted()
    elements = 60
    head.hold(torch.full((elements, 1), 0.25), torch.ones(elements, 1))
    (folders["localize"] / "renders").mkdir(parents=True)
    head.save(folders["localize"] / "head.safetensors")
    (folders["localize"] / "concepts.json").write_text('["dome"]')
    for i, view in enumerate(scene.views):
        shape = (1, view.height, view.width)
        np.savez(
            folders["localize"] / f"renders/{i:05d}.npz",
            probability=np.full(shape, 64, np.uint8),
            confidence=np.ones(shape, np.float16),
        )
    return np.full(elements, 0.25)


def test_words_need_the_index():
    options = {"words": None, "adapted": True}
    assert Export.requires(options) == Export.needs
    assert Export.requires({**options, "words": "rose window"}) == (*Export.needs, "index", "adapt_segmenter")
    with pytest.raises(BadInput):
        Export.requires({"words": ["window AND"]})


def test_the_folder_of_an_image_file_is_not_published(folders, tmp_path: Path):
    place = tmp_path / "secret" / "dusk.png"
    place.parent.mkdir()
    Image.new("RGB", (40, 30), "red").save(place)
    mirror = {"_target_": f"{__name__}.Mirror", "code_size": 4}
    stage = Export(mirror, HEAD, {}, formats=["splats"], light=os.fspath(place))
    run_stage(stage, tmp_path / "out", folders)
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"secret" not in path.read_bytes()
    assert "Light: dusk.png." in (tmp_path / "out/splats/README.txt").read_text()


def test_concepts_keep_their_positions():
    probability = torch.rand(5, 3)
    assert choose_concepts(["a", "b", "c"], ["c", "a"]) == ["c", "a"]
    assert choose_concepts(["a", "b", "c"], None) == ["a", "b", "c"]
    concepts = ExportedConcepts(["c", "a", "new"], probability, probability, [2, 0, None], ["a", "b", "c"])
    assert concepts.colours == [palette_colour(number) for number in (2, 0, 3)]


def test_a_splat_shows_the_rarest_of_its_concepts():
    probability = torch.tensor([[0.9, 0.6], [0.9, 0.1], [0.8, 0.4], [0.1, 0.4]])
    concepts = ExportedConcepts(["tower", "window"], probability, torch.ones(4, 2), [0, 1], ["tower", "window"])
    splats = Splats(torch.zeros(4, 3), torch.ones(4, 3), torch.ones(4, 4), torch.ones(4), torch.arange(4))
    tower, window = torch.tensor(concepts.colours) / 255
    painted = concepts.paint(splats, torch.full((4, 3), 0.5), 0.5)
    torch.testing.assert_close(painted, torch.stack([window, tower, tower, torch.full((3,), 0.4)]))


def test_all_photos_have_one_light():
    with pytest.raises(BadInput, match="one light for all"):
        Export(GAUSSIANS, HEAD, {}, light="own")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": "camera"}, r"export\.frame=world or model"),
        ({"light": "sunset"}, r"export\.light"),
        ({"concepts": ["spire"]}, r"among dome, nothing; got spire.*\n.*export\.words=\[spire\]"),
    ],
)
def test_frames_lights_and_concepts_that_the_scene_lacks_are_refused(
    folders, tmp_path: Path, options: dict, message: str
):
    with pytest.raises(BadInput, match=message):
        exported(folders, tmp_path / "out", formats=["splats"], **options)
