"""Procedural landmarks: files agree with the geometry that they were rendered from, and with each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.procedural.building import build, stream
from halonerf.data.procedural.camera import Camera
from halonerf.data.procedural.closeups import close_ups
from halonerf.data.procedural.crowd import crowd
from halonerf.data.procedural.landmark import ProceduralLandmark
from halonerf.data.procedural.light import HOUR_SHARES, choose_hours, sample_light
from halonerf.data.procedural.mesh import LocalFrame, MeshBuilder
from halonerf.data.procedural.metadata import landmark, record
from halonerf.data.procedural.outline import arched, circle
from halonerf.data.procedural.renderer import SceneRenderer
from halonerf.data.procedural.textures import paint
from halonerf.errors import BadInput

SMALL = {"photos": 4, "width": 96, "samples": 4, "workers": 1}


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synagogue")
    ProceduralLandmark("synagogue", 3, **SMALL).collect(folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def camera_of(note: dict) -> Camera:
    pose = np.array(note["camera_to_world"])
    return Camera(note["width"], note["height"], note["fx"], pose[:, 3], pose[:, :3])


def parts_of(folder: Path, image_id: str) -> np.ndarray:
    masks = [np.asarray(Image.open(p)) > 0 for p in folder.glob(f"masks/*/{image_id.replace('.jpg', '.png')}")]
    return np.logical_or.reduce(masks)


def depth_of(folder: Path, image_id: str) -> np.ndarray:
    return np.asarray(Image.open(folder / "depth" / image_id.replace(".jpg", ".png"))).astype(float) / 100


def test_runs_with_other_workers_write_the_same_bytes(collected: Path, tmp_path: Path) -> None:
    ProceduralLandmark("synagogue", 3, **{**SMALL, "workers": 2}).collect(tmp_path)
    assert files(tmp_path) == files(collected)


def test_a_killed_run_resumes_and_keeps_finished_photos(collected: Path, tmp_path: Path) -> None:
    source = ProceduralLandmark("synagogue", 3, **SMALL)
    source.collect(tmp_path)
    kept = (tmp_path / "photos/0001.jpg").stat().st_mtime_ns
    for name in ("notes/0002.json", "photos/0002.jpg", "records.csv", "collection.json", "cameras.json"):
        (tmp_path / name).unlink()
    (tmp_path / "masks/window/0002.png").write_bytes(b"half a ma")
    source.collect(tmp_path)
    assert files(tmp_path) == files(collected)
    assert (tmp_path / "photos/0001.jpg").stat().st_mtime_ns == kept


def test_identity_depends_on_the_options_that_affect_the_photos() -> None:
    base = ProceduralLandmark("mosque", 1)
    assert base.identity() == ProceduralLandmark("mosque", 1, workers=7).identity()
    others = [
        ProceduralLandmark("mosque", 2),
        ProceduralLandmark("mosque", 1, photos=9),
        ProceduralLandmark("cathedral", 1),
    ]
    assert len({base.identity(), *(o.identity() for o in others)}) == 4
    assert base.name == "mosque_seed1"


def test_every_record_has_a_photo_masks_depth_camera_and_truth(collected: Path) -> None:
    collection = Collection.read(collected)
    records, truth = collection.records(), collection.truth()
    cameras = json.loads((collected / "cameras.json").read_text())
    photos = sorted(p.name for p in collection.photos.iterdir())
    assert [r.image_id for r in records] == photos == list(truth) == list(cameras)
    assert len(photos) == SMALL["photos"]
    assert collection.building_type == "synagogue"
    assert set(truth.values()) - {""} <= set(collection.concepts)
    assert collection.masks is not None
    for name in photos:
        size = Image.open(collection.photos / name).size
        assert size == (cameras[name]["width"], cameras[name]["height"])
        assert depth_of(collected, name).shape == size[::-1]
        for concept in collection.concepts:
            mask = np.asarray(Image.open(collection.masks / concept / name.replace(".jpg", ".png")))
            assert mask.shape == size[::-1]
            assert set(np.unique(mask)) <= {0, 255}
        assert truth[name] == "" or (collection.masks / truth[name] / name.replace(".jpg", ".png")).stat().st_size > 0


def test_photos_are_neither_black_nor_blown() -> None:
    items = list(close_ups("cathedral", 5, 4, width=96, samples=4))
    for item in items:
        assert 25 < item.picture.mean() < 235
        assert item.picture.std() > 12
        assert not (item.masks["rose window"] & ~item.masks["window"]).any()  # a rose window is a window
    assert any(item.masks["rose window"].any() for item in items)


def test_depth_of_one_photo_lands_on_the_depth_of_another(collected: Path) -> None:
    """Points of a part, seen from another camera, are as far as that photo says or hidden by something nearer."""
    cameras = json.loads((collected / "cameras.json").read_text())
    names = list(cameras)
    agreeing = 0
    for first in names:
        for second in names:
            one, two = camera_of(cameras[first]), camera_of(cameras[second])
            points = one.unproject(depth_of(collected, first))[parts_of(collected, first)]  # no passers-by
            pixels, depth = two.project(points)
            seen = (depth > 1) & (pixels > 0).all(1) & (pixels < [two.width, two.height]).all(1)
            x, y = pixels[seen].astype(int).T
            there = depth_of(collected, second)[y, x]
            if first == second:  # rounding to a centimetre
                assert np.abs(there - depth[seen]).max() < 0.006
            elif seen.sum() > 500:
                # pixels are up to 0.5 m of a slanting wall wide: 1.5 m of slack; what is left over are pixels at
                # outlines, whose centre lies beside what the point belongs to (measured: up to 1.6 %)
                close = np.abs(there - depth[seen]) < 1.5
                hidden = there < depth[seen]
                assert (close | hidden).mean() > 0.95
                agreeing += int(close.mean() > 0.4)
    assert agreeing >= 2


@pytest.fixture(scope="module")
def renderer_and_mesh() -> tuple[SceneRenderer, MeshBuilder]:
    """A portal-like block 4 m wide and 3 m high, 1 m before a wall."""
    mesh = MeshBuilder()
    frame = LocalFrame.facing([0, 0, 0], 0)
    mesh.box(frame, (-20, 20), (0, 15), (-1, 0), "wall")
    with mesh.part("portal", normal=frame.normal):
        mesh.box(frame, (-2, 2), (1, 4), (0, 1), "trim")
    return SceneRenderer(mesh, paint("cathedral", np.random.default_rng(0), 0.2), 1), mesh


def test_a_block_of_known_size_fills_exactly_its_pixels(renderer_and_mesh: tuple[SceneRenderer, MeshBuilder]) -> None:
    camera = Camera.looking(200, 150, 150.0, np.array([0.0, -21.0, 2.5]), np.array([0.0, 0.0, 2.5]))
    passes = renderer_and_mesh[0].render_passes(
        camera, sample_light(np.random.default_rng(0), "day"), MeshBuilder(), 4, 0
    )
    expected = np.zeros((150, 200), bool)
    expected[64:86, 85:115] = (
        True  # face 4 x 3 m at 20 m with 150 px: 30 x 22.5 px; rows 63.75 to 86.25 by their centres
    )
    np.testing.assert_array_equal(passes.mask("portal"), expected)
    np.testing.assert_allclose(passes.depth[expected], 20.0, atol=1e-4)  # float32 at 20 m
    np.testing.assert_allclose(passes.depth[40, 100], 21.0, atol=1e-4)


def test_rolled_and_tilted_cameras_see_parts_where_they_project(
    renderer_and_mesh: tuple[SceneRenderer, MeshBuilder],
) -> None:
    camera = Camera.looking(160, 120, 170.0, np.array([9.0, -16.0, 1.7]), np.array([0.5, 0.0, 3.2]), roll=0.2)
    passes = renderer_and_mesh[0].render_passes(
        camera, sample_light(np.random.default_rng(1), "overcast"), MeshBuilder(), 4, 0
    )
    inner = np.stack(np.meshgrid(np.linspace(-1.9, 1.9, 12), [-1.0], np.linspace(1.1, 3.9, 9)), -1).reshape(-1, 3)
    pixels, depth = camera.project(inner)
    x, y = pixels.astype(int).T
    mask = passes.mask("portal")
    assert mask[y, x].all()
    np.testing.assert_allclose(passes.depth[y, x], depth, atol=0.12)  # a pixel is 0.11 m wide and the face is aslant
    outside = camera.project(np.array([[-2.3, -1, 2.5], [2.5, 0, 2.5], [0, -1, 4.3]]))[0].astype(int)
    assert not mask[outside[:, 1], outside[:, 0]].any()


def test_passers_by_hide_parts_and_stay_for_one_photo_only(
    renderer_and_mesh: tuple[SceneRenderer, MeshBuilder],
) -> None:
    camera = Camera.looking(160, 120, 120.0, np.array([0.0, -25.0, 1.7]), np.array([0.0, 0.0, 2.5]))
    light = sample_light(np.random.default_rng(0), "day")
    masks, pictures = [], []
    for index in range(2):
        passing = crowd(
            stream("cathedral", 0, "test", index), camera.position, camera.forward, camera.half_angle, 40, 0
        )
        passes = renderer_and_mesh[0].render_passes(camera, light, passing, 4, 0)
        masks.append(passes.mask("portal"))
        pictures.append(passes.number >= 2)
    empty = renderer_and_mesh[0].render_passes(camera, light, MeshBuilder(), 4, 0)
    assert not (empty.number >= 2).any()
    for mask, people in zip(masks, pictures, strict=True):
        assert people.sum() > 100
        np.testing.assert_array_equal(mask, empty.mask("portal") & ~people)
    assert (pictures[0] ^ pictures[1]).sum() > 100


def test_sunlight_comes_from_the_suns_direction(renderer_and_mesh: tuple[SceneRenderer, MeshBuilder]) -> None:
    """The front, which faces -y, is lit by a sun before it and dark with the sun behind."""
    camera = Camera.looking(40, 30, 60.0, np.array([0.0, -20.0, 6.0]), np.array([0.0, 0.0, 6.0]))
    light = sample_light(np.random.default_rng(2), "day")
    values = []
    for y in (-0.6, 0.6):
        sun = np.array([0.1, y, 0.5]) / np.linalg.norm([0.1, y, 0.5])
        turned = type(light)(light.hour, sun, 3.0, 0.0, (), (1.0, 1.0, 1.0))
        values.append(renderer_and_mesh[0].render_passes(camera, turned, MeshBuilder(), 4, 0).sun.mean())
    assert values[0] > 0.001
    assert values[1] < 1e-6  # the glow that carries the colours


@pytest.mark.parametrize("kind", ["cathedral", "mosque", "synagogue"])
def test_seeds_are_other_buildings_with_the_parts_of_their_kind(kind: str) -> None:
    one, same, other = build(kind, 0), build(kind, 0), build(kind, 1)
    for a, b in zip(one.mesh.surfaces(), same.mesh.surfaces(), strict=True):
        np.testing.assert_array_equal(a.vertices, b.vertices)
    assert not np.array_equal(one.extent, other.extent)
    assert {"portal", "window"} <= set(one.concepts)
    names = [part.name for part in one.parts]
    assert names.count("portal") >= 1
    assert names.count("window") >= 20
    if kind == "mosque":
        assert names.count("minaret") in (2, 4)
    else:
        assert names.count("tower") == 2
    assert all(
        surface.vertices[..., 2].min() > -0.6 for surface in one.mesh.surfaces()
    )  # nothing hangs below the ground


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"one of cathedral, mosque, synagogue, got 'pagoda'"):
        build("pagoda", 0)


def test_arches_have_the_height_of_their_construction() -> None:
    assert arched(0, 0, 2.0, 3.0, "round", 16).bounds[3] == pytest.approx(4.0)
    assert arched(0, 0, 2.0, 3.0, "pointed", 16).bounds[3] == pytest.approx(3 + np.sqrt(3))  # equilateral
    assert arched(0, 0, 2.0, 3.0, "flat", 16).bounds[3] == pytest.approx(3.0)
    ring = circle(1.0, 2.0, 0.5)
    np.testing.assert_allclose(np.hypot(ring.xs - 1, ring.high - 2), 0.5)


def test_hours_have_their_shares() -> None:
    hours = choose_hours(np.random.default_rng(0), 100)
    assert {hour: hours.count(hour) for hour in HOUR_SHARES} == {"day": 67, "overcast": 15, "dusk": 10, "night": 8}
    assert len(choose_hours(np.random.default_rng(0), 7)) == 7


def test_metadata_name_most_close_ups_but_not_all_correctly() -> None:
    from halonerf.data.procedural.vocabulary import WORDS

    place = landmark("cathedral", 0)
    concepts = ("portal", "window", "rose window", "tower", "spire")
    told, languages = 0, set()
    for index in range(300):
        label = concepts[index % 5]
        text = record(f"{index}.jpg", place, 0, index, label, concepts)
        everything = " ".join([text.filename.replace("_", " "), text.caption, *text.categories]).lower()
        hits = [language for language, words in WORDS[label].items() for word in words if word.lower() in everything]
        told += bool(hits)
        languages.update(hits)
        assert text.building_type == "cathedral"
        assert text.landmark == place.name("en")
    assert 0.65 < told / 300 < 0.85
    assert len(languages) >= 8
    wholes = [record(f"{k}.jpg", place, 0, k, "", concepts) for k in range(100)]
    assert len({w.caption for w in wholes}) > 25
    assert sum(w.caption == "" for w in wholes) > 2
