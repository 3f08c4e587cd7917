"""query: probabilities of any text prompts in 3D and in photos, without training.

Output:
    query.json                    texts with thresholds and colours, durations, parts in 3D with boxes, sizes and best
                                  photos, rendered views
    parts.csv                     the parts as a table
    maps/<view>.npz               `probability` uint8 [Q, H, W] (255 = certain), `confidence` float16 [Q, H, W]
    maps/<view>.png               photo | probability of each text over it
    sheet.jpg                     these pictures one below the other
    elements.safetensors          `probability`, `confidence` [E, Q] of the field's elements
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from halonerf.config.option_types import Component, Pixels, PositiveFloat, PositiveInt, ProperFraction
from halonerf.expressions import required_texts
from halonerf.files import write_atomic, write_json
from halonerf.pipeline.stage import Stage
from halonerf.queries.answer import QueryAnswer, QueryOptions, RenderedMap, rounded_seconds
from halonerf.queries.part_tables import part_csv
from halonerf.queries.session import QuerySession
from halonerf.stages.specs import QuerySpec
from halonerf.visualization.palette import concept_colours, hex_colour
from halonerf.visualization.pictures import grid, overlay, save_picture

ANSWER, PARTS = "query.json", "parts.csv"


class Query(QuerySpec, Stage):
    """Answers text queries (`halonerf.queries.session.QuerySession`).

    Args:
        segmenter, field, head: configs of the segmenter and field that `index` used, and of a head that lifts.
        words: one text or several, each a word or an expression of words.
        negatives, relevancy, threshold, view, views, size, part_radius, min_elements, max_parts: see
            `halonerf.queries.answer.QueryOptions`.
        metres_per_unit: of the world; parts then have their sizes in metres, too. None: unknown.
        sky: text prompt for the sky, where the probability of others is lowered. None: no sky.
        batch: photos decoded together.
        adapted: whether the segmenter has the weights of `adapt_segmenter`.
    """

    def __init__(
        self,
        segmenter: Component,
        field: Component,
        head: Component,
        words: str | Sequence[str] | None = None,
        negatives: Sequence[str] = (),
        relevancy: bool = False,
        threshold: ProperFraction | None = None,
        view: str | None = None,
        views: PositiveInt = 1,
        size: Pixels | None = 320,
        part_radius: PositiveFloat = 3.0,
        min_elements: PositiveInt = 10,
        max_parts: PositiveInt = 50,
        metres_per_unit: PositiveFloat | None = None,
        sky: str | None = None,
        batch: PositiveInt = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter_config, self.field_config, self.head_config = segmenter, field, head
        self.metres_per_unit = metres_per_unit
        self.words, self.sky, self.batch, self.adapted = required_texts(words), sky, batch, adapted
        self.options = QueryOptions(
            part_radius, min_elements, max_parts, negatives, relevancy, threshold, view, views, size
        )

    def prepare(self) -> None:
        (self.folder / "maps").mkdir(exist_ok=True)

    def items(self) -> list[str]:
        return [ANSWER]

    def done(self, item: str) -> bool:
        return (self.folder / item).is_file()

    def predict_step(self, item: str, index: int) -> None:
        session = QuerySession(
            self.inputs, self.segmenter_config, self.field_config, self.head_config, self.sky, self.batch, self.device
        )
        answer = session.query(self.words, **dataclasses.asdict(self.options))
        rows = []
        for rendered in answer.maps:
            rendered.write(self.folder / "maps")
            rows.append(_pictures(session.data.photo(rendered.view).numpy(), rendered))
            save_picture(self.folder / "maps" / f"{rendered.stem}.png", grid([rows[-1]], rows[-1][0].shape[0]))
        save_picture(self.folder / "sheet.jpg", grid(rows))
        answer.write_elements(self.folder / "elements.safetensors")
        parts = [
            row
            for text, found in zip(answer.texts, answer.parts, strict=True)
            for row in session.describe_parts(text, found, self.options.part_radius, self.metres_per_unit)
        ]
        write_atomic(self.folder / PARTS, part_csv(parts))
        write_json(self.folder / ANSWER, self._describe(session, answer, parts))

    def summary(self) -> dict[str, Any]:
        answer = json.loads((self.folder / ANSWER).read_text(encoding="utf-8"))
        return {key: answer[key] for key in ("texts", "seconds", "known", "notes")} | {"parts": len(answer["parts"])}

    def _describe(self, session: QuerySession, answer: QueryAnswer, parts: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "texts": answer.texts,
            "seconds": rounded_seconds({**answer.seconds, "encode": session.encode_s, "open": session.open_s}),
            "known": [round(share, 4) for share in answer.known],
            "thresholds": [round(decision.threshold, 4) for decision in answer.decisions],
            "guesses": [decision.guess for decision in answer.decisions],
            "highest": [round(decision.highest, 4) for decision in answer.decisions],
            "colours": [hex_colour(colour) for colour in concept_colours(answer.texts, session.concepts).values()],
            "notes": answer.notes,
            "parts": parts,
            "views": [
                {"view": m.view, "photo": m.photo, "map": f"maps/{m.stem}.npz", "picture": f"maps/{m.stem}.png"}
                for m in answer.maps
            ],
            "indexed_photos": [session.data.names[photo.view] for photo in session.photos],
            "spacing": round(session.finder.spacing, 6),
        }


def _pictures(photo: np.ndarray, rendered: RenderedMap) -> list[np.ndarray]:
    """The photo at the size of the maps, then the probability of each text over it, uint8 [H, W, 3] each."""
    height, width = rendered.probability.shape[:2]
    resized = np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))
    return [resized, *(overlay(resized, probability) for probability in rendered.probability.permute(2, 0, 1).numpy())]
