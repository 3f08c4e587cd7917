"""A film on disk: numbered frames, from which a killed run resumes, then the encoded film."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from halonerf.camera_paths.path import Sample
from halonerf.visualization.pictures import grid, save_picture
from halonerf.visualization.video import StoredFrames, save_video

SHEET_FRAMES, SHEET_COLUMNS = 12, 4  # of the contact sheet


@dataclass(frozen=True, eq=False)
class Film:
    """A film and how it is made.

    folder: of the artifact. stem: of the film's name. samples: one per frame. draw: renders a sample, uint8 [H, W, 3].
    fps: frames per second. kind: "mp4", "webm", "gif" or "frames", which keeps numbered pictures and encodes no film.
    """

    folder: Path
    stem: str
    samples: Sequence[Sample]
    draw: Callable[[Sample], np.ndarray]
    fps: float
    kind: str

    @property
    def path(self) -> Path:
        """The file that is finished last: the film, or the last frame."""
        return self.folder / f"{self.stem}.{self.kind}" if self.kind != "frames" else self.frame(len(self.samples) - 1)

    def frame(self, number: int) -> Path:
        """The picture of a frame, which is kept until the film is encoded."""
        return self.folder / self.stem / f"{number:05d}.png"

    def items(self) -> list[tuple[str, int]]:
        """The work items: every frame, then, under the next number, encoding."""
        return [(self.stem, number) for number in range(len(self.samples) + 1)]

    def done(self, number: int) -> bool:
        """Whether a work item is done; a frame also when the film that contains it is encoded."""
        if number < len(self.samples):
            return self.frame(number).is_file() or (self.kind != "frames" and self.path.is_file())
        left = self.kind != "frames" and (self.folder / self.stem).exists()
        return self.path.is_file() and (self.folder / f"{self.stem}.jpg").is_file() and not left

    def process(self, number: int) -> None:
        """Render a frame, or encode the film."""
        if number == len(self.samples):
            self.finish()
            return
        self.frame(number).parent.mkdir(parents=True, exist_ok=True)
        save_picture(self.frame(number), self.draw(self.samples[number]))

    def finish(self) -> None:
        """Write the contact sheet, encode the film and remove its frames; steps that a killed run did are skipped."""
        sheet = self.folder / f"{self.stem}.jpg"
        if not sheet.is_file():
            count = min(SHEET_FRAMES, len(self.samples))
            chosen = sorted({round(place) for place in np.linspace(0, len(self.samples) - 1, count)})
            pictures = [read_picture(self.frame(number)) for number in chosen]
            rows = [pictures[i : i + SHEET_COLUMNS] for i in range(0, len(pictures), SHEET_COLUMNS)]
            save_picture(sheet, grid(rows))
        if self.kind != "frames":
            if not self.path.is_file():
                save_video(
                    self.path, StoredFrames([self.frame(number) for number in range(len(self.samples))]), self.fps
                )
            shutil.rmtree(self.folder / self.stem, ignore_errors=True)


def read_picture(path: Path) -> np.ndarray:
    """The pixels of a picture file, uint8 [H, W, 3]."""
    return np.asarray(Image.open(path).convert("RGB"))
