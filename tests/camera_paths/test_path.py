"""Camera paths: smooth motion at the right times, interpolated appearances and words, validated JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from halonerf.camera_paths.path import CameraPath, KeyFrame, appearance_mix
from halonerf.camera_paths.validation import MAX_FILE_BYTES, MAX_KEYFRAMES
from halonerf.errors import BadInput, MissingArtifact
from halonerf.rotations import conjugate, exp, log, matrices, product, quaternions


def pose(place: tuple[float, float, float], turn: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """A camera at a place, turned by a rotation vector, radians."""
    rotation = matrices(exp(torch.tensor([turn], dtype=torch.float64)))[0]
    return torch.cat([rotation, torch.tensor(place, dtype=torch.float64)[:, None]], dim=1).float()


def winding(loop: bool = False) -> CameraPath:
    """Four key-frames that turn and zoom, in unequal times."""
    keyframes = (
        KeyFrame(pose((0, 0, 0)), fov=0.5, light="mean", seconds=2.0),
        KeyFrame(pose((1, 0, 0.5), (0, 0.8, 0)), fov=1.0, light="day", words=("portal",), opacity=0.8, seconds=0.5),
        KeyFrame(pose((1, 2, 0), (0.2, 1.9, 0.3)), light={"day": 1, "night": 3}, words=("portal", "dome"), seconds=3.0),
        KeyFrame(pose((-1, 2, 1), (-0.5, 2.5, 0.1)), light=(0.25, -1.5), threshold=0.9, seconds=1.5),
    )
    return CameraPath(keyframes, loop, scene="made")


def velocity(path: CameraPath, time: float, step: float) -> tuple[Tensor, Tensor]:
    """Of the camera's place and, in its own frame, of its rotation, by a difference over `step` seconds."""
    a, b = path.at([time, time + step])
    turn = a.camera_to_world[:, :3].double().T @ b.camera_to_world[:, :3].double()
    moved = (b.camera_to_world - a.camera_to_world)[:, 3].double()
    return moved / step, log(quaternions(turn[None]))[0] / step


@pytest.mark.parametrize("loop", [False, True])
def test_key_frames_are_passed_at_their_times(loop: bool):
    path = winding(loop)
    assert path.duration == (7.0 if loop else 5.5)
    for key, time in zip(path.keyframes, (0.0, 2.0, 2.5, 5.5), strict=True):
        sample = path.at([time])[0]
        torch.testing.assert_close(sample.camera_to_world, key.camera_to_world, atol=1e-6, rtol=0)
        assert sample.fov == pytest.approx(key.fov, abs=1e-6)
        assert sample.light == pytest.approx(appearance_mix(key.light))
        assert sample.words == dict.fromkeys(key.words, key.opacity)
        assert sample.threshold == pytest.approx(key.threshold)


@pytest.mark.parametrize("loop", [False, True])
def test_positions_and_rotations_are_smooth(loop: bool):
    path = winding(loop)
    for time in (2.0, 2.5) if not loop else (0.0, 2.0, 2.5, 5.5):
        before = velocity(path, (time - 2e-3) % path.duration, 1e-3)
        after = velocity(path, time + 1e-3, 1e-3)
        for left, right in zip(before, after, strict=True):
            # Accelerations are up to 20 a second squared here, over 3 ms; single precision gives 1e-4 / 1e-3.
            torch.testing.assert_close(left, right, atol=0.2, rtol=0.05)
    if not loop:
        assert velocity(path, 0.0, 1e-3)[0].norm() < 0.02
        assert velocity(path, path.duration - 1e-3, 1e-3)[0].norm() < 0.02


def test_a_curve_does_not_overshoot_and_rests_between_equal_keys():
    places = [0.0, 0.01, 1.0, 1.0, 0.2]
    path = CameraPath(tuple(KeyFrame(pose((x, 0, 0)), seconds=1.0) for x in places))
    x = torch.tensor([float(s.camera_to_world[0, 3]) for s in path.at([k / 50 for k in range(201)])])
    assert x.min() > -1e-6
    assert x.max() < 1 + 1e-6
    assert (x[:101].diff() > -1e-6).all()
    assert (x[100:151] - 1).abs().max() < 1e-6


def test_a_rotation_takes_the_shorter_way():
    path = CameraPath((KeyFrame(pose((0, 0, 0), (0, 0.1, 0))), KeyFrame(pose((0, 0, 0), (0, 2 * math.pi - 0.1, 0)))))
    middle = path.at([1.0])[0].camera_to_world[:, :3]
    torch.testing.assert_close(middle, torch.eye(3), atol=1e-6, rtol=0)


