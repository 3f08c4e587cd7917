"""Videos for people: MP4 with VP9, which browsers play and which needs no licence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from halonerf.errors import BadInput, MissingExtra


def save_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Atomically write frames, uint8 [H, W, 3] of one size, to an `.mp4`; odd sizes lose their last row or column.

    Raises: MissingExtra without OpenCV; BadInput where its build has no VP9 encoder, or without frames.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("opencv-python-headless", "video") from error
    partial = path.with_suffix(".partial.mp4")
    writer = None
    for frame in frames:
        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        if writer is None:
            writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"vp09"), fps, (width, height))
            if not writer.isOpened():
                raise BadInput(
                    f"expected an OpenCV that encodes VP9, got {cv2.__version__} without it.\n"
                    "Install the usual build: pip install --force-reinstall opencv-python-headless"
                )
        writer.write(np.ascontiguousarray(frame[:height, :width, ::-1]))
    if writer is None:
        raise BadInput(f"expected at least one frame for {path}, got none")
    writer.release()
    partial.replace(path)
