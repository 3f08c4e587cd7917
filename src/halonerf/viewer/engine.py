"""State that all windows share: the opened scene, cached results of texts, and one lock for field and segmenter."""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix, AppearanceSpec
from halonerf.errors import BadInput
from halonerf.picture_files import UnreadablePicture, load_picture, oriented, rgb_pixels, shown_size
from halonerf.queries.connected_parts import ConnectedPart, PartOptions
from halonerf.queries.session import QuerySession
from halonerf.rendering.appearance import appearance_code, at_working_size, resolve_appearance
from halonerf.rendering.surfels import most_important, open_splats
from halonerf.rendering.tiles import render_frame
from halonerf.rendering.times_of_day import photos_by_time_of_day
from halonerf.thresholds import Decision
from halonerf.types import Rendering, View

CACHED_TEXTS, CACHED_COLOURS = 64, 8  # texts whose results, and appearance codes whose splat colours, are kept
MAX_BAKED_VIEWS = 48  # views from which a field without Gaussians is baked
BEST_PHOTOS, MAP_SIZE = 3, 64  # photos named per text; px, long side of a query's maps, which the window does not use
TRIAL_SIZES, MAX_TRIAL_S = (64, 320), 0.3  # px, long sides of timed renderings; no larger one after one this slow
MAX_TEXT_CHARS = 200
MAX_UPLOAD_PIXELS = 100_000_000
UPLOAD_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")


@dataclass(frozen=True)
class TextResult:
    """Where one text is, in the elements of the field.

    text: normalised. probability, confidence: [E]; confidence 0 is unknown. photos: names of those that show most of
    it, the best first. known: share of the elements with a confidence. decision: its threshold, and whether it is a
    guess. notes: remarks for the user. seconds: taken.
    """

    text: str
    probability: Tensor
    confidence: Tensor
    photos: list[str]
    known: float
    decision: Decision
    notes: list[str]
    seconds: float

    def read_at(self, threshold: float | None) -> Decision:
        """How the result is read at a threshold; None: at its own."""
        return self.decision if threshold is None else Decision(threshold, self.decision.highest, given=True)


