"""The scene as the live page sees it: facts, bytes of splats, lights and words, photos, renderings."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix
from halonerf.data.collection import Collection
from halonerf.errors import BadInput
from halonerf.lifting import known_channels, split_known
from halonerf.page.lights import sky_colours
from halonerf.page.packing import PackedArrays, median_confidence, pack_splats, word_values
from halonerf.page.photos import captions_of, describe_photos, landmark_of, read_credits, reduced_jpeg
from halonerf.page.words import describe_parts, overview
from halonerf.rendering.appearance import MEAN
from halonerf.types import View
from halonerf.viewer.engine import Engine, TextResult
from halonerf.viewer.web.models import Light, LitScene, Part, Photo, Question, Rendering, SceneFacts, Word
from halonerf.viewer.web.teaching import Teaching
from halonerf.visualization.overlays import highlight
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
        initial_words: texts that every window finds at its start.
        still_size: px, long side of renderings at most; 0: none are made.
        thumbnail: px, long side of small pictures.
        teaching: the words that people taught; None: none can be.
    """

    def __init__(
        self,
        engine: Engine,
        initial_words: Sequence[str],
        still_size: int,
        thumbnail: int,
        teaching: Teaching | None = None,
    ) -> None:
        self.engine, self.teaching, self.initial_words = engine, teaching, list(initial_words)
        self.still_size, self.thumbnail = still_size, thumbnail
        self.scene = engine.scene
        folder = engine.session.inputs.get("collect")
        collection = Collection.read(folder) if folder else None
        self.title = landmark_of(collection) if collection else self.scene.name
        captions = captions_of(collection) if collection else {}
        self.credits = read_credits(folder, self.scene.names) if folder else []
        described = describe_photos(self.scene, range(len(self.scene)), captions)
        self.photos = [Photo(**{**photo, **_paths(number)}) for number, photo in enumerate(described)]
        self.lights = self._name_lights()
        self._small_picture = lru_cache(KEPT_THUMBNAILS)(self._reduced)

    @cached_property
    def facts(self) -> SceneFacts:
        """Facts of the scene, computed once."""
        views, seen = self.engine.session.visibility
        concepts = self.engine.concepts
        return SceneFacts(
            title=self.title,
            registered=len(self.scene),
            splats=len(self.engine.splats),
            of=self.engine.splats_of_field,
            home=views[overview(seen)],
            up=[round(value, 6) for value in self.scene.up.tolist()],
            photos=self.photos,
            credits=self.credits,
            lights=[self.light(0), *self.lights[1:]],
            examples=concepts,
            initial_words=self.initial_words,
            palette=[hex_colour(palette_colour(len(concepts) + number)) for number in range(PALETTE)],
            still_size=self.still_size,
            **self._packed[1],
        )

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

    def _name_lights(self) -> list[Light]:
        """The mean, the times of day with the photo each comes from, and every photo's light."""
        times, names = self.engine.times_of_day, self.engine.photos
        lights = [Light(name="mean of all photos", photo=None)]
        lights += [Light(name=hour, photo=names.index(photo)) for hour, photo in times.items()]
        return lights + [Light(name=f"photo {name}", photo=number) for number, name in enumerate(names)]

    def code(self, number: int) -> Tensor:
        """The appearance code [A] of a light."""
        photo = self.lights[number].photo
        return self.engine.light(MEAN if photo is None else self.engine.photos[photo])

    def colours(self, number: int) -> np.ndarray:
        """Colours of the splats in a light, uint8 [N, 3]."""
        return to_uint8(self.engine.colours(self.code(number)))

    def light(self, number: int) -> LitScene:
        """A light with its sky, rendered from some of the photos' views."""
        code, views = self.code(number), [self.scene.views[view] for view in self.engine.session.visibility[0]]
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

    def find(self, text: str, progress: Callable[[float], None] | None = None) -> TextResult:
        """Where a text is, with what people taught; see `Engine.find`."""
        return (self.teaching or self.engine).find(text, progress)

    def word(self, question: Question, progress: Callable[[float], None] | None = None) -> Word:
        """Find a text. progress: called with the share of the photos in which it has been looked for.

        Raises: BadInput for a text that is no expression of words.
        """
        found = self.find(question.text, progress)
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

    def word_bytes(self, text: str) -> bytes:
        """Probability of all splats, then confidence of all splats, a byte each."""
        found = self.find(text)
        element = self.engine.splats.element
        median = self._median or median_confidence([found.confidence])
        values = word_values(found.probability[element], found.confidence[element], median)
        return b"".join(part.tobytes() for part in values)

    def word_map(self, text: str, photo: int) -> bytes:
        """Probability of a text in a photo, 255 is certain, a grey PNG of at most `MAP_SIZE` px on its long side."""
        view, code = self.scene.views[photo].within(MAP_SIZE), self.code(0)
        rendering = self.engine.render(view, code, _channels([self.find(text)]))
        return _png(split_known(rendering)[0][..., 0].cpu().numpy())

    @cached_property
    def _median(self) -> float | None:
        """Median of the confidence of some concepts, so that those of all words compare; None without concepts."""
        found = [self.engine.find(concept).confidence for concept in self.engine.concepts[:REFERENCE_WORDS]]
        return median_confidence(found) if found else None

    # --- renderings

    def render(self, wanted: Rendering) -> bytes:
        """A picture of the field with highlights, PNG.

        Raises: BadInput for a light or a text that is unknown, or a size above `still_size`.
        """
        if max(wanted.width, wanted.height) > self.still_size:
            raise BadInput(
                f"expected a picture of at most {self.still_size} px (viewer.still_size), got {wanted.width} x "
                f"{wanted.height}"
            )
        pose = torch.tensor(wanted.pose).reshape(3, 4)
        if not torch.allclose(pose[:, :3] @ pose[:, :3].T, torch.eye(3), atol=1e-2):
            raise BadInput("expected a pose whose first three columns are orthonormal axes")
        x, y = wanted.principal
        view = View(wanted.width, wanted.height, wanted.focal, wanted.focal, x, y, pose)
        found = [self.find(word.text) for word in wanted.words]
        rendering = self.engine.render(view, self.engine.light(self._mix(wanted)), _channels(found))
        picture = rendering.colour.clamp(0, 1).numpy()
        if found:
            probability, words = split_known(rendering)[0].numpy(), wanted.words
            strengths, thresholds = [word.strength for word in words], [word.threshold for word in words]
            picture = highlight(picture, probability, strengths, thresholds, [word.rgb for word in words])
        return _png(picture)

    def _mix(self, wanted: Rendering) -> AppearanceMix:
        second = wanted.to if wanted.blend and wanted.to is not None else wanted.light
        shares = ((wanted.light, 1 - wanted.blend), (second, wanted.blend))
        mix: AppearanceMix = {}
        for name, share in shares:
            light = self._light_named(name)
            key = MEAN if light.photo is None else self.engine.photos[light.photo]
            mix[key] = mix.get(key, 0.0) + share
        return {key: share for key, share in mix.items() if share}

    def _light_named(self, name: str) -> Light:
        for light in self.lights:
            if light.name == name:
                return light
        names = ", ".join(light.name for light in self.lights[:5])
        raise BadInput(f"expected the name of a light, such as {names}; got '{name}'")


def _paths(number: int) -> dict[str, str]:
    return {"thumbnail": f"api/photos/{number}/thumbnail", "picture": f"api/photos/{number}/picture"}


def _png(picture: np.ndarray) -> bytes:
    """Values in [0, 1], [H, W] or [H, W, 3], as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(buffer, "PNG")
    return buffer.getvalue()


def _channels(found: Sequence[TextResult]) -> Tensor | None:
    """`known_channels` of texts; None without any."""
    if not found:
        return None
    probability = torch.stack([result.probability for result in found], dim=1)
    return known_channels(probability, torch.stack([result.confidence for result in found], dim=1))
