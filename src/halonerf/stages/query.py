"""query: where any words are on the building, without learning anything.

Output:
    query.json                    texts, seconds of each part, parts in 3D with boxes and best photos, what was drawn
    maps/<view>.npz               `probability` uint8 [Q, H, W] (255 = certain), `confidence` float16 [Q, H, W]
    maps/<view>.png               photo | each text over it, for people
    sheet.jpg                     these pictures below each other
    elements.safetensors          `probability`, `confidence` [E, Q] of the field's elements
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from halonerf.errors import BadInput
from halonerf.expressions import given_texts, read_texts
from halonerf.files import write_json
from halonerf.pipeline.stage import Stage
from halonerf.queries.answer import QueryAnswer, QueryOptions, RenderedMap, rounded_seconds
from halonerf.queries.session import QuerySession
from halonerf.visualization.pictures import grid, overlay, save_picture

ANSWER = "query.json"


class Query(Stage):
    """Look for words.

    Args:
        segmenter, field, head: configs of the segmenter and field that `index` used, and of a head that lifts.
        words: what to look for: one text or several, each a word or an expression of words.
        negatives: what every word has to be more like than.
        relevancy: whether LERF's canonical phrases are negatives, too.
        threshold: probability from which an element belongs to a part.
        view: name of the photo whose camera shows the maps; None: the photo that shows most of the first text.
        views: how many cameras: that one, and the next best.
        size: px, long side of the maps; None: the photos' working size.
        part_radius: how near the elements of a part are, in spacings of the field's elements.
        min_elements: elements of a part at least.
        max_parts: parts of a text at most.
        sky: what the sky is called; where it is, words are not. None does not ask.
        batch: photos decoded together.
        adapted: whether the segmenter is taken as `adapt_segmenter` left it.
    """

    name = "query"
    needs = ("ingest", "reconstruct", "index")
    seeded = True  # the head may be

    def __init__(
        self,
        segmenter: Mapping[str, Any],
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        words: str | Sequence[str] | None = None,
        negatives: Sequence[str] = (),
        relevancy: bool = False,
        threshold: float = 0.5,
        view: str | None = None,
        views: int = 1,
        size: int | None = 320,
        part_radius: float = 3.0,
        min_elements: int = 10,
        max_parts: int = 50,
        sky: str | None = None,
        batch: int = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter_config, self.field_config, self.head_config = segmenter, field, head
        self.words, self.sky, self.batch, self.adapted = _asked(words), sky, batch, adapted
        self.options = QueryOptions(
            part_radius, min_elements, max_parts, negatives, relevancy, threshold, view, views, size
        )

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        read_texts(_asked(config.get("words")))  # slips of the pen are known before hours of work, not after
        return (*cls.needs, "adapt_segmenter") if config.get("adapted") else cls.needs

    def prepare(self) -> None:
        (self.folder / "maps").mkdir(exist_ok=True)

    def items(self) -> list[str]:
        return [ANSWER]

    def done(self, item: str) -> bool:
        return (self.folder / item).is_file()

    def predict_step(self, item: str, index: int) -> None:
        scene = QuerySession(
            self.inputs, self.segmenter_config, self.field_config, self.head_config, self.sky, self.batch, self.device
        )
        answer = scene.query(self.words, **dataclasses.asdict(self.options))
        rows = []
        for shown in answer.maps:
            shown.write(self.folder / "maps")
            rows.append(_pictures(scene.scene.photo(shown.view).numpy(), shown))
            save_picture(self.folder / "maps" / f"{shown.stem}.png", grid([rows[-1]], rows[-1][0].shape[0]))
        save_picture(self.folder / "sheet.jpg", grid(rows))
        answer.write_elements(self.folder / "elements.safetensors")
        write_json(self.folder / ANSWER, self._describe(scene, answer))

    def summary(self) -> dict[str, Any]:
        answer = json.loads((self.folder / ANSWER).read_text(encoding="utf-8"))
        return {key: answer[key] for key in ("texts", "seconds", "known", "notes")} | {"parts": len(answer["parts"])}

    def _describe(self, scene: QuerySession, answer: QueryAnswer) -> dict[str, Any]:
        return {
            "texts": answer.texts,
            "seconds": rounded_seconds({**answer.seconds, "encode": scene.encode_s, "open": scene.open_s}),
            "known": [round(share, 4) for share in answer.known],
            "notes": answer.notes,
            "parts": scene.describe_parts(answer),
            "views": [
                {"view": m.view, "photo": m.photo, "map": f"maps/{m.stem}.npz", "picture": f"maps/{m.stem}.png"}
                for m in answer.maps
            ],
            "photos_looked_at": [scene.scene.names[photo.view] for photo in scene.photos],
            "spacing": round(scene.spacing, 6),
        }


def _asked(words: Any) -> list[str]:
    """Raises: BadInput where nobody said what to look for."""
    if words is None:
        raise BadInput('expected something to look for.\nSay what with: halonerf stage=query text="rose window"')
    return given_texts(words)


def _pictures(photo: np.ndarray, shown: RenderedMap) -> list[np.ndarray]:
    """The photo at the maps' size, then each text over it."""
    height, width = shown.probability.shape[:2]
    resized = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))
    return [resized, *(overlay(resized, probability) for probability in shown.probability.permute(2, 0, 1).numpy())]
