"""Splats and points, read back by plyfile: renderings of them equal those of the field, in either frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from plyfile import PlyData

from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.rendering.surfels import open_splats
from halonerf.splatting.rasterise import rasterise
from halonerf.stages.export.contents import finite_splats
from halonerf.stages.export.formats.ply import write_ply
from halonerf.stages.export.formats.splat_views import outward_normals, render_splats
from halonerf.stages.export.formats.splats import write_splats
from halonerf.stages.export.frame import ExportFrame
from halonerf.stages.export.names import folder_names, inside, photo_file, property_names
from halonerf.stages.export.stage import Export
from halonerf.types import Splats
from helpers.made_export import (
    BALL,
    BLUE,
    GAUSSIANS,
    HEAD,
    RADIUS,
    RED,
    Ball,
    made_gaussians,
    on_ball,
    upper,
    write_ball_folders,
    write_head,
)
from helpers.made_folders import run_stage


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_ball_folders(tmp_path_factory.mktemp("folders"))


def exported(folders: dict[str, Path], out: Path, field: dict = GAUSSIANS, **options) -> Path:
    run_stage(Export(field, HEAD, {}, **options), out, folders)
    return out


def read_splats(path: Path) -> tuple[Splats, torch.Tensor]:
    """Splats and colours of a file, by the formulas that viewers use."""
    vertex = PlyData.read(path)["vertex"]

    def columns(*names: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([np.asarray(vertex[name]) for name in names], axis=1))

    colours = 0.5 + 0.28209479177387814 * columns("f_dc_0", "f_dc_1", "f_dc_2")
    splats = Splats(
        columns("x", "y", "z"),
        columns("scale_0", "scale_1", "scale_2").exp(),
        columns("rot_0", "rot_1", "rot_2", "rot_3"),
        torch.sigmoid(columns("opacity")[:, 0]),
        torch.arange(vertex.count),
    )
    return splats, colours


def test_a_rendering_of_the_file_equals_that_of_the_field(folders, tmp_path: Path):
    scene = Scene(folders["ingest"])
    field = Gaussians(code_size=4)
    field.load(folders["reconstruct"] / "field.safetensors")
    pictures = []
    for light in ("mean", scene.names[3]):
        splats, colours = read_splats(
            exported(folders, tmp_path / light, formats=["splats"], light=light) / "splats/splats.ply"
        )
        code = field.mean_appearance() if light == "mean" else field.appearance(light)
        view = scene.views[1]
        with torch.no_grad():
            rendering = field.render(view, code)
            sky = field.appearance_model.background(view, code)
            raster = rasterise(splats.centres, splats.scales, splats.rotations, splats.opacities, colours, view)
        picture = raster.features + (1 - raster.opacity[..., None]) * sky
        # Measured 3e-6: logits and logarithms in single precision.
        assert (picture - rendering.colour).abs().max() < 1e-4
        assert rendering.opacity.max() > 0.9
        pictures.append(picture)
    assert (pictures[0] - pictures[1]).abs().max() > 0.05


def test_splats_have_the_layout_that_viewers_expect(folders, tmp_path: Path):
    path = exported(folders, tmp_path / "out", formats=["splats"]) / "splats/splats.ply"
    file = PlyData.read(path)
    assert (file.text, file.byte_order) == (False, "<")
    names = [p.name for p in file["vertex"].properties]
    colour, scale = ["f_dc_0", "f_dc_1", "f_dc_2"], ["scale_0", "scale_1", "scale_2"]
    rotation = ["rot_0", "rot_1", "rot_2", "rot_3"]
    assert names == ["x", "y", "z", "nx", "ny", "nz", *colour, "opacity", *scale, *rotation]
    assert {p.val_dtype for p in file["vertex"].properties} == {"f4"}
    assert file["vertex"].count == 3000
    splats, _ = read_splats(path)
    torch.testing.assert_close(splats.rotations.norm(dim=1), torch.ones(3000))


def test_concepts_are_coloured_and_other_splats_grey(folders, tmp_path: Path):
    splats, colours = read_splats(exported(folders, tmp_path / "out", formats=["splats"]) / "splats/concepts.ply")
    known = splats.centres[:, 1] <= 0.9 * RADIUS
    inside = upper(splats.centres) >= 0.5
    spread = colours.max(dim=1).values - colours.min(dim=1).values
    assert (spread[~inside] < 1e-5).all()
    torch.testing.assert_close(colours[inside & known], colours[inside & known][:1].expand_as(colours[inside & known]))
    assert spread[inside & known].min() > 0.3
    assert (spread[inside & ~known] < 1e-5).all()  # unknown elements have no concept


def test_renderings_are_equal_in_the_frame_of_the_reconstruction(folders, tmp_path: Path):
    scene = Scene(folders["ingest"])
    frame = ExportFrame.of("model", scene)
    assert abs(frame.scale - 1) > 0.01
    world, colours = read_splats(exported(folders, tmp_path / "w", formats=["splats"]) / "splats/splats.ply")
    model, _ = read_splats(exported(folders, tmp_path / "m", formats=["splats"], frame="model") / "splats/splats.ply")
    back = (
        torch.from_numpy(np.asarray(model.centres) @ scene.scene_from_model[:3, :3].numpy().T)
        + scene.scene_from_model[:3, 3]
    )
    torch.testing.assert_close(back.float(), world.centres, atol=1e-5, rtol=1e-5)
    stretched = torch.tensor([[3.0, 1.0, 0.2]])  # round splats are the same in any rotation
    for view in scene.views[:3]:
        pose = torch.from_numpy(frame.camera_to_frame(view.camera_to_world)).float()
        moved = type(view)(view.width, view.height, view.fx, view.fy, view.cx, view.cy, pose)
        shapes = [(s.centres, s.scales * stretched, s.rotations, s.opacities, colours) for s in (world, model)]
        one, other = rasterise(*shapes[0], view), rasterise(*shapes[1], moved)
        assert one.opacity.max() > 0.9
        # Measured 2e-4, of single precision at edges.
        assert (one.features - other.features).abs().max() < 5e-3
        torch.testing.assert_close(other.depth, one.depth * frame.scale, atol=1e-2, rtol=1e-2)


def test_splats_without_a_finite_centre_are_left_out(tmp_path: Path):
    splats = made_gaussians(["a.jpg"], 50).splats()
    splats.centres[3:5] = torch.nan
    assert write_splats(tmp_path / "x.ply", splats, torch.full((50, 3), 0.25)) == 48
    read, colours = read_splats(tmp_path / "x.ply")
    assert read.centres.isfinite().all()
    torch.testing.assert_close(colours, torch.full((48, 3), 0.25))
    kept, rows = finite_splats(splats)
    assert len(kept) == 48
    assert rows.tolist() == [0, 1, 2, *range(5, 50)]


def test_certain_opacities_and_flat_splats_stay_finite(tmp_path: Path):
    splats = made_gaussians(["a.jpg"], 4).splats()
    splats.opacities[:2] = torch.tensor([0.0, 1.0])
    splats.scales[:, 2] = 0.0
    write_splats(tmp_path / "x.ply", splats, torch.rand(4, 3))
    vertex = PlyData.read(tmp_path / "x.ply")["vertex"]
    assert all(np.isfinite(vertex[p.name]).all() for p in vertex.properties)


def test_points_have_colours_normals_probabilities_and_confidence(folders, tmp_path: Path):
    out = exported(folders, tmp_path / "out", formats=["points"], opacity=0.3)
    vertex = PlyData.read(out / "points/points.ply")["vertex"]
    centres = np.stack([vertex["x"], vertex["y"], vertex["z"]], axis=1)
    assert len(centres) == 3000
    np.testing.assert_allclose(vertex["p_dome"], np.where(vertex["c_dome"] > 0, upper(torch.from_numpy(centres)), 0))
    assert set(np.unique(vertex["c_dome"])) == {0.0, 3.0}
    assert not np.asarray(vertex["p_nothing"]).any()
    field = made_gaussians(Scene(folders["ingest"]).names)
    wanted = field.splat_colours(field.mean_appearance()).detach().numpy() * 255
    got = np.stack([vertex["red"], vertex["green"], vertex["blue"]], axis=1)
    assert got.dtype == np.uint8
    assert np.abs(got - wanted).max() <= 0.51


def test_normals_face_the_cameras_that_see_them(folders):
    """Flat splats on the ball, whose axes point in or out by chance: outwards is where cameras are."""
    scene = Scene(folders["ingest"])
    splats = finite_splats(open_splats(Ball(), scene.views).splats())[0]
    w, x, y, z = splats.rotations.unbind(dim=1)
    inwards = torch.arange(len(splats)) % 2 == 0
    rotations = torch.where(inwards[:, None], torch.stack([-x, w, z, -y], dim=1), splats.rotations)
    normals = outward_normals(replace(splats, rotations=rotations), scene.views)
    outwards = (normals * torch.nn.functional.normalize(splats.centres, dim=1)).sum(dim=1)
    assert (outwards[inwards] > 0).float().mean() > 0.99
    assert (outwards[~inwards] > 0).float().mean() > 0.99
    assert outwards.median() > 0.95


def test_a_field_without_gaussians_is_exported_too(folders, tmp_path: Path):
    inputs = {**folders, "localize": tmp_path / "localize"}
    (tmp_path / "localize").mkdir()
    for path in ("concepts.json", "renders"):
        (tmp_path / "localize" / path).symlink_to(folders["localize"] / path)
    write_head(inputs, on_ball(200), ("dome", "nothing"))
    out = exported(inputs, tmp_path / "out", BALL, formats=["splats", "points", "depth"])
    splats, colours = read_splats(out / "splats/splats.ply")
    away = (splats.centres.norm(dim=1) - RADIUS).abs()
    assert away.max() < 1e-3
    left = splats.centres[:, 0] < -0.05
    torch.testing.assert_close(colours[left], torch.tensor(RED).expand_as(colours[left]), atol=1e-5, rtol=0)
    right = splats.centres[:, 0] > 0.05
    torch.testing.assert_close(colours[right], torch.tensor(BLUE).expand_as(colours[right]), atol=1e-5, rtol=0)
    vertex = PlyData.read(out / "points/points.ply")["vertex"]
    high, low = np.asarray(vertex["z"]) > 0.1, np.asarray(vertex["z"]) < -0.1
    seen = np.asarray(vertex["c_dome"]) > 0
    assert np.allclose(np.asarray(vertex["p_dome"])[high & seen], 0.9)
    assert np.allclose(np.asarray(vertex["p_dome"])[low & seen], 0.1)
    scene = Scene(folders["ingest"])
    with np.load(out / "depth/arrays" / f"{scene.names[2]}.npz") as stored:
        rendering = Ball().render(scene.views[2], torch.zeros(4))
        np.testing.assert_allclose(stored["depth"], rendering.depth, atol=1e-5)


def test_occlusion_boundaries_have_no_depth(folders):
    scene = Scene(folders["ingest"])
    field = made_gaussians(scene.names)
    drawn = render_splats(finite_splats(field.splats())[0], torch.zeros(3000, 0), scene.views[0])
    rendering = field.render(scene.views[0], field.mean_appearance())
    assert 0 < (drawn.depth > 0).sum() < (rendering.opacity > 0.5).sum()
    surface = drawn.depth > 0
    torch.testing.assert_close(drawn.depth[surface], rendering.depth.detach()[surface], atol=1e-4, rtol=0)


def test_names_of_concepts_are_safe_and_distinct():
    concepts = ["rose window", "rose/window", "Rose_Window", "../../etc", "fenêtre", "窓", "окно", ""]
    folders = folder_names(concepts)
    assert len({f.casefold() for f in folders}) == len(concepts)
    assert folders[:3] == ["rose_window", "rose_window_2", "Rose_Window_3"]
    assert all("/" not in f and ".." not in f for f in folders)
    assert folders[4:6] == ["fenêtre", "窓"]
    properties = property_names(concepts)
    assert len(set(properties)) == len(concepts)
    assert properties[4] == "fenetre"
    assert all(p.isascii() and p.isidentifier() for p in properties)


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:\\x.jpg", "..", ". "])
def test_paths_of_photos_stay_in_their_folder(name: str, tmp_path: Path):
    path = inside(tmp_path, name)
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert path.resolve() != tmp_path.resolve()


def test_exported_names_of_photos_are_portable_and_distinct():
    names = [
        "12:30:11 photo.jpg", "12%3A30%3A11 photo.jpg", "12_30_11 photo.jpg", "a\\b.jpg", "a/b.jpg", "100%.jpg",
        "a%5Cb.jpg", "what?.jpg", "what*.jpg", "two\nlines.jpg", "é/窓 .jpg", "dots../x.jpg", "dots/x.jpg", "%25.jpg",
        "%.jpg", "%%3A.jpg", "%:.jpg",
    ]  # fmt: skip
    files = [photo_file(name) for name in names]
    assert len(set(files)) == len(names)
    assert not any(set(file) & set(':\\*?"<>|\n') for file in files)
    assert [unquote(file) for file in files] == names
    assert [photo_file(name) for name in ("a/b c.jpg", "é.JPG", "100%.jpg", "family 👨‍👩‍👧.jpg")] == [
        "a/b c.jpg", "é.JPG", "100%.jpg", "family 👨‍👩‍👧.jpg",
    ]  # fmt: skip
    assert files[0] == "12%3A30%3A11 photo.jpg"


def test_comments_cannot_break_a_header(tmp_path: Path):
    write_ply(tmp_path / "x.ply", {"x": np.arange(3, dtype=np.float32)}, ["p_1 = fenêtre\nend_header\nobj", "窓"])
    file = PlyData.read(tmp_path / "x.ply")
    assert list(file["vertex"]["x"]) == [0, 1, 2]
    assert file.comments == ["p_1 = fen\\xeatre end_header obj", "\\u7a93"]
