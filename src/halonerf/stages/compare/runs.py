"""The roads that `compare` walks: every scene by every protocol and method, and what `evaluate` left at their ends."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halonerf.artifacts import MANIFEST
from halonerf.data.formats.names import PER_IMAGE, SCORES
from halonerf.errors import BadInput
from halonerf.evaluation.scores import METRIC_NAMES
from halonerf.pipeline.overrides import merge_overrides
from halonerf.pipeline.stage import StageSource

OWN = "own"  # what the only protocol is called where none is named: as `evaluate` is set
READ = ("collect", "ingest", "segment", "localize", "evaluate")


@dataclass(frozen=True)
class Method:
    """One column of the table."""

    name: str
    title: str
    maps: str  # "2d": the segmenter's, "3d": the field's
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class RunGrid:
    """Scenes, methods and protocols, as the options of `compare` name them."""

    scenes: Mapping[str, Mapping[str, Any] | None]  # name to config; {"": None} is the stage's own scene
    methods: tuple[Method, ...]
    protocols: Mapping[str, Mapping[str, Any]]  # name to overrides

    @classmethod
    def of(
        cls, scenes: Mapping[str, Any] | None, methods: Mapping[str, Any] | None, protocols: Mapping[str, Any] | None
    ) -> RunGrid:
        """What is not named is the road as it is: its own scene, its 2D and 3D maps, its own protocol. 2D comes first.

        Raises: BadInput for a method whose maps are neither "2d" nor "3d", or with another option.
        """
        named = methods or {"2d": {"maps": "2d"}, "3d": {"maps": "3d"}}
        columns = sorted((_method(name, options) for name, options in named.items()), key=lambda method: method.maps)
        return cls(scenes or {"": None}, tuple(columns), protocols or {OWN: {}})

    def sources(self) -> dict[str, StageSource]:
        """What `halonerf.pipeline.stage.Stage.sources` is asked for."""
        return {
            _name(scene, protocol, method): StageSource(options, READ, merge_overrides(method.overrides, overrides))
            for scene, options in self.scenes.items()
            for protocol, overrides in self.protocols.items()
            for method in self.methods
        }

    @property
    def titles(self) -> dict[str, str]:
        """What each method is called in tables."""
        return {method.name: method.title for method in self.methods}


@dataclass(frozen=True)
class RunResults:
    """The finished folders of all roads."""

    roads: RunGrid
    inputs: Mapping[str, Path]

    def folder(self, scene: str, protocol: str, method: Method, stage: str) -> Path:
        """The folder of a stage on one road."""
        return self.inputs[f"{_name(scene, protocol, method)}/{stage}"]

    def rows(self, protocol: str) -> list[dict[str, Any]]:
        """A photo, a concept and a method each (`halonerf.evaluation.bootstrap`)."""
        return [row for scene in self.roads.scenes for method in self.roads.methods
                for row in self._scored(scene, protocol, method)]  # fmt: skip

    def histograms(self, protocol: str, method: Method) -> Iterator[dict[str, dict[str, list[int]]]]:
        """Of every scored photo of all scenes: concept to counts of its pixels (`halonerf.evaluation.scores.histogram`)."""
        for scene in self.roads.scenes:
            for path in sorted((self.folder(scene, protocol, method, "evaluate") / SCORES).glob("*.json")):
                entry = json.loads(path.read_text())["histograms"]
                yield {concept: found[method.maps] for concept, found in entry.items() if method.maps in found}

    def seconds(self, protocol: str) -> dict[str, dict[str, float]]:
        """Wall seconds of `segment` and, for 3D, of `localize`, mean over scenes, by method."""
        return {
            method.name: {
                stage: sum(map(self._wall, found)) / len(found)
                for stage in (("segment",) if method.maps == "2d" else ("segment", "localize"))
                if (found := [self.folder(scene, protocol, method, stage) for scene in self.roads.scenes])
            }
            for method in self.roads.methods
        }

    def _scored(self, scene: str, protocol: str, method: Method) -> Iterator[dict[str, Any]]:
        with open(self.folder(scene, protocol, method, "evaluate") / PER_IMAGE, newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row["method"] == method.maps:
                    names = {"scene": scene or row["scene"], "photo": row["photo"], "concept": row["concept"]}
                    figures = {figure: float(row[figure]) if row[figure] else None for figure in METRIC_NAMES}
                    yield {**names, "method": method.name, **figures}

    @staticmethod
    def _wall(folder: Path) -> float:
        return float(json.loads((folder / MANIFEST).read_text())["wall_s"])


def _method(name: str, options: Mapping[str, Any]) -> Method:
    unknown = set(options) - {"title", "maps", "overrides"}
    if unknown or options.get("maps") not in ("2d", "3d"):
        raise BadInput(
            f"expected compare.methods.{name} to have maps: 2d or 3d, and at most a title and overrides besides; got "
            f"{dict(options)}.\nFor example: compare.methods.{name}.maps=3d"
        )
    return Method(name, options.get("title") or name, options["maps"], options.get("overrides") or {})


def _name(scene: str, protocol: str, method: Method) -> str:
    return "/".join(part for part in (scene, protocol, method.name) if part)
