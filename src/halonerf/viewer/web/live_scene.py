"""The scene as the live page sees it: facts, bytes of splats, lights and words, photos, pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from halonerf.data.collection import Collection
from halonerf.page.lights import sky_colours
from halonerf.page.packing import PackedArrays, median_confidence, pack_splats, word_values
from halonerf.page.photos import captions_of, describe_photos, landmark_of, read_credits, reduced_jpeg
from halonerf.page.words import describe_parts, overview
from halonerf.viewer.engine import Engine
from halonerf.viewer.web.light_table import LightTable
from halonerf.viewer.web.models import LitScene, Part, Photo, Question, Rendering, SceneFacts, Word
from halonerf.viewer.web.pictures import PictureMaker
from halonerf.viewer.web.progress import ProgressBoard
from halonerf.visualization.palette import hex_colour, palette_colour
from halonerf.visualization.pictures import to_uint8

PALETTE = 64  # colours for words that are not concepts
REFERENCE_WORDS = 4  # concepts whose confidence sets the scale
KEPT_THUMBNAILS = 1024  # some 5 kB each
MAP_SIZE = 640  # px, long side of maps of words in photos: finer ones show no more of the Gaussians


class LiveScene:
    """What the routes serve. Its methods may be called from any thread.

    Args:
        engine: the opened scene.
        folder: where pictures, films, paths, notes, annotations and masks are kept.
        initial_words: texts that every window finds at its start.
        still_size: px, long side at most of the field's picture of the resting camera; 0: none.
        picture_size: px, long side of pictures and films at most.
        thumbnail: px, long side of small pictures.

    Attributes:
        board: messages to all windows. lights: of the page.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        initial_words: Sequence[str] = (),
        still_size: int = 960,
        picture_size: int = 3840,
        thumbnail: int = 240,
    ) -> None:
        self.engine, self.folder, self.initial_words = engine, folder, list(initial_words)
        self.still_size, self.picture_size, self.thumbnail = still_size, picture_size, thumbnail
        self.scene, self.board, self.lights = engine.scene, ProgressBoard(), LightTable(engine)
        self._pictures = PictureMaker(engine, self.lights, picture_size)
        collected = engine.session.inputs.get("collect")
        collection = Collection.read(collected) if collected else None
        self.title = landmark_of(collection) if collection else self.scene.name
        captions = captions_of(collection) if collection else {}
        self.credits = read_credits(collected, self.scene.names) if collected else []
        described = describe_photos(self.scene, range(len(self.scene)), captions)
        self.photos = [Photo(**{**photo, **_paths(number)}) for number, photo in enumerate(described)]
        self._small_picture = lru_cache(KEPT_THUMBNAILS)(self._reduced)

    @property
    def facts(self) -> SceneFacts:
        """Facts of the scene, with the lights that were uploaded so far."""
        concepts, engine = self.engine.concepts, self.engine
        return SceneFacts(
            title=self.title,
            registered=len(self.scene),
            splats=len(engine.splats),
            of=engine.splats_of_field,
            home=self._home,
            up=[round(value, 6) for value in self.scene.up.tolist()],
            photos=self.photos,
            credits=self.credits,
            lights=[self._first_light, *self.lights.all()[1:]],
            examples=concepts,
            initial_words=self.initial_words,
            palette=[hex_colour(palette_colour(len(concepts) + number)) for number in range(PALETTE)],
            still_size=self.still_size,
            picture_size=self.picture_size,
            pixels_per_s=round(engine.pixels_per_s),
            encodes=engine.encodes,
            **self._packed[1],
        )

    @cached_property
    def _home(self) -> int:
        """The position of the photo that shows most of the building."""
        views, seen = self.engine.session.visibility
        return views[overview(seen)]

    @cached_property
    def _first_light(self) -> LitScene:
        return self.light(0)

    @property
    def splats(self) -> bytes:
        """Geometry of the splats and their colours in the first light, as `facts.arrays` says."""
        return self._packed[0]

    @cached_property
    def _packed(self) -> tuple[bytes, dict]:
        packed, splats = PackedArrays(), self.engine.splats
        decoding = pack_splats(packed, splats, torch.arange(len(splats)))
        packed.add("colour/0", self.colours(0))
        return packed.to_bytes(), {**decoding, "arrays": packed.table}

    # --- lights

    def colours(self, number: int) -> np.ndarray:
        """Colours of the splats in a light, uint8 [N, 3]."""
        return to_uint8(self.engine.colours(self.lights.code(number)))

    def light(self, number: int) -> LitScene:
        """A light with its sky, rendered from some of the photos' views."""
        code, views = self.lights.code(number), [self.scene.views[view] for view in self.engine.session.visibility[0]]
        with self.engine.exclusive():
            device = self.engine.session.device
            sky = sky_colours(self.engine.field, [view.to(device) for view in views], self.scene.up, code)
        return LitScene(**{**self.lights[number].model_dump(), "sky": sky})

    # --- photos

    def picture(self, number: int) -> bytes:
        """A photo at its working size, JPEG."""
        pixels = self.scene.photo(number).numpy()
        return reduced_jpeg(pixels, max(pixels.shape))

    def small_picture(self, number: int) -> bytes:
        """A small photo, JPEG."""
        return self._small_picture(number)

    def _reduced(self, number: int) -> bytes:
        return reduced_jpeg(self.scene.photo(number).numpy(), self.thumbnail)

    # --- words

    def word(self, question: Question, progress: Callable[[float], None] | None = None) -> Word:
        """Find a text. progress: called with the share of the photos in which it has been looked for.

        Raises: BadInput for a text that is no expression of words.
        """
        found = self.engine.find(question.text, progress)
        concepts = self.engine.concepts
        parts = self.engine.parts(found, question.threshold)
        return Word(
            text=found.text,
            colour=hex_colour(palette_colour(concepts.index(found.text))) if found.text in concepts else None,
            known=found.known,
            threshold=found.decision.threshold,
            guess=found.decision.guess,
            notes=found.notes,
            parts=[Part(**part) for part in describe_parts(parts, range(len(self.scene)))],
            photos=[self.engine.photos.index(name) for name in found.photos],
            seconds=found.seconds,
        )

    def part_rows(self, text: str, threshold: float | None, metres_per_unit: float | None) -> list[dict[str, Any]]:
        """The parts of a text from a threshold on (None: its own), see `QuerySession.describe_parts`."""
        found, engine = self.engine.find(text), self.engine
        parts = engine.parts(found, threshold)
        return engine.session.describe_parts(found.text, parts, engine.part_options.part_radius, metres_per_unit)

    def word_bytes(self, text: str) -> bytes:
        """Probability of all splats, then confidence of all splats, a byte each."""
        found = self.engine.find(text)
        element = self.engine.splats.element
        median = self._median or median_confidence([found.confidence])
        values = word_values(found.probability[element], found.confidence[element], median)
        return b"".join(part.tobytes() for part in values)

    def word_map(self, text: str, photo: int) -> bytes:
        """Probability of a text in a photo, 255 is certain, a grey PNG of at most `MAP_SIZE` px on its long side."""
        return self._pictures.map(self.scene.views[photo].within(MAP_SIZE), text)

    @cached_property
    def _median(self) -> float | None:
        """Median of the confidence of some concepts, so that those of all words compare; None without concepts."""
        found = [self.engine.find(concept).confidence for concept in self.engine.concepts[:REFERENCE_WORDS]]
        return median_confidence(found) if found else None

    # --- pictures

    def render(self, wanted: Rendering) -> bytes:
        """A picture of the field, PNG. Raises: BadInput for the reasons of `PictureMaker.png`."""
        return self._pictures.png(wanted, self._median or 1.0)


def _paths(number: int) -> dict[str, str]:
    return {"thumbnail": f"api/photos/{number}/thumbnail", "picture": f"api/photos/{number}/picture"}
