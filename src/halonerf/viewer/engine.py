"""The opened landmark that all windows look at: one at a time asks, recolours or renders."""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix, AppearanceSpec
from halonerf.errors import BadInput
from halonerf.queries.answer import QueryOptions
from halonerf.queries.connected_parts import ConnectedPart
from halonerf.queries.session import QuerySession
from halonerf.rendering.appearance import MEAN, appearance_code, at_working_size, resolve_appearance
from halonerf.rendering.surfels import most_important, open_splats
from halonerf.rendering.tiles import render_frame
from halonerf.rendering.times_of_day import photos_by_time_of_day
from halonerf.types import Rendering, Splats, View

REMEMBERED, LIGHTS = 64, 8  # words whose answers, and lights whose colours, are kept
BAKED = 48  # photos at most in whose views a field without Gaussians is baked
MOST_PARTS, BEST, SMALL = 12, 3, 64  # parts and photos of a word; px of its maps, which nobody looks at
TRIALS, QUICK_S = (64, 320), 0.3  # px, long sides; s from which the larger one is not tried
LONGEST = 200  # characters of a text
MOST_PIXELS = 100_000_000  # of a photo that is dropped in


@dataclass(frozen=True)
class Found:
    """What one text found. probability, confidence: [E] of the field's elements. best: photos, the first the best."""

    text: str
    probability: Tensor
    confidence: Tensor
    best: list[str]
    known: float  # share of the elements of which anything is known
    notes: list[str]
    seconds: float

    @property
    def strongest(self) -> float:
        """The highest probability anywhere."""
        return float(self.probability.max()) if len(self.probability) else 0.0


