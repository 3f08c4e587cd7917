"""The render stage: pictures, large pictures in parts, appearances, and a video without jumps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.pipeline.plan import identity_of
from halonerf.rendering.appearance import appearance_code
from halonerf.stages.render.stage import Render
from helpers.made_query import HEAD, SEGMENTER
from helpers.made_render import FIELD, Mirror, frames_of, picture, render, rendered, write_render_folders

MIRROR = {**FIELD, "_target_": "helpers.made_render.Mirror"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_render_folders(tmp_path_factory.mktemp("folders") / "folders")


def test_every_view_has_its_pictures(folders, tmp_path: Path):
    out = rendered(folders, tmp_path / "out", normals=True)
    for kind in ("colour", "depth", "normals", "concepts/window", "concepts/dome"):
        assert len(list((out / kind).iterdir())) == 4
        assert picture(out / kind / "00002.png").shape == (48, 64, 3)
    assert (out / "sheet.jpg").is_file()
    assert not (out / "light.mp4").exists()


def test_normals_are_rendered_only_on_request(folders, tmp_path: Path):
    out = rendered(folders, tmp_path / "out", views="test", concepts=["dome"])
    assert {p.name for p in out.iterdir()} == {"colour", "depth", "concepts", "sheet.jpg"}
    assert [p.name for p in (out / "colour").iterdir()] == ["00000.png"]
    assert [p.name for p in (out / "concepts").iterdir()] == ["dome"]


def test_large_pictures_are_the_same_in_parts(folders, tmp_path: Path):
    one = rendered(folders, tmp_path / "one", views="test", size=300, normals=True)
    parts = rendered(folders, tmp_path / "parts", views="test", size=300, normals=True, memory_mb=0.5)
    for kind in ("colour", "depth", "normals", "concepts/window"):
        first, second = picture(one / kind / "00000.png"), picture(parts / kind / "00000.png")
        assert first.shape == (225, 300, 3)
        # Rounding to 8 bits; depth may fall to the next entry of its colour map.
        assert np.abs(first - second).max() <= (3 if kind == "depth" else 1)


def test_the_appearance_can_be_chosen(folders, tmp_path: Path):
    names = Scene(folders["ingest"]).names
    shown = {
        light: picture(rendered(folders, tmp_path / str(i), light=light) / "colour" / "00003.png")
        for i, light in enumerate(("own", "mean", names[3], names[1]))
    }
    assert np.array_equal(shown["own"], shown[names[3]])
    assert np.abs(shown["own"] - shown["mean"]).mean() > 2
    assert np.abs(shown["own"] - shown[names[1]]).mean() > 2


def test_an_encoding_field_computes_the_code_of_any_photo(folders, tmp_path: Path):
    Image.new("RGB", (400, 300), (255, 51, 0)).save(tmp_path / "dusk.png")
    scene = Scene(folders["ingest"])
    field = Mirror(code_size=4)
    field.load(folders["reconstruct"] / "field.safetensors")
    code = appearance_code(str(tmp_path / "dusk.png"), field, scene, view=2)
    torch.testing.assert_close(code, torch.tensor([1.0, 0.2, 0.0, 0.0]))
    assert torch.equal(appearance_code("own", field, scene, view=2), field.appearance(scene.names[2]))
    held_out = (scene.photo(0).float() / 255).mean(dim=(0, 1))
    torch.testing.assert_close(appearance_code("own", field, scene, view=0)[:3], held_out)
    out = rendered(folders, tmp_path / "out", MIRROR, light=str(tmp_path / "dusk.png"), views="test")
    assert (out / "colour" / "00000.png").is_file()


def test_a_field_without_encoder_refuses_other_photos(folders, tmp_path: Path):
    Image.new("RGB", (40, 30)).save(tmp_path / "dusk.png")
    with pytest.raises(BadInput, match=r"render\.light=own[\s\S]*dusk\.png[\s\S]*field\.codes=encoder"):
        rendered(folders, tmp_path / "out", light=str(tmp_path / "dusk.png"))


def test_a_file_that_is_no_photo_is_refused(folders, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a photo")
    with pytest.raises(BadInput, match=r"expected a photo at .*notes\.txt"):
        rendered(folders, tmp_path / "out", MIRROR, light=str(tmp_path / "notes.txt"))
    with pytest.raises(BadInput, match=r"render\.video=own, mean, a photo's name such as .*got 'sunset'"):
        rendered(folders, tmp_path / "other", video=["mean", "sunset"])


def test_a_video_changes_appearance_without_a_jump(folders, tmp_path: Path):
    names = Scene(folders["ingest"]).names
    lights = [names[1], "mean", names[2]]
    out = rendered(
        folders,
        tmp_path / "out",
        views="test",
        video=lights,
        video_view=names[3],
        seconds=2,
        fps=20,
        size=120,
    )
    frames = frames_of(out / "light.mp4")
    assert frames.shape == (40, 90, 120, 3)
    for place, light in ((0, names[1]), (-1, names[2])):
        still = rendered(folders, tmp_path / f"still{place}", views="train", light=light, size=120) / "colour/00003.png"
        # Measured 2.2 of 255, from colours at half the resolution; the two ends differ by 76.
        assert np.abs(frames[place] - picture(still)).mean() < 5
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    across = np.abs(frames[0] - frames[-1]).mean()
    assert across > 10
    assert steps.max() < across / 5  # 39 even steps; a jump would be one step of all


def test_a_stopped_run_resumes_the_video(folders, tmp_path: Path):
    options = {"views": "test", "video": ["own", "mean"], "seconds": 0.2}
    stage = render(folders, tmp_path / "out", most=3, **options)
    assert stage.items() == [0, *(("light", number) for number in range(6))]
    assert [stage.done(item) for item in stage.items()] == [True, True, True, False, False, False, False]
    kept = (tmp_path / "out" / "light" / "00001.png").stat().st_mtime_ns
    render(folders, tmp_path / "out", most=3, **options)
    assert (tmp_path / "out" / "light" / "00001.png").stat().st_mtime_ns == kept
    stage = render(folders, tmp_path / "out", **options)
    assert all(stage.done(item) for item in stage.items())
    assert len(frames_of(tmp_path / "out" / "light.mp4")) == 5
    assert not (tmp_path / "out" / "light").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"video": ["mean", "own"], "seconds": 0.01}, r"two frames or more, got 0\.01 s"),
        ({"compare": "side"}, r"render\.compare only with path"),
        ({"path": "orbit", "against": "mean"}, r"render\.against only with render\.compare"),
        ({"path": "orbit", "normals": True}, r"either path=… or render\.video and render\.normals"),
    ],
)
def test_invalid_options_are_refused(options: dict, message: str):
    with pytest.raises(BadInput, match=message):
        Render(FIELD, HEAD, SEGMENTER, **options)


def test_an_unknown_view_of_the_video_is_refused(folders, tmp_path: Path):
    with pytest.raises(BadInput, match=r"render\.video_view to be a photo's name .*got 'nowhere'"):
        rendered(folders, tmp_path / "out", video=["own", "mean"], video_view="nowhere")


def test_the_content_of_an_appearance_photo_enters_the_fingerprint(tmp_path: Path):
    photo = tmp_path / "dusk.png"
    found = []
    for colour in ("red", "blue"):
        Image.new("RGB", (9, 9), colour).save(photo)
        options = {"_target_": "halonerf.stages.Render", "light": str(photo), "video": ["mean", str(photo)]}
        found.append(identity_of(options)["options"])
    assert found[0] != found[1]
    assert found[0]["light"] != found[1]["light"]
    assert found[0]["video"][1] != found[1]["video"][1]
