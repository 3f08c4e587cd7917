"""A film on disk: its frames one by one, so that a killed run keeps those that it made, then the film itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from halonerf.camera_paths.path import Sample
from halonerf.visualization.pictures import grid, save_picture
from halonerf.visualization.video import save_video

KINDS = ("mp4", "webm", "gif", "frames")
SHEET, COLUMNS = 12, 4  # frames on the contact sheet


@dataclass(frozen=True, eq=False)
class Film:
    """A film and how it is made.

    folder: of the artifact. stem: of the film's name. samples: its frames. draw: makes a picture, uint8 [H, W, 3], of
    each. kind: one of `KINDS`; "frames" keeps them as numbered pictures and makes no film.
    """

    folder: Path
    stem: str
    samples: Sequence[Sample]
    draw: Callable[[Sample], np.ndarray]
    fps: float
    kind: str

    @property
    def path(self) -> Path:
        """What is finished last: the film, or the last frame."""
        return self.folder / f"{self.stem}.{self.kind}" if self.kind != "frames" else self.frame(len(self.samples) - 1)

    def frame(self, number: int) -> Path:
        """Where a frame is, until it is in the film."""
        return self.folder / self.stem / f"{number:05d}.png"

    def items(self) -> list[tuple[str, int]]:
        """The work: every frame, and then, under the next number, what puts them together."""
        return [(self.stem, number) for number in range(len(self.samples) + 1)]

    def done(self, number: int) -> bool:
        """Whether an item is there; of a frame, also whether it is in the film."""
        if number < len(self.samples):
            return self.frame(number).is_file() or (self.kind != "frames" and self.path.is_file())
        left = self.kind != "frames" and (self.folder / self.stem).exists()
        return self.path.is_file() and (self.folder / f"{self.stem}.jpg").is_file() and not left

    def work(self, number: int) -> None:
        """Make a frame, or put all together."""
        if number == len(self.samples):
            self.finish()
            return
        self.frame(number).parent.mkdir(parents=True, exist_ok=True)
        save_picture(self.frame(number), self.draw(self.samples[number]))

    def finish(self) -> None:
        """Put the frames together, with a contact sheet besides; frames that are in a film are removed.

        What an earlier run did of this before it was killed is not done again.
        """
        sheet = self.folder / f"{self.stem}.jpg"
        if not sheet.is_file():
            chosen = sorted(
                {round(place) for place in np.linspace(0, len(self.samples) - 1, min(SHEET, len(self.samples)))}
            )
            pictures = [read_picture(self.frame(number)) for number in chosen]
            save_picture(sheet, grid([pictures[i : i + COLUMNS] for i in range(0, len(pictures), COLUMNS)]))
        if self.kind != "frames":
            if not self.path.is_file():
                save_video(self.path, _Frames([self.frame(number) for number in range(len(self.samples))]), self.fps)
            shutil.rmtree(self.folder / self.stem, ignore_errors=True)


@dataclass(frozen=True)
class _Frames:
    """Pictures read from disk one at a time, as often as somebody goes through them."""

    paths: Sequence[Path]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (read_picture(path) for path in self.paths)


def read_picture(path: Path) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return np.asarray(Image.open(path).convert("RGB"))
