"""Films read back by other tools: frames, rates, sizes, lengths and colours of MP4, WebM and GIF."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from halonerf.errors import BadInput, MissingExtra
from halonerf.visualization.video import save_video

KINDS = ("mp4", "webm", "gif")
CODECS = {"mp4": "h264", "webm": "vp9", "gif": "gif"}
# Measured 1.9, 2.1 and 1.8 of 255: colours at half the resolution, or 256 colours for all frames.
CLOSE = {"mp4": 4.0, "webm": 4.0, "gif": 4.0}


def moving(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """A bright square that wanders over a ramp of colours."""
    frames = []
    for number in range(count):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[..., 0] = np.linspace(40, 200, width)
        frame[..., 2] = np.linspace(180, 60, height)[:, None]
        frame[8:24, 2 * number : 2 * number + 16] = (230, 200, 40)
        frames.append(frame)
    return frames


def read(path: Path) -> np.ndarray:
    """Every frame, float [T, H, W, 3] in [0, 255], by PyAV."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(float)


@pytest.mark.parametrize("kind", KINDS)
def test_decoded_frames_equal_the_encoded_ones(tmp_path: Path, kind: str):
    given = moving(20)
    save_video(tmp_path / f"film.{kind}", given, 25)
    found = read(tmp_path / f"film.{kind}")
    assert found.shape == (20, 48, 64, 3)
    errors = np.abs(found - np.stack(given)).mean(axis=(1, 2, 3))
    assert errors.max() < CLOSE[kind]
    assert [p.name for p in tmp_path.iterdir()] == [f"film.{kind}"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fps", [5, 12.5, 25, 29.97])
def test_ffprobe_finds_rate_and_length(tmp_path: Path, kind: str, fps: float):
    if not shutil.which("ffprobe"):
        pytest.skip("needs ffprobe, of FFmpeg")
    save_video(tmp_path / f"film.{kind}", iter(moving(10)) if kind != "gif" else moving(10), fps)
    entries = "stream=codec_name,width,height,nb_read_frames,r_frame_rate,color_space:format=duration"
    command = ["ffprobe", "-v", "error", "-count_frames", "-of", "json", "-show_entries", entries]
    found = json.loads(subprocess.check_output([*command, str(tmp_path / f"film.{kind}")], timeout=60))
    stream = found["streams"][0]
    assert (stream["codec_name"], stream["width"], stream["height"]) == (CODECS[kind], 64, 48)
    assert int(stream["nb_read_frames"]) == 10
    # Times are whole milliseconds in WebM, hundredths of a second in a GIF.
    assert float(found["format"]["duration"]) == pytest.approx(10 / fps, abs=0.02)
    if kind != "gif":
        assert stream["color_space"] == "bt709"


def test_a_gif_plays_for_ever_and_keeps_time(tmp_path: Path):
    save_video(tmp_path / "film.gif", moving(12), 30)
    with Image.open(tmp_path / "film.gif") as picture:
        assert picture.info["loop"] == 0
        lengths = []
        for number in range(picture.n_frames):
            picture.seek(number)
            lengths.append(picture.info["duration"])
    assert sum(lengths) == pytest.approx(400, abs=10)  # ms, although a frame of 33.3 ms is 30 or 40 there
    assert set(lengths) <= {30, 40}


def test_a_gif_keeps_equal_frames(tmp_path: Path):
    save_video(tmp_path / "film.gif", [moving(1)[0]] * 5, 10)
    found = read(tmp_path / "film.gif")
    assert len(found) == 5
    assert np.abs(found - found[0]).max() == 0


def test_an_mp4_has_its_index_first(tmp_path: Path):
    save_video(tmp_path / "film.mp4", moving(5), 25)
    content = (tmp_path / "film.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_is_a_film(tmp_path: Path, kind: str):
    save_video(tmp_path / f"film.{kind}", moving(1), 25)
    assert read(tmp_path / f"film.{kind}").shape == (1, 48, 64, 3)


@pytest.mark.parametrize(("kind", "shape"), [("mp4", (16, 32)), ("webm", (16, 32)), ("gif", (17, 33))])
def test_odd_sizes_are_cropped_to_even_ones_in_mp4_and_webm(tmp_path: Path, kind: str, shape: tuple[int, int]):
    save_video(tmp_path / f"x.{kind}", [np.full((17, 33, 3), 99, np.uint8)] * 3, 25)
    assert read(tmp_path / f"x.{kind}").shape == (3, *shape, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_without_frames_is_refused(tmp_path: Path, kind: str):
    with pytest.raises(BadInput, match="at least one frame"):
        save_video(tmp_path / f"x.{kind}", [], 25)
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match=r"end in \.mp4, \.webm, \.gif, got x\.avi"):
        save_video(tmp_path / "x.avi", moving(1), 25)


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_an_interrupted_video_leaves_the_old_file(tmp_path: Path, kind: str):
    path = tmp_path / f"film.{kind}"
    path.write_bytes(b"old")

    def frames() -> Iterator[np.ndarray]:
        yield from moving(3)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        save_video(path, frames(), 25)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_encoder_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"pip install 'halonerf\[video\]'"):
        save_video(tmp_path / "x.mp4", [np.zeros((4, 4, 3), np.uint8)], 25)
