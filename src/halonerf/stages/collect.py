"""The photo collection of a scene: paths of the photos, their metadata, masks and ground truth where they exist."""

from __future__ import annotations

from typing import Any

from halonerf.config.option_types import Component
from halonerf.data.collection import COLLECTION, Collection
from halonerf.factory import build
from halonerf.pipeline.stage import Stage
from halonerf.protocols import ResumableSource, SceneSource
from halonerf.stages.specs import CollectSpec


class Collect(CollectSpec, Stage):
    """Write the collection of a scene source.

    Args:
        scene: config of a `halonerf.protocols.SceneSource` or `PhotoCorpus`.
    """

    def __init__(self, scene: Component) -> None:
        super().__init__()
        self.scene = scene

    def items(self) -> list[str]:
        return ["collection"]

    def done(self, item: str) -> bool:
        return (self.folder / COLLECTION).is_file()

    def predict_step(self, item: str, index: int) -> None:
        source: SceneSource = build(self.scene)
        if not isinstance(source, ResumableSource):
            for stale in self.folder.iterdir():
                if stale.is_file():
                    stale.unlink()  # left by a killed run
        source.collect(self.folder)

    def summary(self) -> dict[str, Any]:
        collection = Collection.read(self.folder)
        return {
            "scene": collection.name,
            "photos": len(collection.records()),
            "passed_over": len(collection.passed_over),
            "concepts": list(collection.concepts),
            "truth": bool(collection.truth()),
        }
