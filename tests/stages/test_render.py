"""The render stage on a made-up road: pictures, large pictures in parts, lights, and a video without jumps."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from made_road import run_stage, write_road
from PIL import Image

from halonerf.data.scenes import Scene
from halonerf.errors import BadInput, MissingExtra
from halonerf.fields.gaussians import Gaussians
from halonerf.heads.lifted import Lifted
from halonerf.stages.lights import blended, light_of
from halonerf.stages.plan import identity_of
from halonerf.stages.render import Render
from halonerf.video import save_video

CODE = 4
HEAD = {"_target_": "halonerf.heads.lifted.Lifted"}
FIELD = {"_target_": "halonerf.fields.gaussians.Gaussians", "code_size": CODE}


class Mirror(Gaussians):
    """Gaussians whose light is computed from a photo: its mean colour, and nothing else."""

    encodes = True

    def encode(self, photo: torch.Tensor) -> torch.Tensor:
        assert photo.max() <= 1
        assert max(photo.shape[:2]) <= 64
        return torch.cat([photo.mean(dim=(0, 1)), photo.new_zeros(CODE - 3)])


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A road with a field whose photos were taken in very different light."""
    road = write_road(tmp_path / "road")
    scene = Scene(road["ingest"])
    field = Gaussians(code_size=CODE)
    field.initialise(scene.points, scene.colours, [n for i, n in enumerate(scene.names) if i], seed=0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        field.codes.table.copy_(3 * torch.randn(field.codes.table.shape, generator=random))
        field.opacity_logits += 4
        field.log_scales += 0.5
        for parameter in field.light.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=random)
    field.save(road["reconstruct"] / "field.safetensors")
    head = Lifted()
    views = [v.cropped(0, 0, v.width, v.height) for v in scene.views]
    maps = [torch.rand(v.height, v.width, 2, generator=random) for v in views]
    head.fit(field, views, maps, [torch.ones_like(m) for m in maps])
    head.save(road["localize"] / "head.safetensors")
    return road


def rendered(folders: dict[str, Path], out: Path, field: dict = FIELD, **options) -> Path:
    run_stage(Render(field, HEAD, **options), out, folders)
    return out


