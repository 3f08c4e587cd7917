"""share: the scene as one HTML file that opens with a double click, without a network and without Python.

Output:
    index.html      Gaussians, words, lights and some photos, with the viewer that draws them
    preview.jpg     the first view of the page
    share.json      numbers of splats, words, lights, photos and parts in it, and its size in MB
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from halonerf.config.option_types import Component, NonNegativeInt, Pixels, PositiveFloat, PositiveInt, ProperFraction
from halonerf.data.collection import Collection
from halonerf.data.formats.names import SHARED_FACTS, SHARED_PAGE, SHARED_PREVIEW
from halonerf.data.formats.probability_maps import read_concepts
from halonerf.expressions import given_texts, read_texts
from halonerf.files import write_json
from halonerf.loading import fitted_scene, open_field, open_head
from halonerf.page.document import write_shared_page
from halonerf.page.lights import SharedLight, choose_lights, render_preview, sky_colours
from halonerf.page.packing import PackedArrays, median_confidence, pack_splats, word_values
from halonerf.page.photos import (
    captions_of,
    choose_photos,
    data_url,
    describe_photos,
    landmark_of,
    read_credits,
    reduced_jpeg,
)
from halonerf.page.words import SharedWord, describe_parts, overview, view_visibility
from halonerf.pipeline.stage import Stage
from halonerf.queries.connected_parts import PartFinder, PartOptions
from halonerf.queries.session import QuerySession
from halonerf.queries.word_layers import WordLayers
from halonerf.rendering.surfels import most_important, open_splats
from halonerf.stages.specs import ShareSpec
from halonerf.thresholds import decide
from halonerf.visualization.palette import concept_colours, hex_colour
from halonerf.visualization.pictures import save_picture, to_uint8

PREVIEW_QUALITY = 88  # of JPEG


class Share(ShareSpec, Stage):
    """Write an interactive page of the scene.

    Args:
        field, head: configs of the field that `reconstruct` and of the head that `localize` fitted.
        segmenter: config of the segmenter that `index` used; only `words` need it.
        words: text prompts besides the concepts of `localize`: words or expressions of words.
        title: of the page; None: the landmark's name, or the collection's.
        splats: Gaussians at most, those with the largest opacity times area.
        max_photos: photos to fly to, at most.
        photo_size: px, their long side on the page.
        lights: photos, at most, whose light can be chosen besides the mean and the times of day.
        threshold: probability from which an element belongs to a part, and the page's initial threshold of highlights;
            None: each word's own (`halonerf.thresholds`).
        part_radius, min_elements, max_parts: how connected parts are found, see `PartOptions`.
        preview: px, width of the preview.
        sky: text prompt of the sky, where `words` are not found; None: no sky is excluded.
        batch: photos decoded together, for `words`; bounds memory.
        adapted: whether the segmenter has the weights of `adapt_segmenter`, for `words`.
    """

    def __init__(
        self,
        field: Component,
        head: Component,
        segmenter: Component,
        words: str | Sequence[str] = (),
        title: str | None = None,
        splats: PositiveInt = 60_000,
        max_photos: PositiveInt = 24,
        photo_size: Pixels = 480,
        lights: NonNegativeInt = 4,
        threshold: ProperFraction | None = None,
        part_radius: PositiveFloat = 3.0,
        min_elements: PositiveInt = 10,
        max_parts: PositiveInt = 50,
        preview: Pixels = 1200,
        sky: str | None = None,
        batch: PositiveInt = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.field_config, self.head_config, self.segmenter_config = field, head, segmenter
        self.words, self.title = given_texts(words), title
        self.splats, self.max_photos, self.photo_size, self.lights = splats, max_photos, photo_size, lights
        self.threshold, self.parts = threshold, PartOptions(part_radius, min_elements, max_parts)
        self.preview, self.sky, self.batch, self.adapted = preview, sky, batch, adapted

    def prepare(self) -> None:
        self.scene = fitted_scene(self.inputs)
        self.collection = Collection.read(self.inputs["collect"])
        self.field = open_field(self.field_config, self.inputs["reconstruct"])
        if isinstance(self.field, torch.nn.Module):
            self.field.eval()

    def items(self) -> list[str]:
        return [SHARED_PAGE]

    def done(self, item: str) -> bool:
        return (self.folder / SHARED_FACTS).is_file()

    @torch.no_grad()
    def predict_step(self, item: str, index: int) -> None:
        lights = choose_lights(self.field, self.scene, self.lights)
        views = sorted({*choose_photos(self.scene, self.max_photos), *self._light_views(lights)})
        cameras = [self.scene.views[view].to(self.device) for view in views]
        seen = view_visibility(self.field, cameras)
        home = overview(seen)
        words = self._words()
        packed, facts = PackedArrays(), self._facts(words, lights, views, home, (views, seen))
        field = open_splats(self.field, cameras, device=self.device)
        splats = field.splats().to("cpu")
        kept = most_important(splats, self.splats)
        facts |= pack_splats(packed, splats, kept)
        for number, light in enumerate(lights):
            packed.add(f"colour/{number}", to_uint8(field.splat_colours(light.code.to(self.device)).cpu()[kept]))
            facts["lights"][number]["sky"] = sky_colours(self.field, cameras, self.scene.up, light.code)
        median = median_confidence(word.confidence for word in words)
        for number, word in enumerate(words):
            element = splats.element[kept]
            values = word_values(word.probability[element], word.confidence[element], median)
            for name, array in zip(("probability", "confidence"), values, strict=True):
                packed.add(f"{name}/{number}", array)
        facts |= {"splats": len(kept), "of": len(splats), "arrays": packed.table}
        write_shared_page(self.folder / SHARED_PAGE, facts["title"], facts, packed.to_base64())
        chosen = splats[kept]
        colours = field.splat_colours(lights[0].code.to(self.device)).cpu()[kept]
        first = self.scene.views[views[home]]
        preview = render_preview(chosen, colours, first, self.scene.up, facts["lights"][0]["sky"], self.preview)
        save_picture(self.folder / SHARED_PREVIEW, preview, quality=PREVIEW_QUALITY)
        write_json(self.folder / SHARED_FACTS, self._counts(facts))

    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / SHARED_FACTS).read_text(encoding="utf-8"))

    def _light_views(self, lights: Sequence[SharedLight]) -> list[int]:
        """The views of photos whose light is on the page; their photos are shown, too."""
        return [self.scene.index(light.photo) for light in lights if light.photo]

    def _words(self) -> list[SharedWord]:
        """The concepts that `localize` found, then the further texts, as any query answers them."""
        concepts = read_concepts(self.inputs["localize"])
        head = open_head(self.head_config, self.inputs["localize"])
        more = read_texts(self.words, concepts)[0] if self.words else []
        layers = WordLayers(head, concepts, [*concepts, *more], self._open_session)
        columns = zip(layers.texts, *(part.T for part in layers.elements), strict=True)
        return [SharedWord(text, p, c, decide(p.numpy(), c.numpy(), self.threshold)) for text, p, c in columns]

    def _open_session(self) -> QuerySession:
        configs = (self.segmenter_config, self.field_config, self.head_config)
        return QuerySession(self.inputs, *configs, self.sky, self.batch, self.device)

    def _facts(
        self,
        words: Sequence[SharedWord],
        lights: Sequence[SharedLight],
        views: list[int],
        home: int,
        seen: tuple[Sequence[int], Tensor],
    ) -> dict[str, Any]:
        """What the page's script reads besides the arrays."""
        finder = PartFinder(self.field)
        colours = concept_colours([word.text for word in words], read_concepts(self.inputs["localize"]))
        position = {self.scene.names[view]: number for number, view in enumerate(views)}
        return {
            "title": self.title or landmark_of(self.collection),
            "registered": len(self.scene),
            "home": home,
            "up": [round(value, 6) for value in self.scene.up.tolist()],
            "photos": self._photos(views),
            "credits": read_credits(self.inputs["collect"], self.scene.names),
            "lights": [{"name": light.name, "photo": position.get(light.photo)} for light in lights],
            "words": [
                {
                    "text": word.text,
                    "colour": hex_colour(colours[word.text]),
                    "known": round(float((word.confidence > 0).float().mean()), 4),
                    "threshold": round(word.decision.threshold, 5),
                    "guess": word.decision.guess,
                    "parts": self._parts(word, finder, seen),
                }
                for word in words
            ],
        }

    def _photos(self, views: Sequence[int]) -> list[dict[str, Any]]:
        """The photos of the page with their pictures inside."""
        photos = describe_photos(self.scene, views, captions_of(self.collection))
        for photo, view in zip(photos, views, strict=True):
            photo["picture"] = data_url(reduced_jpeg(self.scene.photo(view).numpy(), self.photo_size))
        return photos

    def _parts(self, word: SharedWord, finder: PartFinder, seen: tuple[Sequence[int], Tensor]) -> list[dict[str, Any]]:
        found = finder.find(word.probability, word.confidence, word.decision, seen, self.parts)
        return describe_parts(found, seen[0])

    def _counts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "megabytes": round((self.folder / SHARED_PAGE).stat().st_size / 1e6, 2),
            "splats": facts["splats"],
            "splats_of_field": facts["of"],
            "words": len(facts["words"]),
            "lights": len(facts["lights"]),
            "photos": len(facts["photos"]),
            "parts": sum(len(word["parts"]) for word in facts["words"]),
        }
