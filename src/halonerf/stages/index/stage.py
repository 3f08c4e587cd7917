"""index: the text-independent part of queries: encodings of a few photos, and tables that lift their maps.

seen/<view>.safetensors     `share` [E] half: fraction of a photo that each element covers; of every selected photo
photos.csv                  the photos that queries use: view, photo, score, gain
photos/<view>.safetensors   `encoding.*`: the segmenter's encoding of that photo, floats in half precision;
                            `shares.*`: the table B^T of `halonerf.queries.lifting_tables` by rows (`start`, `element`,
                            `value` half, px); `grid` [2], height and width of the map that it lifts
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from halonerf.config.option_types import Component, PositiveInt
from halonerf.data.formats.names import INDEXED_PHOTOS, view_file
from halonerf.data.formats.photo_choice import read_photo_choice
from halonerf.errors import BadInput
from halonerf.files import write_atomic, write_csv
from halonerf.geometry import resize_mean
from halonerf.lifting import visibility
from halonerf.loading import fitted_scene, open_field, open_segmenter
from halonerf.pipeline.stage import Stage
from halonerf.queries.lifting_tables import lifting_table, table_grid
from halonerf.stages.index.photo_selection import select_covering_photos
from halonerf.stages.specs import IndexSpec
from halonerf.types import View

COLUMNS = ("view", "photo", "score", "gain")


class Index(IndexSpec, Stage):
    """Precompute per-photo encodings and lifting tables for text queries.

    Args:
        segmenter: config of the segmenter.
        field: config of the field that `reconstruct` fitted.
        max_photos: maximum number of photos that queries use.
        map_size: px, long side of the maps that are lifted; finer ones of a segmenter are averaged.
        size: px, long side of the renderings for lifting; None: the photos' working size.
        adapted: whether the segmenter has the weights of `adapt_segmenter`.
    """

    def __init__(
        self,
        segmenter: Component,
        field: Component,
        max_photos: PositiveInt = 16,
        map_size: PositiveInt = 80,
        size: PositiveInt | None = None,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter_config, self.field_config, self.adapted = segmenter, field, adapted
        self.max_photos, self.map_size, self.size = max_photos, map_size, size

    def prepare(self) -> None:
        self.scene = fitted_scene(self.inputs)
        self.scores = self._selected_scores()
        if not self.scores:
            raise BadInput(
                "expected photos to index, but segment chose none.\nSee the reasons in its choice.csv, or add photos: "
                "scene.path=… ingest.min_inliers=…\nWith segmenter=annotations, annotate a photo besides renderings."
            )
        self.field = open_field(self.field_config, self.inputs["reconstruct"])
        self.segmenter = open_segmenter(self.segmenter_config, self.scene, self.inputs.get("adapt_segmenter"))
        for part in ("seen", "photos"):
            (self.folder / part).mkdir(exist_ok=True)

    def items(self) -> list[tuple[str, int]]:
        """The visibility of each selected photo; then, by rank in the selection, the photos to index."""
        ranks = min(self.max_photos, len(self.scores))
        return [*(("seen", view) for view in self.scores), *(("rank", rank) for rank in range(ranks))]

    def done(self, item: tuple[str, int]) -> bool:
        if item[0] == "seen":
            return self._seen_path(item[1]).is_file()
        if not all(self._seen_path(view).is_file() for view in self.scores):
            return False
        return item[1] >= len(self._chosen) or self._photo_path(self._chosen[item[1]][0]).is_file()

    @torch.no_grad()
    def predict_step(self, item: tuple[str, int], index: int) -> None:
        kind, number = item
        if kind == "seen":
            write_atomic(self._seen_path(number), save({"share": self._visibility(number).half()}))
        elif number < len(self._chosen):
            view = self._chosen[number][0]
            write_atomic(self._photo_path(view), save({**self._encoding(view), **self._lifting_table(view)}))

    def finish(self) -> None:
        rows = [
            {"view": view, "photo": self.scene.names[view], "score": f"{score:.4f}", "gain": f"{gain:.6f}"}
            for view, score, gain in self._chosen
        ]
        write_csv(self.folder / INDEXED_PHOTOS, COLUMNS, rows)

    def summary(self) -> dict[str, Any]:
        return {
            "photos": len(self._chosen),
            "photos_trusted": len(self.scores),
            "elements": self.field.elements,
            "share_of_what_is_seen": round(sum(gain for _, _, gain in self._chosen), 4),
            "megabytes": round(sum(p.stat().st_size for p in self.folder.rglob("*.safetensors")) / 1e6, 1),
        }

    def _selected_scores(self) -> dict[int, float]:
        """The views that `segment` selected, with their scores."""
        table = read_photo_choice(self.inputs["segment"])
        return {view: table[name] for view, name in enumerate(self.scene.names) if name in table}

    @cached_property
    def _chosen(self) -> list[tuple[int, float, float]]:
        """View, score and gain of the photos to index; needs every photo's visibility."""
        views = list(self.scores)
        visibility = np.stack([load_file(self._seen_path(view))["share"].numpy() for view in views])
        score = np.array([self.scores[view] for view in views])
        chosen = select_covering_photos(visibility, score, self.max_photos)
        return [(views[row], float(score[row]), gain) for row, gain in chosen]

    def _visibility(self, view: int) -> Tensor:
        """Fraction of the photo that each element covers, [E]; sums to the mean opacity of its valid pixels."""
        height, width = table_grid(self.scene.views[view], self.map_size)
        camera = self.scene.views[view].resized(width, height).to(self.device)
        weight = self._valid(view, camera)
        return visibility(self.field, camera, weight)

    def _encoding(self, view: int) -> dict[str, Tensor]:
        """Tensors `encoding.*`: the segmenter's encoding of the photo, floats in half precision."""
        image = self.scene.photo(view).to(self.device).permute(2, 0, 1)[None].float() / 255
        encoded = self.segmenter.encode(image, names=[self.scene.names[view]])
        return {
            f"encoding.{key}": (value.half() if value.is_floating_point() else value).contiguous().cpu()
            for key, value in encoded.items()
        }

    def _lifting_table(self, view: int) -> dict[str, Tensor]:
        """Tensors `shares.*` and `grid`: the sparse table that lifts a map of the photo to elements."""
        camera = self.scene.views[view].to(self.device)
        grid = table_grid(camera, self.map_size)
        if self.size is not None:
            height, width = table_grid(camera, self.size)
            camera = camera.resized(width, height)
        table = lifting_table(self.field, camera, self._valid(view, camera), grid)
        scale = self.scene.views[view].height * self.scene.views[view].width / (camera.height * camera.width)
        return {
            "shares.start": torch.from_numpy(table.indptr.astype(np.int64)),
            "shares.element": torch.from_numpy(table.indices.astype(np.int32)),
            "shares.value": torch.from_numpy(table.data * scale).half(),  # px of the photo at its working size
            "grid": torch.tensor(grid),
        }

    def _valid(self, view: int, camera: View) -> Tensor:
        """Fraction of each pixel of `camera` that the photo covers, [H, W] in [0, 1]."""
        return resize_mean(self.scene.valid(view).float(), camera.height, camera.width).to(self.device)

    def _seen_path(self, view: int) -> Path:
        return view_file(self.folder / "seen", view, ".safetensors")

    def _photo_path(self, view: int) -> Path:
        return view_file(self.folder / "photos", view, ".safetensors")