class Engine:
    """Everything that windows share. Its methods may be called from any thread; calls wait for each other.

    Args:
        session: the opened scene.
        parts: how the connected parts of a text are found.
        concepts: the scene's list of concepts, whose positions decide their colours.
        memory_mb: MB that rendering a part of a frame may take.
        max_splats: Gaussians that a browser draws at most, those with the largest opacity times area.

    Attributes:
        taught: asked before the segmenter for the result of a text; None where no word of it was taught.
    """

    def __init__(
        self,
        session: QuerySession,
        parts: PartOptions,
        concepts: Sequence[str] = (),
        memory_mb: float = 512.0,
        max_splats: int = 100_000,
    ) -> None:
        self.session, self.field, self.scene = session, session.field, session.data
        self.part_options, self.concepts, self.memory_mb = parts, list(concepts), memory_mb
        self._lock = threading.Lock()  # numba's threads, and a segmenter's, serve one caller at a time
        self._results: OrderedDict[str, TextResult] = OrderedDict()
        self.taught: Callable[[str], TextResult | None] = lambda text: None
        views = self.scene.views
        self._source = open_splats(self.field, views[:: -(-len(views) // MAX_BAKED_VIEWS)], device=session.device)
        splats = self._source.splats()
        self._kept = most_important(splats, max_splats)
        self.splats_of_field = len(splats)
        self.splats = splats[self._kept].to("cpu")
        self.times_of_day = photos_by_time_of_day(self.field, self.scene)
        self._colours: OrderedDict[bytes, Tensor] = OrderedDict()
        self.pixels_per_s = self._measure_speed(views[0])

    @property
    def is_drawn_whole(self) -> bool:
        """Whether `splats` are all that the field has, and not surfels or a part of it."""
        return self._source is self.field and len(self.splats) == self.splats_of_field

    @property
    def photos(self) -> list[str]:
        """The names of the scene's photos."""
        return self.scene.names

    @property
    def encodes(self) -> bool:
        """Whether the field computes appearance codes from photos."""
        return self.field.encodes

    @torch.no_grad()
    def find(self, text: str, progress: Callable[[float], None] | None = None) -> TextResult:
        """Probability and confidence of a word or an expression in all elements; results are cached.

        progress: see `QuerySession.query`.

        Raises: BadInput for a text that is no expression, or longer than `MAX_TEXT_CHARS`.
        """
        text = " ".join(text.split())
        if len(text) > MAX_TEXT_CHARS:
            raise BadInput(f"expected a text of at most {MAX_TEXT_CHARS} characters, got {len(text)}")
        if (taught := self.taught(text)) is not None:
            return taught
        with self._lock:
            if text not in self._results:
                answer = self.session.query(text, progress, max_parts=0, views=BEST_PHOTOS, size=MAP_SIZE)
                self._results[text] = TextResult(
                    answer.texts[0],
                    answer.probability[:, 0],
                    answer.confidence[:, 0],
                    [rendered.photo for rendered in answer.maps],
                    answer.known[0],
                    answer.decisions[0],
                    answer.notes,
                    answer.seconds["total"],
                )
                while len(self._results) > CACHED_TEXTS:
                    self._results.popitem(last=False)
            self._results.move_to_end(text)
            return self._results[text]

    def parts(self, result: TextResult, threshold: float | None = None) -> list[ConnectedPart]:
        """Connected parts of the elements that reach `threshold`, largest first; None: the text's own threshold."""
        with self._lock:
            decision = result.read_at(threshold)
            return self.session.parts(result.probability, result.confidence, decision, self.part_options)

    @torch.no_grad()
    def light(self, light: AppearanceSpec | AppearanceMix) -> Tensor:
        """The appearance code [A] of a light's name, a code, or a mix. Reads no file.

        Raises: BadInput for anything else.
        """
        with self._lock:
            known = resolve_appearance(
                light, self.field, self.scene, "a light", files=False, times_of_day=self.times_of_day
            )
            return appearance_code(known, self.field, self.scene, 0).detach()

    @torch.no_grad()
    def encode(self, content: bytes) -> Tensor:
        """The appearance code [A] of an uploaded photo.

        Raises: BadInput where the field computes none from photos, or for the reasons of `read_upload`.
        """
        if not self.encodes:
            raise BadInput(
                "expected a field that computes appearance codes from photos; this one has codes of its photos only.\n"
                "Fit one with: field.codes=encoder"
            )
        pixels = at_working_size(np.asarray(read_upload(content)), self.scene)
        with self._lock:
            return self.field.encode(pixels.to(self.session.device))

    @torch.no_grad()
    def colours(self, code: Tensor) -> Tensor:
        """Colours of `splats` for an appearance code [A], [N, 3] in [0, 1]; those of the last few codes are cached."""
        key = code.detach().cpu().float().numpy().tobytes()
        with self._lock:
            if key not in self._colours:
                self._colours[key] = self._source.splat_colours(code).detach().cpu()[self._kept.cpu()]
                while len(self._colours) > CACHED_COLOURS:
                    self._colours.popitem(last=False)
            self._colours.move_to_end(key)
            return self._colours[key]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock, so that no other window uses the field or the segmenter inside."""
        with self._lock:
            yield

    def render(self, view: View, code: Tensor, channels: Tensor | None = None) -> Rendering:
        """Render the field, see `halonerf.protocols.RadianceField.render`. code: [A]. channels: [E, P]."""
        with self._lock:
            view = view.to(self.session.device)
            return render_frame(self.field, view, code, channels, memory_mb=self.memory_mb)

    def _measure_speed(self, view: View) -> float:
        """Pixels per second of renderings, timed on a small one and, where that is quick, on a larger one."""
        rate = 0.0
        for size in TRIAL_SIZES:
            small = view.with_long_side(size, min_side=16)
            start = time.perf_counter()
            self.render(small, self.field.mean_appearance())
            seconds = time.perf_counter() - start
            rate = small.width * small.height / max(seconds, 1e-6)
            if seconds > MAX_TRIAL_S:
                break
        return rate


def read_upload(content: bytes) -> Image.Image:
    """Decode an uploaded photo file: upright, RGB.

    Raises: BadInput where it cannot be decoded, or has more than `MAX_UPLOAD_PIXELS` pixels.
    """
    try:
        width, height = shown_size(io.BytesIO(content), UPLOAD_FORMATS)
        if width * height > MAX_UPLOAD_PIXELS:
            raise BadInput(f"expected a photo of at most {MAX_UPLOAD_PIXELS:,} pixels, got {width} x {height}")
        picture, orientation = load_picture(io.BytesIO(content), UPLOAD_FORMATS)
        return Image.fromarray(oriented(rgb_pixels(picture), orientation))
    except UnreadablePicture as error:
        raise BadInput(f"expected a photo (JPEG, PNG, WebP, TIFF, BMP), but it cannot be read: {error}") from error
