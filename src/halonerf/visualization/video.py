"""Video files from frames: H.264 in MP4, which every player reads, VP9 in WebM, and GIF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from halonerf.errors import BadInput, require

# Nearly lossless, with a single intra frame: each further one is coded independently, so slow changes would pulse.
H264 = {"crf": "16", "g": "100000", "preset": "fast"}
VP9 = {"crf": "24", "b": "0", "g": "100000", "deadline": "good", "cpu-used": "4", "row-mt": "1", "auto-alt-ref": "1"}
FAST_START = {"movflags": "+faststart"}  # a browser plays an MP4 while it still loads
BT709 = 1  # FFmpeg's number of the HDTV colour space; players take small untagged videos for BT.601
PALETTE = "palettegen=stats_mode=full"  # one palette for all frames: a changing one flickers
DITHER = "paletteuse=dither=bayer:bayer_scale=3:diff_mode=rectangle"  # a fixed pattern: noise compresses badly


def save_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Atomically write a video file.

    Args:
        path: ends in `.mp4`, `.webm` or `.gif`.
        frames: uint8 [H, W, 3], all of one size; MP4 and WebM drop the last row or column of odd sizes. For a GIF they
            are iterated twice, so an iterator is not enough.
        fps: frames per second; a GIF's frames last whole hundredths of a second, so 25 is exact and 30 is not.

    Raises: MissingExtra without PyAV; BadInput without frames, or for another ending.
    """
    require("av", "video")
    import av

    writers: dict[str, Callable[..., bool]] = {".mp4": _write_mp4, ".webm": _write_webm, ".gif": _write_gif}
    if path.suffix not in writers:
        raise BadInput(f"expected a video's name to end in {', '.join(writers)}, got {path.name}")
    partial = path.with_suffix(f".partial{path.suffix}")
    try:
        with av.open(str(partial), "w", options=FAST_START if path.suffix == ".mp4" else {}) as file:
            written = writers[path.suffix](file, frames, Fraction(fps).limit_denominator(1001))
        if not written:
            raise BadInput(f"expected at least one frame for {path}, got none")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class StoredFrames:
    """Pictures read from disk one at a time; may be iterated several times."""

    paths: Sequence[Path]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (np.asarray(Image.open(path).convert("RGB")) for path in self.paths)


def _write_mp4(file: Any, frames: Iterable[np.ndarray], rate: Fraction) -> bool:
    return _write_even(file, frames, rate, "libx264", H264)


def _write_webm(file: Any, frames: Iterable[np.ndarray], rate: Fraction) -> bool:
    return _write_even(file, frames, rate, "libvpx-vp9", VP9)


def _write_even(file: Any, frames: Iterable[np.ndarray], rate: Fraction, codec: str, options: dict[str, str]) -> bool:
    """Encode frames, cropped to an even size, in YUV 4:2:0; whether there were any."""
    import av
    from av.video.reformatter import Colorspace

    stream = None
    for picture in frames:
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        if stream is None:
            stream = file.add_stream(codec, rate=rate, options=dict(options))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
            stream.codec_context.color_trc = BT709
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        file.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
    if stream is not None:
        file.mux(stream.encode())
    return stream is not None


def _write_gif(file: Any, frames: Iterable[np.ndarray], rate: Fraction) -> bool:
    assert not isinstance(frames, Iterator), "a GIF's frames are iterated twice"
    palette = list(_filtered(frames, rate, PALETTE))  # one picture of 256 colours, after the last frame
    stream = None
    for frame in _filtered(frames, rate, DITHER, *palette):
        if stream is None:
            stream = file.add_stream("gif", rate=rate)
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "pal8"
        file.mux(stream.encode(frame))
    if stream is not None:
        file.mux(stream.encode())
    return stream is not None


def _filtered(frames: Iterable[np.ndarray], rate: Fraction, chain: str, second: Any = None) -> Iterator[Any]:
    """Output frames of an FFmpeg filter. chain: filter with its options. second: one picture as its second input."""
    import av

    graph: Any = None
    for number, picture in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = number, 1 / rate
        if graph is None:
            graph = av.filter.Graph()
            buffer = graph.add_buffer(width=frame.width, height=frame.height, format="rgb24", time_base=1 / rate)
            filtering, sink = graph.add(*chain.split("=", 1)), graph.add("buffersink")
            buffer.link_to(filtering, 0, 0)
            if second is not None:
                other = graph.add_buffer(
                    width=second.width, height=second.height, format=second.format.name, time_base=1 / rate
                )
                other.link_to(filtering, 0, 1)
            filtering.link_to(sink)
            graph.configure()
            if second is not None:
                second.pts, second.time_base = 0, 1 / rate
                other.push(second)
                other.push(None)
        buffer.push(frame)
        yield from _ready(sink)
    if graph is not None:
        buffer.push(None)
        yield from _ready(sink)


def _ready(sink: Any) -> Iterator[Any]:
    import av

    while True:
        try:
            yield sink.pull()
        except (BlockingIOError, av.error.EOFError):
            return