class Engine:
    """Everything that windows share. Its methods may be called from any thread; they wait for each other.

    Args:
        scene: the opened scene.
        memory_mb: MB that drawing a part of a frame may take.
        most_splats: Gaussians a browser draws at most, those with the largest opacity times area.
    """

    def __init__(self, scene: QuerySession, memory_mb: float = 512.0, most_splats: int = 100_000) -> None:
        self.scene, self.memory_mb = scene, memory_mb
        self._lock = threading.Lock()  # numba's threads, and a segmenter's, serve one caller at a time
        self._found: OrderedDict[str, Found] = OrderedDict()
        views = scene.data.views
        self.source = open_splats(scene.field, views[:: -(-len(views) // BAKED)], device=scene.device)
        every = self.source.splats()
        self._kept = most_important(every, most_splats)
        self.splats = Splats(**{field.name: getattr(every, field.name)[self._kept].cpu() for field in fields(Splats)})
        self.named = photos_by_time_of_day(scene.field, scene.data)
        self._coloured: OrderedDict[bytes, Tensor] = OrderedDict()
        self.pixels_per_s = self._speed(views[0])
        eyes = torch.stack([view.centre for view in views]).float().cpu()
        self.camera_size = _camera_size(eyes)
        self.middle = self.splats.centres.detach().cpu().median(dim=0).values  # [3], world units

    @property
    def photos(self) -> list[str]:
        """The names of the scene's photos."""
        return self.scene.data.names

    def photo(self, name: str) -> np.ndarray:
        """A photo at its working size, uint8 [H, W, 3]. Raises: ValueError for an unknown name."""
        return self.scene.data.photo(self.photos.index(name)).numpy()

    def distance(self, eye: Tensor) -> float:
        """How far the middle of the landmark is from `eye` [3], world units; never nothing."""
        return max(0.3, float(torch.linalg.vector_norm(eye.cpu().float() - self.middle)))

    @property
    def encodes(self) -> bool:
        """Whether a photo from elsewhere can lend its light."""
        return self.scene.field.encodes

    @torch.no_grad()
    def find(self, text: str) -> Found:
        """Where a word, or an expression of words, is.

        Raises: BadInput for what is no expression, or too long.
        """
        text = " ".join(text.split())
        if len(text) > LONGEST:
            raise BadInput(f"expected a text of at most {LONGEST} characters, got {len(text)}")
        with self._lock:
            if text not in self._found:
                answer = self.scene.query(text, most=0, views=BEST, size=SMALL)
                self._found[text] = Found(
                    answer.texts[0],
                    answer.probability[:, 0],
                    answer.confidence[:, 0],
                    [shown.photo for shown in answer.maps],
                    answer.known[0],
                    answer.notes,
                    answer.seconds["total"],
                )
                while len(self._found) > REMEMBERED:
                    self._found.popitem(last=False)
            self._found.move_to_end(text)
            return self._found[text]

    def parts(self, found: Found, threshold: float) -> list[ConnectedPart]:
        """Its parts from a probability on."""
        with self._lock:
            asked = QueryOptions(threshold=threshold, max_parts=MOST_PARTS)
            return self.scene.parts(found.probability, found.confidence, asked)

    def lights(self) -> list[str]:
        """Lights to choose among: the mean, those of the times of day, the photos'."""
        return [MEAN, *self.named, *self.photos]

    @torch.no_grad()
    def light(self, light: AppearanceSpec | AppearanceMix) -> Tensor:
        """The appearance code [A] of a light by name, a code, or a mix. Raises: BadInput for another; reads no file."""
        field, scene = self.scene.field, self.scene.data
        with self._lock:
            known = resolve_appearance(light, field, scene, "a light", files=False, times_of_day=self.named)
            return appearance_code(known, field, scene, 0).detach()

    @torch.no_grad()
    def encode(self, content: bytes) -> Tensor:
        """The light of a photo file: its code [A].

        Raises: BadInput where the field computes none, or the file is no photo of a bearable size.
        """
        if not self.encodes:
            raise BadInput("this field learnt the light of its own photos alone; fit one with field.codes=encoder")
        pixels = at_working_size(np.asarray(read_upload(content)), self.scene.data)
        with self._lock:
            return self.scene.field.encode(pixels.to(self.scene.device))

    @torch.no_grad()
    def colours(self, code: Tensor) -> Tensor:
        """The splats' colours [N, 3] in [0, 1] in a light [A]; those of the last few lights are remembered."""
        key = code.detach().cpu().float().numpy().tobytes()
        with self._lock:
            if key not in self._coloured:
                self._coloured[key] = self.source.splat_colours(code).detach().cpu()[self._kept.cpu()]
                while len(self._coloured) > LIGHTS:
                    self._coloured.popitem(last=False)
            self._coloured.move_to_end(key)
            return self._coloured[key]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else works with the field or the segmenter inside."""
        with self._lock:
            yield

    def render(self, view: View, code: Tensor, channels: Tensor | None = None) -> Rendering:
        """What the field itself shows; channels: [E, P]."""
        with self._lock:
            view = view.to(self.scene.device)
            return render_frame(self.scene.field, view, code, channels, memory_mb=self.memory_mb)

    def _speed(self, view: View) -> float:
        """Pixels a second of the field's pictures, measured on a small one, and on a larger one where that is quick."""
        rate = 0.0
        for size in TRIALS:
            small = view.with_long_side(size, least=16)
            started = time.perf_counter()
            self.render(small, self.scene.field.mean_appearance())
            seconds = time.perf_counter() - started
            rate = small.width * small.height / max(seconds, 1e-6)
            if seconds > QUICK_S:
                break
        return rate


def _camera_size(eyes: Tensor) -> float:
    """How large cameras at `eyes` [V, 3] are drawn, world units: they hardly overlap."""
    if len(eyes) < 2:
        return 0.05
    away = torch.cdist(eyes, eyes).fill_diagonal_(torch.inf).amin(dim=1)
    return float((0.25 * away.median()).clamp(0.01, 0.06))


def read_upload(content: bytes) -> Image.Image:
    """A photo out of a file from anybody: upright, RGB.

    Raises: BadInput where it is none, or has more than a hundred million pixels.
    """
    try:
        photo = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP", "TIFF", "BMP"))
        if photo.width * photo.height > MOST_PIXELS:
            raise BadInput(f"expected a photo of at most {MOST_PIXELS:,} pixels, got {photo.width} x {photo.height}")
        return ImageOps.exif_transpose(photo).convert("RGB")
    except BadInput:
        raise
    except Exception as error:  # a decoder's complaint about a broken file may be of any kind
        raise BadInput(f"expected a photo (JPEG, PNG, WebP, TIFF, BMP), but it cannot be read: {error}") from error
