"""Puts together what the scene is made from: where the photos are, and what people wrote about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from halonerf.data.collection import Collection
from halonerf.factory import build
from halonerf.pipeline.stage import Stage
from halonerf.stages.specs import CollectSpec


class Collect(CollectSpec, Stage):
    """Lets the scene's source write its collection.

    Args:
        scene: config of a scene source (`halonerf.protocols.SceneSource`), or of a corpus that fetches photos.
    """

    def __init__(self, scene: Mapping[str, Any]) -> None:
        super().__init__()
        self.scene = scene

    def items(self) -> list[str]:
        return ["collection"]

    def done(self, item: str) -> bool:
        return (self.folder / "collection.json").is_file()

    def predict_step(self, item: str, index: int) -> None:
        source = build(self.scene)
        if not getattr(source, "resumes", False):
            for left in self.folder.iterdir():
                if left.is_file():
                    left.unlink()  # of a killed run: most sources write into an empty folder
        source.collect(self.folder)

    def summary(self) -> dict[str, Any]:
        collection = Collection.read(self.folder)
        return {
            "scene": collection.name,
            "photos": len(collection.records()),
            "concepts": list(collection.concepts),
            "truth": bool(collection.truth()),
        }