def test_evenly_spaced_key_frames_give_constant_velocity():
    keys = [KeyFrame(pose((math.cos(a), math.sin(a), 0), (0, 0, a)), seconds=1.0) for a in (0.0, 0.5, 1.0, 1.5, 2.0)]
    speeds = [velocity(CameraPath(tuple(keys)), 1 + 0.25 * k, 0.01) for k in range(8)]
    for moved, turned in speeds:
        assert float(moved.norm()) == pytest.approx(0.5, rel=0.06)  # a parabola through three keys is no arc
        torch.testing.assert_close(turned, torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64), atol=0.01, rtol=0)


def test_a_loop_closes_without_repeating_a_frame():
    path = winding(loop=True)
    first, last = path.at([0.0, path.duration])
    torch.testing.assert_close(first.camera_to_world, last.camera_to_world, atol=1e-6, rtol=0)
    assert first.light == last.light
    samples = path.sample(10)
    assert len(samples) == 70
    assert samples[-1].seconds == pytest.approx(6.9)


def test_an_open_path_ends_on_its_last_key_frame():
    path = winding()
    samples = path.sample(8)
    assert len(samples) == 44
    assert torch.equal(samples[-1].camera_to_world, path.keyframes[-1].camera_to_world)
    assert samples[-1].seconds == 5.5


@pytest.mark.parametrize("loop", [False, True])
def test_one_key_frame_is_a_still_and_two_are_a_move(loop: bool):
    key = KeyFrame(pose((1, 2, 3)), seconds=1.5)
    still = CameraPath((key,), loop).sample(4)
    assert len(still) == 6
    assert all(torch.equal(s.camera_to_world, key.camera_to_world) and s.light == {"mean": 1.0} for s in still)
    move = CameraPath((key, KeyFrame(pose((2, 2, 3)), seconds=0.5)), loop)
    assert move.duration == (2.0 if loop else 1.5)
    assert all(s.camera_to_world.isfinite().all() for s in move.sample(30))


def test_appearances_and_word_opacities_are_interpolated_linearly():
    sample = winding().at([2.25])[0]
    assert sample.light == pytest.approx({"day": 0.625, "night": 0.375})
    assert sample.words == pytest.approx({"portal": 0.75, "dome": 0.35})
    for sample in winding(loop=True).sample(7):
        assert sum(sample.light.values()) == pytest.approx(1)
    fading = [s.words.get("portal", 0.0) for s in winding().at([0.0, 0.5, 1.0, 2.0])]
    assert fading == pytest.approx([0.0, 0.2, 0.4, 0.8])


def test_zooms_are_even_in_the_logarithm_of_the_focal_length():
    path = CameraPath((KeyFrame(pose((0, 0, 0)), fov=0.2), KeyFrame(pose((0, 0, 0)), fov=1.2)))
    middle = path.at([1.0])[0]
    assert math.tan(middle.fov / 2) == pytest.approx(math.sqrt(math.tan(0.1) * math.tan(0.6)))
    view = middle.view(320, 200)
    assert (view.width, view.height, view.cx, view.cy) == (320, 200, 160, 100)
    assert view.fy == view.fx == pytest.approx(100 / math.tan(middle.fov / 2))


def test_quaternions_equal_the_rotations_that_they_come_from():
    random = torch.Generator().manual_seed(0)
    turns = torch.randn(200, 3, generator=random, dtype=torch.float64)
    halves = torch.nn.functional.normalize(turns[:60], dim=1) * math.pi  # where the scalar part is nought
    q = exp(torch.cat([turns, halves, torch.zeros(1, 3, dtype=torch.float64)]))
    again = quaternions(matrices(q))
    torch.testing.assert_close((again * q).sum(dim=1).abs(), torch.ones(261, dtype=torch.float64))
    short = turns[turns.norm(dim=1) < 3]
    torch.testing.assert_close(log(exp(short)), short)
    torch.testing.assert_close(product(q, conjugate(q))[:, 0], torch.ones(261, dtype=torch.float64))


@pytest.mark.parametrize("loop", [False, True])
def test_json_round_trip_keeps_everything(tmp_path: Path, loop: bool):
    path = CameraPath(winding(loop).keyframes, loop, scene="Św. Jan", aspect=1.5)
    path.write(tmp_path / "ścieżka.json")
    again = CameraPath.read(tmp_path / "ścieżka.json")
    assert again.to_json() == path.to_json()
    assert (again.loop, again.scene, again.aspect) == (loop, "Św. Jan", 1.5)
    for a, b in zip(path.keyframes, again.keyframes, strict=True):
        assert torch.equal(a.camera_to_world, b.camera_to_world)
        assert {k: v for k, v in vars(a).items() if k != "camera_to_world"} == {
            k: v for k, v in vars(b).items() if k != "camera_to_world"
        }
    assert [p.name for p in tmp_path.iterdir()] == ["ścieżka.json"]


