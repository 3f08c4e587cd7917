"""Appearances by name: the times of day that a collection has, mixes and codes; invalid ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.rendering.appearance import appearance_code, resolve_appearance
from halonerf.rendering.times_of_day import ViewStatistics, classify_times_of_day, photos_by_time_of_day
from halonerf.types import Rendering, View
from helpers.made_render import FIELD, picture, rendered, write_render_folders

DAY, DUSK, NIGHT = (0.6, 0.5, 0.0), (0.5, 0.45, 0.5), (0.1, 0.4, 0.05)  # of sky and building, and log(red / blue)


class Painted(Gaussians):
    """A sky over a building: a photo's code is the sky's grey, the building's, and how red that is. Counts pictures."""

    drawn = 0

    def render(self, view: View, appearance: Tensor, channels: Any = None, normals: bool = False) -> Rendering:
        self.drawn += 1
        sky, building, red, _ = appearance.tolist()
        colour = torch.full((view.height, view.width, 3), building)
        colour *= torch.tensor([2.718 ** (red / 2), 1.0, 2.718 ** (-red / 2)])
        colour[: view.height // 3] = sky
        opacity = torch.ones(view.height, view.width)
        opacity[: view.height // 3] = 0.0
        return Rendering(colour, opacity, opacity)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_render_folders(tmp_path_factory.mktemp("folders") / "folders")


def painted(folders: dict[str, Path], *codes: tuple[float, float, float]) -> tuple[Painted, Scene]:
    """A field whose fitted photos, all but the first of the scene, have these lights."""
    scene = Scene(folders["ingest"])
    field = Painted(code_size=4)
    field.initialise(scene.points, scene.colours, scene.names[1:], seed=0)
    with torch.no_grad():
        field.codes.table.copy_(torch.tensor([(*code, 0.0) for code in codes]))
    return field.eval(), scene


def test_times_of_day_are_found_in_the_renderings(folders):
    field, scene = painted(folders, DUSK, NIGHT, DAY)
    names = scene.names
    assert photos_by_time_of_day(field, scene) == {"day": names[3], "dusk": names[1], "night": names[2]}
    assert torch.equal(appearance_code("night", field, scene, 0), field.appearance(names[2]))


def test_times_of_day_without_photos_are_not_offered(folders):
    field, scene = painted(folders, DAY, DAY, DAY)
    assert list(photos_by_time_of_day(field, scene)) == ["day"]
    with pytest.raises(BadInput, match=r"render\.light to be a light that the photos have, got 'night'.\n.*have: day"):
        resolve_appearance("night", field, scene, "render.light")
    field, scene = painted(folders, NIGHT, NIGHT, NIGHT)
    assert list(photos_by_time_of_day(field, scene)) == ["night"]


def statistics(*values: tuple[float, float, float]) -> list[ViewStatistics]:
    return [ViewStatistics(f"{i}.jpg", *value) for i, value in enumerate(values)]


def test_ordinary_variation_between_photos_is_day():
    varied = statistics(*((0.4 + 0.1 * (i % 6), 0.4 + 0.04 * (i % 5), 0.04 * (i % 4)) for i in range(40)))
    assert list(classify_times_of_day(varied, sky=True)) == ["day"]


def test_without_a_sky_the_building_has_to_be_dark():
    inside = statistics((0.4, 0.4, 0.0), (0.45, 0.45, 0.05), (0.19, 0.19, 0.0))
    assert list(classify_times_of_day(inside, sky=False)) == ["day"]
    dark = [*inside, ViewStatistics("dark.jpg", 0.08, 0.08, 0.0)]
    assert classify_times_of_day(dark, sky=False)["night"] == "dark.jpg"


def test_grey_photos_have_no_dusk_and_a_single_photo_is_classified():
    assert classify_times_of_day(statistics(*[(0.5, 0.4, 0.0)] * 6), sky=True) == {"day": "5.jpg"}
    assert list(classify_times_of_day(statistics(NIGHT), sky=True)) == ["night"]


def test_day_dusk_and_night_of_a_fitted_scene_are_separated(folders):
    """Figures of a fitted procedural cathedral: sky, building, log(red / blue); four photos of night, two of dusk."""
    night = [(0.119, 0.476, 0.08), (0.119, 0.375, 0.17), (0.142, 0.430, 0.06), (0.144, 0.381, 0.18)]
    dusk = [(0.434, 0.409, 0.49), (0.412, 0.409, 0.24)]
    day = [
        (0.301, 0.489, 0.05), (0.329, 0.440, 0.02), (0.352, 0.529, 0.02), (0.397, 0.467, 0.00), (0.447, 0.500, 0.04),
        (0.487, 0.649, -0.02), (0.522, 0.403, -0.05), (0.538, 0.511, 0.03), (0.590, 0.581, 0.00), (0.642, 0.536, -0.06),
        (0.867, 0.635, -0.08), (0.964, 0.569, -0.01), (0.975, 0.524, 0.05), (0.982, 0.607, 0.00),
    ]  # fmt: skip
    found = classify_times_of_day(statistics(*night, *dusk, *day), sky=True)
    assert found["night"] in {f"{i}.jpg" for i in range(4)}
    assert found["dusk"] == "4.jpg"
    assert found["day"] in {f"{i}.jpg" for i in range(6, 20)}


def test_a_photo_named_like_a_time_of_day_is_that_photo(folders):
    field, scene = painted(folders, DAY, NIGHT, DAY)
    scene.names[1] = "night"
    scene._index = {name: i for i, name in enumerate(scene.names)}
    assert resolve_appearance("night", field, scene, "render.light") == "night"
    assert torch.equal(appearance_code("night", field, scene, 0), field.appearance("night"))


def test_times_of_day_are_measured_once_for_several_appearances(folders):
    field, scene = painted(folders, DUSK, NIGHT, DAY)
    times: dict[str, str] = {}
    assert resolve_appearance("day", field, scene, "render.light", times_of_day=times) == scene.names[3]
    assert set(times) == {"day", "dusk", "night"}
    drawn = field.drawn
    mixed = resolve_appearance({"night": 1, "dusk": 3}, field, scene, "render.light", times_of_day=times)
    assert mixed == {scene.names[2]: 1, scene.names[1]: 3}
    assert field.drawn == drawn


def test_mixes_and_codes_are_weighted_means(folders):
    field, scene = painted(folders, DUSK, NIGHT, DAY)
    a, b = (field.appearance(scene.names[i]) for i in (1, 2))
    mixed = appearance_code({scene.names[1]: 1, scene.names[2]: 3}, field, scene, 0)
    torch.testing.assert_close(mixed, 0.25 * a + 0.75 * b)
    code = (0.5, -1.0, 2.0, 0.0)
    torch.testing.assert_close(
        appearance_code({code: 1, "mean": 1}, field, scene, 0)[1], (field.mean_appearance()[1] - 1) / 2
    )
    assert torch.equal(
        appearance_code(resolve_appearance(list(code), field, scene, "x"), field, scene, 0), torch.tensor(code)
    )
    assert torch.equal(appearance_code({"own": 1}, field, scene, 2), b)


@pytest.mark.parametrize(
    ("light", "message"),
    [
        ([1.0, 2.0], "4 finite numbers, an appearance code of this field, got 2"),
        ([1.0, 2.0, float("nan"), 0.0], "4 finite numbers"),
        (["a", "b", "c", "d"], "a name or numbers"),
        (7, "a name or numbers"),
        ({}, "weights above 0"),
        ({"mean": 0.0}, "weights above 0"),
        ({"mean": 2.0, "own": -1.0}, "weights above 0"),
        ({"mean": 1.0, "elsewhere.jpg": 1.0}, r"render\.light=own, mean.*got 'elsewhere\.jpg'"),
    ],
)
def test_an_invalid_appearance_is_refused(folders, light: Any, message: str):
    field, scene = painted(folders, DAY, DAY, DAY)
    with pytest.raises(BadInput, match=message):
        resolve_appearance(light, field, scene, "render.light")


def test_render_takes_a_name_or_a_mix_as_light(folders, tmp_path: Path):
    names = Scene(folders["ingest"]).names
    options = {"views": "test", "concepts": []}
    one, other = (picture(rendered(folders, tmp_path / n, light=n, **options) / "colour/00000.png") for n in names[1:3])
    pure, mixed = (
        picture(rendered(folders, tmp_path / str(number), FIELD, light=light, **options) / "colour/00000.png")
        for number, light in enumerate(({names[1]: 2}, {names[1]: 1, names[2]: 1}))
    )
    assert (pure == one).all()
    assert 0 < abs(mixed - one).mean() < abs(other - one).mean()