def frames_of(path: Path) -> np.ndarray:
    """Every frame of a video, float [T, H, W, 3] in [0, 255]."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(float)


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_every_view_gets_its_pictures(folders, tmp_path: Path):
    out = rendered(folders, tmp_path / "out", normals=True)
    for kind in ("colour", "depth", "normals", "concepts/window", "concepts/dome"):
        assert len(list((out / kind).iterdir())) == 4
        assert picture(out / kind / "00002.png").shape == (48, 64, 3)
    assert (out / "sheet.jpg").is_file()
    assert not (out / "light.mp4").exists()


def test_normals_are_drawn_only_where_wanted(folders, tmp_path: Path):
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


def test_the_light_can_be_chosen(folders, tmp_path: Path):
    names = Scene(folders["ingest"]).names
    shown = {
        light: picture(rendered(folders, tmp_path / str(i), light=light) / "colour" / "00003.png")
        for i, light in enumerate(("own", "mean", names[3], names[1]))
    }
    assert np.array_equal(shown["own"], shown[names[3]])
    assert np.abs(shown["own"] - shown["mean"]).mean() > 2
    assert np.abs(shown["own"] - shown[names[1]]).mean() > 2


def test_light_is_computed_from_any_photo_by_a_field_that_encodes(folders, tmp_path: Path):
    Image.new("RGB", (400, 300), (255, 51, 0)).save(tmp_path / "dusk.png")
    scene = Scene(folders["ingest"])
    field = Mirror(code_size=CODE)
    field.load(folders["reconstruct"] / "field.safetensors")
    code = light_of(str(tmp_path / "dusk.png"), field, scene, view=2)
    torch.testing.assert_close(code, torch.tensor([1.0, 0.2, 0.0, 0.0]))
    assert torch.equal(light_of("own", field, scene, view=2), field.appearance(scene.names[2]))
    held_out = (scene.photo(0).float() / 255).mean(dim=(0, 1))
    torch.testing.assert_close(light_of("own", field, scene, view=0)[:3], held_out)
    mirror = {**FIELD, "_target_": f"{__name__}.Mirror"}
    out = rendered(folders, tmp_path / "out", mirror, light=str(tmp_path / "dusk.png"), views="test")
    assert (out / "colour" / "00000.png").is_file()


def test_a_field_that_learns_light_cannot_compute_it(folders, tmp_path: Path):
    Image.new("RGB", (40, 30)).save(tmp_path / "dusk.png")
    with pytest.raises(BadInput, match=r"render\.light=own[\s\S]*dusk\.png[\s\S]*field\.codes=encoder"):
        rendered(folders, tmp_path / "out", light=str(tmp_path / "dusk.png"))


def test_a_light_that_is_no_photo_is_refused(folders, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a photo")
    mirror = {**FIELD, "_target_": f"{__name__}.Mirror"}
    with pytest.raises(BadInput, match=r"expected a photo at .*notes\.txt"):
        rendered(folders, tmp_path / "out", mirror, light=str(tmp_path / "notes.txt"))
    with pytest.raises(BadInput, match=r"render\.video=own, mean, a photo's name such as .*got 'sunset'"):
        rendered(folders, tmp_path / "other", video=["mean", "sunset"])


def test_a_video_passes_from_light_to_light_without_a_jump(folders, tmp_path: Path):
    names = Scene(folders["ingest"]).names
    lights = [names[1], "mean", names[2]]
    out = rendered(
        folders,
        tmp_path / "out",
        views="test",
        video=lights,
        video_view=names[3],
        video_seconds=2,
        video_fps=20,
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


def test_codes_are_blended_in_straight_lines():
    codes = torch.tensor([[0.0, 1.0], [2.0, 1.0], [2.0, -3.0]])
    made = blended(codes, 9)
    torch.testing.assert_close(made[[0, 4, 8]], codes)
    torch.testing.assert_close(made[2], torch.tensor([1.0, 1.0]))
    assert torch.equal(blended(codes[:1], 3), codes[:1].expand(3, 2))
    # Equal times, not equal paths: no step is longer than the longest stretch by its number of frames.
    assert (made.diff(dim=0).norm(dim=1) <= 4 / 4 + 1e-6).all()


def test_a_stopped_run_does_not_repeat_the_video(folders, tmp_path: Path):
    stage = run_stage(
        Render(FIELD, HEAD, views="test", video=["own", "mean"], video_seconds=0.2), tmp_path / "out", folders, most=0
    )
    assert stage.items() == [0, "light.mp4"]
    assert not stage.done("light.mp4")
    stage.predict_step("light.mp4", 0)
    assert stage.done("light.mp4")
    assert not stage.done(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"video": ["mean"]}, r"two or more lights"),
        ({"video": "mean"}, r"two or more lights"),
        ({"video": ["mean", "own"], "video_seconds": 0.01}, r"two frames or more, got 0\.01 s"),
        ({"size": 3}, r"render\.size to be at least 16 px"),
        ({"views": "some"}, r"render\.views=all, train or test"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict, message: str):
    with pytest.raises(BadInput, match=message):
        Render(FIELD, HEAD, **options)


def test_a_view_of_the_video_that_is_not_there_is_refused(folders, tmp_path: Path):
    with pytest.raises(BadInput, match=r"render\.video_view to be a photo's name .*got 'nowhere'"):
        rendered(folders, tmp_path / "out", video=["own", "mean"], video_view="nowhere")


def test_a_missing_encoder_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"pip install 'halonerf\[video\]'"):
        save_video(tmp_path / "x.mp4", [np.zeros((4, 4, 3), np.uint8)], 25)


def test_a_video_without_frames_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="at least one frame"):
        save_video(tmp_path / "x.mp4", [], 25)
    assert not (tmp_path / "x.mp4").exists()


def test_odd_sizes_are_made_even(tmp_path: Path):
    save_video(tmp_path / "x.mp4", [np.full((17, 33, 3), 99, np.uint8)] * 3, 25)
    assert frames_of(tmp_path / "x.mp4").shape == (3, 16, 32, 3)


def test_the_contents_of_a_lights_photo_enter_the_fingerprint(tmp_path: Path):
    photo = tmp_path / "dusk.png"
    found = []
    for colour in ("red", "blue"):
        Image.new("RGB", (9, 9), colour).save(photo)
        found.append([identity_of({"light": str(photo), "video": ["mean", str(photo)]})])
    assert found[0] != found[1]
    assert found[0][0]["light"] != found[1][0]["light"]
    assert found[0][0]["video"][1] != found[1][0]["video"][1]