def test_a_path_can_be_written_by_hand():
    eye = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -2]]
    rounded = [[0.707, 0, 0.707, 0], [0, 1, 0, 0], [-0.707, 0, 0.707, 1]]
    path = CameraPath.from_json(json.dumps({"keyframes": [{"camera_to_world": m} for m in (eye, rounded)]}))
    assert path.words() == ()
    turned = path.keyframes[1].camera_to_world[:, :3]
    torch.testing.assert_close(turned @ turned.T, torch.eye(3), atol=1e-6, rtol=0)


EYE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
MIRROR = [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


def keyed(**options: object) -> str:
    return json.dumps({"keyframes": [{"camera_to_world": EYE, **options}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON"),
        ("[1, 2]", "list 'keyframes'"),
        ("[" * 100_000, "expected JSON"),
        ('{"keyframes": [], "keyframes": {}}', "list 'keyframes'"),
        ('{"keyframes": []}', "1 to 1000 key-frames, got 0"),
        (json.dumps({"keyframes": [0] * (MAX_KEYFRAMES + 1)}), "at most 1000 key-frames"),
        (json.dumps({"keyframes": [{}], "version": 7}), "another version"),
        (json.dumps({"keyframes": [{}], "kind": "film"}), "another kind"),
        (json.dumps({"keyframes": [{}], "camera": 1}), "got 'camera'"),
        (json.dumps({"keyframes": [{"camera_to_world": EYE}], "loop": 1}), "loop to be true or false"),
        (json.dumps({"keyframes": [{"camera_to_world": EYE}], "scene": 1}), "scene to be a name"),
        (json.dumps({"keyframes": [{"camera_to_world": EYE}], "aspect": 0}), "aspect to be a number"),
        (json.dumps({"keyframes": ["x"]}), "key-frame 0 with camera_to_world"),
        (keyed(zoom=1), "got the keys"),
        ('{"keyframes": [{"camera_to_world": [[NaN,0,0,0],[0,1,0,0],[0,0,1,0]]}]}', "NaN is not a number"),
        ('{"keyframes": [{"camera_to_world": [[1e999,0,0,0],[0,1,0,0],[0,0,1,0]]}]}', "got inf"),
        ('{"keyframes": [{"camera_to_world": [[1' + "0" * 5000 + ",0,0,0],[0,1,0,0],[0,0,1,0]]}]}", "expected"),
        (json.dumps({"keyframes": [{"camera_to_world": EYE[:2]}]}), "3 rows of 4 numbers"),
        (json.dumps({"keyframes": [{"camera_to_world": [[1, 0, 0, "0"], *EYE[1:]]}]}), "got '0'"),
        (json.dumps({"keyframes": [{"camera_to_world": [[2, 0, 0, 0], *EYE[1:]]}]}), "right-handed rotation"),
        (json.dumps({"keyframes": [{"camera_to_world": MIRROR}]}), "determinant of -1"),
        (json.dumps({"keyframes": [{"camera_to_world": [[1, 0, 0, 1e9], *EYE[1:]]}]}), "from -1e"),
        (keyed(fov=0), "fov"),
        (keyed(fov=3.2), "fov"),
        (keyed(fov=True), "fov"),
        (keyed(seconds=0), "seconds"),
        (keyed(seconds=1e9), "seconds"),
        (keyed(opacity=2), "opacity"),
        (keyed(threshold=None), "threshold"),
        (keyed(words="portal"), "list of at most 16 texts"),
        (keyed(words=["x"] * 17), "list of at most 16 texts"),
        (keyed(words=["x" * 501]), "1 to 500 characters"),
        (keyed(words=[{}]), "1 to 500 characters"),
        (keyed(light=7), "a light's name, a mix"),
        (keyed(light=""), "a light's name of 1 to 500"),
        (keyed(light={}), "a mix of 1 to 32"),
        (keyed(light={"day": 0}), "a weight above 0"),
        (keyed(light={"day": -1}), "a light's weight"),
        (keyed(light=[0.0] * 4097), "a light's name, a mix"),
        (keyed(light=[None]), "appearance code's entry"),
    ],
)
def test_invalid_json_is_refused(text: str, message: str):
    with pytest.raises(BadInput, match=message) as caught:
        CameraPath.from_json(text)
    assert len(str(caught.value)) < 600


def test_too_long_a_path_is_refused():
    with pytest.raises(BadInput, match="at most 14400 s"):
        CameraPath(tuple(KeyFrame(pose((0, 0, 0)), seconds=3600) for _ in range(6)))


def test_errors_of_a_file_name_the_file(tmp_path: Path):
    with pytest.raises(MissingArtifact, match=r"nowhere\.json[\s\S]*stage=explore"):
        CameraPath.read(tmp_path / "nowhere.json")
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\xff")
    with pytest.raises(BadInput, match=r"picture\.json is no camera path"):
        CameraPath.read(tmp_path / "picture.json")
    with open(tmp_path / "huge.json", "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(BadInput, match="at most 16000000 bytes"):
        CameraPath.read(tmp_path / "huge.json")
