"""render: pictures of every view, for people.

Output: colour/, depth/, and a folder a concept under concepts/, each with <view>.png; sheet.jpg shows them together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from halonerf.artifacts import safe_name
from halonerf.data.scenes import Scene
from halonerf.errors import BadInput
from halonerf.pictures import depth_colours, grid, overlay, save_picture
from halonerf.protocols import SemanticHead, TrainableField
from halonerf.stages.base import Stage
from halonerf.stages.build import build

SHEET_ROWS = 12


class Render(Stage):
    """Draw the photos' views: colour, depth, and where each concept is.

    Args:
        field: config of the field that `reconstruct` fitted.
        head: config of the head that `localize` fitted.
        light: whose light to show: "own" of each photo, "mean" of all, or a photo's name.
        views: "all" photos' views, or those of the "train" or "test" split.
        size: px, the longer side of the pictures; null keeps the scene's working size.
        concepts: which concepts to draw; null draws all.
    """

    name = "render"
    needs = ("ingest", "reconstruct", "localize")
    seeded = True

    def __init__(
        self,
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        light: str = "own",
        views: str = "all",
        size: int | None = None,
        concepts: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if views not in ("all", "train", "test"):
            raise BadInput(f"expected render.views=all, train or test, got '{views}'")
        if size is not None and size < 16:
            raise BadInput(f"expected render.size to be at least 16 px, got {size}")
        self.field_config, self.head_config = field, head
        self.light, self.views, self.size, self.wanted = light, views, size, concepts

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.known: list[str] = json.loads((self.inputs["localize"] / "concepts.json").read_text())
        self.shown = list(self.wanted) if self.wanted is not None else self.known
        unknown = [c for c in self.shown if c not in self.known]
        if unknown:
            raise BadInput(f"expected render.concepts among {', '.join(self.known)}; got {', '.join(unknown)}")
        if self.light not in ("own", "mean", *self.scene.names):
            names = ", ".join(self.scene.names[:5])
            raise BadInput(f"expected render.light=own, mean or a photo's name such as {names}; got '{self.light}'")
        self.field: TrainableField = build(self.field_config)
        self.field.load(self.inputs["reconstruct"] / "field.safetensors")
        self.head: SemanticHead = build(self.head_config)
        self.head.load(self.inputs["localize"] / "head.safetensors")
        for path in self._paths(0).values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def items(self) -> list[int]:
        return list(range(len(self.scene))) if self.views == "all" else self.scene.indices(self.views)

    def done(self, item: int) -> bool:
        return all(path.is_file() for path in self._paths(item).values())

    def predict_step(self, item: int, index: int) -> None:
        view, appearance = self.scene.views[item], self._appearance(item)
        if self.size is not None:
            scale = self.size / max(view.width, view.height)
            view = view.resized(max(1, round(view.width * scale)), max(1, round(view.height * scale)))
        shown = self.field.render(view, appearance)
        colour = (shown.colour.clamp(0, 1) * 255).round().byte().numpy()
        probability, _ = self.head.render(self.field, view, appearance)
        pictures = {"colour": colour, "depth": depth_colours(shown.depth.numpy(), shown.opacity.numpy())}
        for concept in self.shown:
            pictures[f"concepts/{concept}"] = overlay(colour, probability[..., self.known.index(concept)].numpy())
        for key, path in self._paths(item).items():
            save_picture(path, pictures[key])

    def finish(self) -> None:
        items = self.items()
        chosen = items[:: max(1, len(items) // SHEET_ROWS)][:SHEET_ROWS]
        rows = [[self.scene.photo(i).numpy(), *(_read(p) for p in self._paths(i).values())] for i in chosen]
        if rows:
            save_picture(self.folder / "sheet.jpg", grid(rows))

    def summary(self) -> dict[str, Any]:
        return {"views": len(self.items()), "concepts": len(self.shown), "light": self.light}

    def _appearance(self, view: int) -> Tensor:
        if self.light == "mean":
            return self.field.mean_appearance()
        return self.field.appearance(self.scene.names[view] if self.light == "own" else self.light)

    def _paths(self, view: int) -> dict[str, Path]:
        """Where each picture of a view goes, by what it shows."""
        folders = {key: key for key in ("colour", "depth")} | {
            f"concepts/{c}": f"concepts/{safe_name(c)}" for c in self.shown
        }
        return {key: self.folder / folder / f"{view:05d}.png" for key, folder in folders.items()}


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))
