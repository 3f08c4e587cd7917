"""Videos for people: H.264 in MP4, which everything plays."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from halonerf.errors import BadInput, MissingExtra

# Nearly lossless, and no key frame but the first: each key frame is coded anew, and a slow change would seem to pulse.
QUALITY = {"crf": "16", "g": "100000", "preset": "fast"}
BT709 = 1  # the colours of HDTV, as FFmpeg numbers them; players take untagged small videos for another kind


def save_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Atomically write frames, uint8 [H, W, 3] of one size, to an `.mp4`; odd sizes lose their last row or column.

    Raises: MissingExtra without PyAV; BadInput without frames.
    """
    try:
        import av
        from av.video.reformatter import Colorspace
    except ImportError as error:
        raise MissingExtra("av", "video") from error
    partial = path.with_suffix(".partial.mp4")
    stream = None
    with av.open(str(partial), "w") as file:
        for picture in frames:
            height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            if stream is None:
                stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=dict(QUALITY))
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
                stream.codec_context.color_trc = BT709
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        if stream is not None:
            file.mux(stream.encode())
    if stream is None:
        partial.unlink(missing_ok=True)
        raise BadInput(f"expected at least one frame for {path}, got none")
    partial.replace(path)
