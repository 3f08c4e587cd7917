"""localize: what the chosen photos' 2D maps say about every element of the field, and how that looks from every view.

Output:
    head.safetensors              the fitted head
    concepts.json                 the concepts, in the order of all arrays
    renders/<view>.npz            probability uint8 [P, H, W] (p * 255), confidence float16 [P, H, W]
    renders/<view>.png            the field's colours in that view's own light
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.artifacts import write_atomic
from halonerf.errors import BadInput
from halonerf.pictures import save_picture
from halonerf.protocols import SemanticHead, TrainableField
from halonerf.stages.base import Stage
from halonerf.stages.build import build
from halonerf.stages.cameras import fitted_scene


class Localize(Stage):
    """Lift 2D probabilities into the field and render them.

    Args:
        head: config of the semantic head.
        field: config of the field that `reconstruct` fitted.
        views: whose maps are lifted: "all" photos, or only those of the "train" split.
    """

    name = "localize"
    needs = ("ingest", "reconstruct", "segment")
    seeded = True

    def __init__(self, head: Mapping[str, Any], field: Mapping[str, Any], views: str = "all") -> None:
        super().__init__()
        if views not in ("all", "train"):
            raise BadInput(f"expected localize.views=all or train, got '{views}'")
        self.head_config, self.field_config, self.views = head, field, views

    def prepare(self) -> None:
        self.scene = fitted_scene(self.inputs)
        self.concepts: list[str] = json.loads((self.inputs["segment"] / "concepts.json").read_text())
        self.field: TrainableField = build(self.field_config)
        self.field.load(self.inputs["reconstruct"] / "field.safetensors")
        (self.folder / "renders").mkdir(exist_ok=True)
        shutil.copyfile(self.inputs["segment"] / "concepts.json", self.folder / "concepts.json")

    def items(self) -> list[int | str]:
        return ["head", *range(len(self.scene))]

    def done(self, item: int | str) -> bool:
        return self._path(item).is_file()

    def predict_step(self, item: int | str, index: int) -> None:
        if isinstance(item, str):
            self._fit()
        else:
            self._render(item)

    def summary(self) -> dict[str, Any]:
        return {"concepts": len(self.concepts), "photos_lifted": len(self._sources()), "views": len(self.scene)}

    def _path(self, item: int | str) -> Path:
        return self.folder / ("head.safetensors" if isinstance(item, str) else f"renders/{item:05d}.npz")

    def _sources(self) -> list[int]:
        """Views whose photos were segmented, chosen, and may be used."""
        with open(self.inputs["segment"] / "choice.csv", newline="", encoding="utf-8") as stream:
            chosen = {row["photo"] for row in csv.DictReader(stream) if row["chosen"] == "true"}
        split = ("train",) if self.views == "train" else ("train", "test")
        return [
            i
            for i, name in enumerate(self.scene.names)
            if name in chosen and self.scene.split[i] in split and self._map_file(i).is_file()
        ]

    def _map_file(self, view: int) -> Path:
        return self.inputs["segment"] / "maps" / f"{view:05d}.npz"

    def _fit(self) -> None:
        sources = self._sources()
        if not sources:
            raise BadInput(
                f"expected 2D maps of at least one photo to lift, found none of {len(self.scene)} photos "
                f"(localize.views={self.views}).\nWith segmenter=masks the masks' names must be those of the photos: "
                f"<concept>/{Path(self.scene.names[0]).with_suffix('.png')}"
            )
        head: SemanticHead = build(self.head_config)
        maps, weights = zip(*(self._supervision(i) for i in sources), strict=True)
        head.fit(self.field, [self.scene.views[i] for i in sources], maps, weights)
        partial = self._path("head").with_suffix(".new")
        head.save(partial)
        partial.replace(self._path("head"))

    def _supervision(self, view: int) -> tuple[Tensor, Tensor]:
        """Probabilities and weights of one photo, [H, W, P] each, at the view's size."""
        with np.load(self._map_file(view)) as stored:
            probability = torch.from_numpy(stored["probability"]).float() / 255
            known = torch.from_numpy(stored["known"]) if "known" in stored else torch.ones_like(probability)
        camera = self.scene.views[view]
        size = (camera.height, camera.width)
        probability = torch.nn.functional.interpolate(
            probability[None], size, mode="bilinear", align_corners=False, antialias=True
        )[0]
        known = torch.nn.functional.interpolate(known[None].float(), size, mode="nearest")[0]
        weight = known * self.scene.valid(view)
        return probability.permute(1, 2, 0), weight.permute(1, 2, 0)

    @cached_property
    def _head(self) -> SemanticHead:
        head: SemanticHead = build(self.head_config)
        head.load(self._path("head"))
        return head

    def _render(self, view: int) -> None:
        camera, appearance = self.scene.views[view], self.field.appearance(self.scene.names[view])
        colour = self.field.render(camera, appearance).colour
        probability, confidence = self._head.render(self.field, camera, appearance)
        save_picture(self._path(view).with_suffix(".png"), (colour.clamp(0, 1) * 255).round().byte().cpu().numpy())
        arrays = io.BytesIO()
        np.savez_compressed(
            arrays,
            probability=(probability.clamp(0, 1) * 255).round().byte().permute(2, 0, 1).cpu().numpy(),
            confidence=confidence.permute(2, 0, 1).half().cpu().numpy(),
        )
        write_atomic(self._path(view), arrays.getvalue())
