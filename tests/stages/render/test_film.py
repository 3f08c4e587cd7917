"""Films along camera paths: renderings, highlighted words, comparisons, and resumed runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from halonerf.camera_paths.path import CameraPath, KeyFrame
from halonerf.cli import composed
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput, MissingArtifact
from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads.lifted import Lifted
from halonerf.lifting import render_known
from halonerf.pipeline.plan import identity_of, resolve
from halonerf.queries.session import QuerySession
from halonerf.rendering.appearance import appearance_code
from halonerf.rendering.film_frames import wipe
from halonerf.stages.render.stage import Render
from halonerf.visualization.overlays import caption, highlight, legend
from halonerf.visualization.palette import COLOURS, palette_colour
from helpers.made_query import FIELD as PLAIN_FIELD
from helpers.made_query import HEAD, SEGMENTER
from helpers.made_render import frames_of, picture, render, rendered, write_render_folders, write_words_folders

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 64  # px


@pytest.fixture(scope="module")
def lit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folders whose photos were taken in very different light."""
    return write_render_folders(tmp_path_factory.mktemp("lit") / "folders")


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folders with an index, whose head knows "portal" alone."""
    return write_words_folders(tmp_path_factory.mktemp("wordy") / "folders")


def film(folders: dict[str, Path], out: Path, path: Path | str, **options: Any) -> Path:
    """The folder of a film of numbered pictures, four a second, unless told otherwise."""
    return rendered(folders, out, **{"film": "frames", "fps": 4.0, "size": SIZE, "path": str(path), **options})


def keep(path: Path, folders: dict[str, Path], *lights: Any, **options: Any) -> Path:
    """Write a path from the second photo's camera to the third's, a second for each further light."""
    views = Scene(folders["ingest"]).views
    keyframes = [
        KeyFrame(views[1 + i % 2].camera_to_world, 0.9, light, **{"seconds": 1.0, **options})
        for i, light in enumerate(lights)
    ]
    CameraPath(tuple(keyframes), scene="made").write(path)
    return path


def opened(folders: dict[str, Path], **options: Any) -> tuple[Scene, Gaussians]:
    field = Gaussians(**options)
    field.load(folders["reconstruct"] / "field.safetensors")
    return Scene(folders["ingest"]), field.eval()


def test_frames_are_renderings_of_the_field(lit, tmp_path: Path):
    scene, field = opened(lit, code_size=4)
    names = scene.names
    path = keep(tmp_path / "path.json", lit, names[1], {names[2]: 1, "mean": 1}, (1.0, -2.0, 0.5, 0.0))
    out = film(lit, tmp_path / "out", path)
    samples = CameraPath.read(path).sample(4)
    assert len(list((out / "film").iterdir())) == len(samples) == 8
    for number, sample in enumerate(samples):
        code = sum(weight * appearance_code(light, field, scene, 0) for light, weight in sample.light.items())
        with torch.no_grad():
            expected = field.render(sample.view(64, 48), code).colour.clamp(0, 1) * 255
        assert np.abs(picture(out / "film" / f"{number:05d}.png") - expected.numpy()).max() <= 0.51
    ends = [picture(out / "film" / f"{number:05d}.png") for number in (0, 7)]
    assert np.abs(ends[0] - ends[1]).mean() > 10


def test_a_film_without_words_needs_only_scene_and_field(lit, tmp_path: Path):
    path = keep(tmp_path / "path.json", lit, "mean")
    assert Render.requires({"path": str(path)}) == ("ingest", "reconstruct")
    assert Render.requires({"path": "orbit"}) == ("ingest", "reconstruct")
    needs = ("ingest", "reconstruct", "localize")
    assert Render.requires({"path": None, "concepts": ["dome"]}) == needs
    assert Render.requires({"path": "orbit", "concepts": ["dome"]}) == (*needs, "index")
    worded = keep(tmp_path / "worded.json", lit, "mean", words=("dome",))
    assert Render.requires({"path": str(worded), "adapted": True}) == (*needs, "index", "adapt_segmenter")


def test_words_are_highlighted_where_they_are_probable(wordy, tmp_path: Path):
    """ "portal" is what `localize` found; "red" and the expression are looked up in the index."""
    texts = ("portal", "red", "red AND NOT blue")
    path = keep(tmp_path / "path.json", wordy, "mean", words=texts, opacity=1.0, threshold=0.4)
    out = film(wordy, tmp_path / "out", path, field=PLAIN_FIELD)
    _, field = opened(wordy)
    sample = CameraPath.read(path).sample(4)[0]
    view, code = sample.view(64, 48), field.mean_appearance()
    query = QuerySession(wordy, SEGMENTER, PLAIN_FIELD, HEAD)
    answer = query.query(list(texts[1:]), size=16)
    head = Lifted()
    head.load(wordy["localize"] / "head.safetensors")
    with torch.no_grad():
        maps = torch.cat(
            [
                head.render(field, view, code)[0],
                render_known(field, view, code, answer.probability, answer.confidence)[0],
            ],
            dim=2,
        )
        colour = field.render(view, code).colour.numpy()
    for place in range(3):
        assert 0.02 < float((maps[..., place] > 0.4).float().mean()) < 0.9
    expected = highlight(colour, maps.numpy(), [1.0] * 3, 0.4, COLOURS[:3])
    entries = {text: (palette_colour(number), 1.0) for number, text in enumerate(texts)}
    expected = legend((expected.clip(0, 1) * 255).round().astype(np.uint8), entries)
    found = picture(out / "film" / "00000.png")
    assert np.abs(found - expected.astype(int)).max() <= 1
    assert np.abs(found - colour * 255).mean() > 5


def test_the_index_is_not_opened_for_localized_concepts(wordy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("halonerf.stages.render.stage.QuerySession", None)
    out = film(wordy, tmp_path / "out", keep(tmp_path / "p.json", wordy, "mean", words=("portal",)), field=PLAIN_FIELD)
    assert (out / "film.jpg").is_file()
    with pytest.raises(TypeError, match="NoneType"):
        film(wordy, tmp_path / "other", keep(tmp_path / "q.json", wordy, "mean", words=("red",)), field=PLAIN_FIELD)


def test_large_frames_are_rendered_in_parts(wordy, tmp_path: Path):
    path = keep(tmp_path / "path.json", wordy, "mean", words=("portal", "red"), seconds=0.25)
    whole = film(wordy, tmp_path / "whole", path, field=PLAIN_FIELD, size=200)
    parts = film(wordy, tmp_path / "parts", path, field=PLAIN_FIELD, size=200, memory_mb=0.1)
    a, b = (picture(folder / "film" / "00000.png") for folder in (whole, parts))
    assert a.shape == (150, 200, 3)
    assert np.abs(a - b).max() <= 1


def test_concepts_are_highlighted_in_key_frames_without_words(wordy, tmp_path: Path):
    out = film(wordy, tmp_path / "out", "spiral", field=PLAIN_FIELD, concepts=["portal"], seconds=1)
    kept = CameraPath.read(out / "path.json")
    assert kept.words() == ("portal",)
    assert kept.duration == pytest.approx(1)
    plain = film(wordy, tmp_path / "plain", "spiral", field=PLAIN_FIELD, seconds=1)
    assert np.abs(picture(out / "film/00000.png") - picture(plain / "film/00000.png")).mean() > 3


def test_one_appearance_can_replace_those_of_the_path(lit, tmp_path: Path):
    names = Scene(lit["ingest"]).names
    path = keep(tmp_path / "path.json", lit, names[1], names[2])
    out = film(lit, tmp_path / "out", path, light={names[3]: 1, "mean": 1})
    assert [key.light for key in CameraPath.read(out / "path.json").keyframes] == [{names[3]: 1, "mean": 1}] * 2
    own = CameraPath.read(film(lit, tmp_path / "own", path) / "path.json")
    assert [key.light for key in own.keyframes] == [names[1], names[2]]


@pytest.mark.parametrize("name", ["fly_through", "orbit", "spiral"])
def test_preset_paths_need_no_file(lit, tmp_path: Path, name: str):
    out = film(lit, tmp_path / "out", name, film="mp4", seconds=1, fps=10)
    assert frames_of(out / "film.mp4").shape == (10, 48, 64, 3)
    assert not (out / "film").exists()
    assert {p.name for p in out.iterdir()} == {"film.mp4", "film.jpg", "path.json"}


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
def test_film_formats_show_the_same_frames(lit, tmp_path: Path, kind: str):
    names = Scene(lit["ingest"]).names
    path = keep(tmp_path / "path.json", lit, names[1], names[2])
    frames = film(lit, tmp_path / "frames", path)
    shown = frames_of(film(lit, tmp_path / "out", path, film=kind) / f"film.{kind}")
    pictures = np.stack([picture(p) for p in sorted((frames / "film").iterdir())])
    assert shown.shape == pictures.shape
    # Noise from Gaussians is hard on colours at half the resolution: measured 7 at most.
    assert np.abs(shown - pictures).mean() < 12


def test_side_by_side_with_and_without_words(wordy, tmp_path: Path):
    path = keep(tmp_path / "path.json", wordy, "mean", words=("portal",), opacity=1.0)
    plain = keep(tmp_path / "plain.json", wordy, "mean")
    both = picture(film(wordy, tmp_path / "o", path, field=PLAIN_FIELD, compare="side", size=200) / "film/00000.png")
    alone = picture(film(wordy, tmp_path / "p", plain, field=PLAIN_FIELD, size=200) / "film/00000.png")
    words = picture(film(wordy, tmp_path / "w", path, field=PLAIN_FIELD, size=200) / "film/00000.png")
    assert both.shape == (150, 400, 3)
    middle = slice(25, 120)  # captions are above, the legend is below
    assert np.array_equal(both[middle, :200], alone[middle])
    assert np.array_equal(both[middle, 200:], words[middle])


def test_a_wipe_shows_one_appearance_then_the_other(lit, tmp_path: Path):
    names = Scene(lit["ingest"]).names
    path = keep(tmp_path / "path.json", lit, names[1], names[1])
    out = film(lit, tmp_path / "out", path, compare="wipe", against=names[2], fps=9.0, size=200)
    first = film(lit, tmp_path / "first", path, fps=9.0, size=200)
    second = film(lit, tmp_path / "second", path, light=names[2], fps=9.0, size=200)
    shown = [[picture(f / "film" / f"0000{k}.png")[25:] for f in (out, first, second)] for k in (0, 4, 8)]
    for (found, one, other), like in zip(shown, (1, 2, 1), strict=True):
        assert np.array_equal(found, (one, one, other)[like])
    found, one, other = (picture(f / "film" / "00002.png")[25:] for f in (out, first, second))
    assert np.array_equal(found[:, :98], other[:, :98])
    assert np.array_equal(found[:, 102:], one[:, 102:])


def test_the_line_of_a_wipe_moves_across_and_back():
    black, white = np.zeros((4, 100, 3), np.uint8), np.full((4, 100, 3), 200, np.uint8)
    shares = [(wipe(black, white, time) == 0).mean() for time in (0, 0.25, 0.5, 0.75, 1)]
    assert shares == pytest.approx([0, 0.49, 1, 0.49, 0], abs=0.01)


def test_a_killed_film_resumes_from_its_frames(lit, tmp_path: Path):
    path = keep(tmp_path / "path.json", lit, "mean", "mean")
    options = {"path": str(path), "film": "gif", "fps": 6.0, "size": SIZE}
    out = tmp_path / "out"
    render(lit, out, most=4, **options)
    kept = {p.name: p.stat().st_mtime_ns for p in (out / "film").iterdir()}
    assert len(kept) == 4
    stage = render(lit, out, most=2, **options)
    assert [stage.done(item) for item in stage.items()] == [True] * 6 + [False]
    assert kept.items() <= {p.name: p.stat().st_mtime_ns for p in (out / "film").iterdir()}.items()
    # Killed while the frames were removed: the film is whole, so nothing is drawn again.
    stage.film.finish()
    (out / "film").mkdir()
    (out / "film" / "00002.png").write_bytes(b"")
    made = (out / "film.gif").stat().st_mtime_ns
    stage = render(lit, out, most=0, **options)
    assert [stage.done(item) for item in stage.items()] == [True] * 6 + [False]
    render(lit, out, **options)
    assert (out / "film.gif").stat().st_mtime_ns == made
    assert not (out / "film").exists()


def test_the_content_of_a_path_file_enters_the_fingerprint_and_its_location_does_not(lit, tmp_path: Path):
    (tmp_path / "b").mkdir()
    files = [keep(tmp_path / "a.json", lit, "mean"), keep(tmp_path / "b" / "a.json", lit, "mean")]
    other = keep(tmp_path / "c.json", lit, "mean", "mean")
    found = [
        json.dumps(identity_of({"_target_": "halonerf.stages.Render", "path": str(file)})) for file in (*files, other)
    ]
    assert found[0] == found[1] != found[2]


def test_the_command_line_plans_an_index_for_words(lit, tmp_path: Path):
    path = keep(tmp_path / "path.json", lit, "mean", words=("rose window",))
    config = composed(["stage=render", f"render.path={path}", f"artifacts={tmp_path}"])
    planned = {step.stage for step in resolve(config).steps}
    assert planned >= {"ingest", "reconstruct", "localize", "index", "render"}


@pytest.mark.parametrize(
    ("lights", "message"),
    [
        (["own"], "only photos have 'own'"),
        (["nowhere.jpg"], r"key-frame 0's light=own, mean.*got 'nowhere\.jpg'"),
        (["mean", [1.0, 2.0]], "4 finite numbers, an appearance code of this field, got 2"),
        ([{"mean": 1, "/etc/hostname": 1}], "got '/etc/hostname'"),
    ],
)
def test_unknown_appearances_are_refused(lit, tmp_path: Path, lights: list[Any], message: str):
    path = keep(tmp_path / "path.json", lit, *lights)
    with pytest.raises(BadInput, match=message):
        film(lit, tmp_path / "out", path)
    with pytest.raises(BadInput, match=r"got '/etc/hostname'"):
        film(lit, tmp_path / "out", "orbit", compare="side", against="/etc/hostname")


def test_a_path_of_another_scene_is_refused(lit, tmp_path: Path):
    key = KeyFrame(Scene(lit["ingest"]).views[1].camera_to_world)
    CameraPath((key,), scene="Elsewhere").write(tmp_path / "path.json")
    with pytest.raises(BadInput, match="frame of scene 'made', got one of 'Elsewhere'"):
        film(lit, tmp_path / "out", tmp_path / "path.json")


def test_invalid_options_are_reported_before_any_stage_runs(tmp_path: Path, lit):
    with pytest.raises(MissingArtifact, match=r"path=fly_through, orbit, spiral or the file of a camera path"):
        Render.requires({"path": "orbti"})
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BadInput, match=r"bad\.json is no camera path"):
        Render.requires({"path": str(tmp_path / "bad.json")})
    with pytest.raises(BadInput, match="AND"):
        Render.requires({"path": str(keep(tmp_path / "p.json", lit, "mean", words=("portal AND",)))})
    with pytest.raises(BadInput, match="concepts to compare with and without"):
        Render.requires({"path": "orbit", "compare": "wipe"})


def test_highlighted_pixels_have_the_tint_and_others_are_paler():
    colour = np.full((2, 3, 3), 0.4, np.float32)
    colour[..., 2] = 0.8
    probability = np.zeros((2, 3, 2), np.float32)
    probability[0, 0, 0] = probability[0, 1, 1] = 0.9
    probability[0, 2] = 0.9
    probability[1, 0, 0] = 0.3
    found = highlight(colour, probability, [1.0, 1.0], 0.5, COLOURS[:2])
    luma = float(colour[0, 0] @ np.float32([0.299, 0.587, 0.114]))
    tints = np.array(COLOURS[:2]) / 255 * (0.5 + 0.5 * luma)
    np.testing.assert_allclose(found[0, 0], tints[0], atol=1e-5)
    np.testing.assert_allclose(found[0, 1], tints[1], atol=1e-5)
    np.testing.assert_allclose(found[0, 2], tints.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found[1, 0], 0.5 * colour[1, 0] + 0.375 * luma, atol=1e-5)
    assert highlight(colour, probability, [0.0, 0.0], 0.5, COLOURS[:2]) is colour
    half = highlight(colour, probability, [0.5, 0.0], 0.5, COLOURS[:2])
    np.testing.assert_allclose(half[0, 0], (colour[0, 0] + tints[0]) / 2, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (48, 64), (300, 200)])
def test_legends_fit_any_words(size: tuple[int, int]):
    grey = np.full((*size, 3), 90, np.uint8)
    assert legend(grey, {}) is grey
    assert legend(grey, {"portal": (COLOURS[0], 0.0)}) is grey
    many = {f"<b>Querschiff {'ß' * 80}\n{i}</b>": (COLOURS[i % len(COLOURS)], 0.5) for i in range(16)}
    drawn = legend(grey, {"portail ogival": (COLOURS[0], 1.0), "الباب": (COLOURS[9], 0.2), **many})
    assert drawn.shape == grey.shape
    assert drawn.dtype == np.uint8
    assert (drawn != grey).any()
    assert (grey == 90).all()
    assert caption(grey, "Tag " * 50, "Nacht").shape == grey.shape
