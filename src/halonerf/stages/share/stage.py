"""share: the landmark as one HTML file that opens with a double click, without a network and without Python.

Output:
    index.html      the landmark's Gaussians, words, lights and some photos, with the viewer that draws them
    preview.jpg     what the page shows first
    share.json      how much of everything is in it, and its size in MB
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.data.collection import Collection
from halonerf.data.formats.names import SHARED_FACTS, SHARED_PAGE, SHARED_PREVIEW
from halonerf.data.formats.probability_maps import read_concepts
from halonerf.errors import BadInput
from halonerf.expressions import given_texts, read_texts
from halonerf.files import write_json
from halonerf.loading import fitted_scene, open_field, open_head
from halonerf.pipeline.stage import Stage
from halonerf.queries.session import QuerySession
from halonerf.queries.word_layers import WordLayers
from halonerf.rendering.surfels import most_important, open_splats
from halonerf.stages.share.lights import SharedLight, choose_lights, draw_preview, sky_of
from halonerf.stages.share.packing import Packed, pack_shapes, pack_word, to_bytes
from halonerf.stages.share.page import write_share_page
from halonerf.stages.share.photos import choose_photos, credits_of, describe_photos
from halonerf.stages.share.words import SharedWord, colour_of, view_visibility, word_parts
from halonerf.stages.specs import ShareSpec
from halonerf.visualization.pictures import save_picture

NOTICED = 1e-6  # of a photo's light: an element of which a glance at the photo has something


class Share(ShareSpec, Stage):
    """Put the landmark on a page.

    Args:
        field, head: configs of the field that `reconstruct` and of the head that `localize` fitted.
        segmenter: config of the segmenter that `index` used; only `words` need it.
        words: what to look for besides the concepts of `localize`: words or expressions of words.
        title: of the page; None: the landmark's name, or the collection's.
        splats: Gaussians at most, the most important ones.
        max_photos: photos to fly to, at most.
        photo_size: px, their long side on the page.
        lights: photos, at most, whose light can be chosen besides the mean and the named lights.
        threshold: probability from which a place is lit, until the reader moves it, and belongs to a part.
        part_radius: how near the elements of a part are, in spacings of the field's elements.
        min_elements: elements of a part at least.
        max_parts: of a word at most.
        preview: px, width of the preview.
        sky: what the sky is called, for `words`; where it is, words are not. None does not ask.
        batch: photos decoded together, for `words`.
        adapted: whether the segmenter is taken as `adapt_segmenter` left it, for `words`.
    """

    def __init__(
        self,
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        segmenter: Mapping[str, Any],
        words: str | Sequence[str] = (),
        title: str | None = None,
        splats: int = 60_000,
        max_photos: int = 24,
        photo_size: int = 480,
        lights: int = 4,
        threshold: float = 0.5,
        part_radius: float = 3.0,
        min_elements: int = 10,
        max_parts: int = 12,
        preview: int = 1200,
        sky: str | None = None,
        batch: int = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        if splats < 1 or max_photos < 1 or lights < 0 or max_parts < 0 or min_elements < 1:
            raise BadInput(
                "expected share.splats, share.max_photos and share.min_elements of at least 1, share.lights and share.max_parts "
                f"of at least 0, got {splats}, {max_photos}, {min_elements}, {lights} and {max_parts}"
            )
        if photo_size < 16 or preview < 16:
            raise BadInput(
                f"expected share.photo_size and share.preview of at least 16 px, got {photo_size}, {preview}"
            )
        if not 0 < threshold < 1 or part_radius <= 0:
            raise BadInput(
                f"expected share.threshold between 0 and 1, share.part_radius above 0, got {threshold} and {part_radius}"
            )
        self.field_config, self.head_config, self.segmenter_config = field, head, segmenter
        self.words, self.title = given_texts(words), title
        self.splats, self.max_photos, self.photo_size, self.lights = splats, max_photos, photo_size, lights
        self.threshold, self.part_radius, self.min_elements, self.max_parts = (
            threshold,
            part_radius,
            min_elements,
            max_parts,
        )
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
        views = sorted({*choose_photos(self.scene, self.max_photos), *self._views_of(lights)})
        cameras = [self.scene.views[view].to(self.device) for view in views]
        seen = view_visibility(self.field, cameras)
        home = int((seen > NOTICED).sum(dim=1).argmax())
        words = self._words()
        packed, facts = Packed(), self._facts(words, lights, views, home, (views, seen))
        field = open_splats(self.field, cameras, device=self.device)
        splats = field.splats().to("cpu")
        kept = most_important(splats, self.splats)
        facts |= pack_shapes(packed, splats, kept)
        for number, light in enumerate(lights):
            packed.add(f"colour/{number}", to_bytes(field.splat_colours(light.code.to(self.device)).cpu()[kept]))
            facts["lights"][number]["sky"] = sky_of(self.field, cameras, self.scene.up, light.code)
        middle = _middle(words)
        for number, word in enumerate(words):
            element = splats.element[kept]
            pack_word(packed, number, word.probability[element], word.confidence[element], middle)
        facts |= {"splats": len(kept), "of": len(splats), "arrays": packed.table}
        write_share_page(self.folder / SHARED_PAGE, facts["title"], facts, packed.text())
        chosen = splats[kept]
        colours = field.splat_colours(lights[0].code.to(self.device)).cpu()[kept]
        first = self.scene.views[views[home]]
        preview = draw_preview(chosen, colours, first, self.scene.up, facts["lights"][0]["sky"], self.preview)
        save_picture(self.folder / SHARED_PREVIEW, preview, quality=88)
        write_json(self.folder / SHARED_FACTS, self._contents(facts))

    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / SHARED_FACTS).read_text(encoding="utf-8"))

    def _views_of(self, lights: Sequence[SharedLight]) -> list[int]:
        """The photos whose light is chosen: they are shown, too."""
        return [self.scene.index(light.photo) for light in lights if light.photo]

    def _words(self) -> list[SharedWord]:
        """The localized concepts, then the further words."""
        concepts = read_concepts(self.inputs["localize"])
        head = open_head(self.head_config, self.inputs["localize"])
        more = read_texts(self.words)[0] if self.words else []
        layers = WordLayers(head, concepts, [*concepts, *more], self._open_session)
        probability, confidence = layers.elements
        return [SharedWord(*entry) for entry in zip(layers.texts, probability.T, confidence.T, strict=True)]

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
        parts = word_parts(words, self.field, seen, self.threshold, self.part_radius, self.min_elements, self.max_parts)
        place = {self.scene.names[view]: number for number, view in enumerate(views)}
        return {
            "title": self.title or self._landmark(),
            "registered": len(self.scene),
            "home": home,
            "up": [round(value, 6) for value in self.scene.up.tolist()],
            "threshold": self.threshold,
            "photos": describe_photos(self.scene, self.collection, views, self.photo_size),
            "credits": credits_of(self.inputs["collect"], self.scene.names),
            "lights": [{"name": light.name, "photo": place.get(light.photo)} for light in lights],
            "words": [
                {
                    "text": word.text,
                    "colour": colour_of(number),
                    "known": round(float((word.confidence > 0).float().mean()), 4),
                    "parts": found,
                }
                for number, (word, found) in enumerate(zip(words, parts, strict=True))
            ],
        }

    def _landmark(self) -> str:
        """What most records call it; where none does, the collection's name."""
        named = Counter(record.landmark for record in self.collection.records() if record.landmark.strip())
        return named.most_common(1)[0][0] if named else self.collection.name

    def _contents(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "megabytes": round((self.folder / SHARED_PAGE).stat().st_size / 1e6, 2),
            "splats": facts["splats"],
            "splats_of_field": facts["of"],
            "words": len(facts["words"]),
            "lights": len(facts["lights"]),
            "photos": len(facts["photos"]),
            "parts": sum(len(word["parts"]) for word in facts["words"]),
        }


def _middle(words: Sequence[SharedWord]) -> float:
    """The middle confidence of all that is known, so that half of it is less than half sure."""
    known = [word.confidence[word.confidence > 0].double().numpy() for word in words]
    values = np.concatenate(known) if known else np.zeros(0)
    return float(np.median(values)) if len(values) else 1.0
