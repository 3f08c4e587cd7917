"""The grid of runs that `compare` needs, every scene by protocol and method, and the results of `evaluate` in it."""

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
from halonerf.pipeline.spec import StageSource

DEFAULT_PROTOCOL = "own"  # name of the only protocol where none is given: as `evaluate` is set
READ_STAGES = ("collect", "ingest", "segment", "localize", "evaluate")


@dataclass(frozen=True)
class Method:
    """One column of the table."""

    name: str
    title: str
    maps: str  # "2d": of the segmenter, "3d": of the field
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class RunGrid:
    """Scenes, methods and protocols, as given by the options of `compare`."""

    scenes: Mapping[str, Mapping[str, Any] | None]  # name to config; {"": None} is the stage's own scene
    methods: tuple[Method, ...]
    protocols: Mapping[str, Mapping[str, Any]]  # name to overrides

    @classmethod
    def from_options(
        cls, scenes: Mapping[str, Any] | None, methods: Mapping[str, Any] | None, protocols: Mapping[str, Any] | None
    ) -> RunGrid:
        """The grid of the options; None: the configured scene, its 2D and 3D maps, the configured protocol.

        Methods with 2D maps come first.

        Raises: BadInput for a method whose maps are neither "2d" nor "3d", or with an unknown option.
        """
        given = methods or {"2d": {"maps": "2d"}, "3d": {"maps": "3d"}}
        columns = sorted((_method(name, options) for name, options in given.items()), key=lambda method: method.maps)
        return cls(scenes or {"": None}, tuple(columns), protocols or {DEFAULT_PROTOCOL: {}})

    def sources(self) -> dict[str, StageSource]:
        """The configs of all runs by name, for `halonerf.pipeline.stage.Stage.sources`."""
        return {
            _run_name(scene, protocol, method): StageSource(
                options, READ_STAGES, merge_overrides(method.overrides, overrides)
            )
            for scene, options in self.scenes.items()
            for protocol, overrides in self.protocols.items()
            for method in self.methods
        }

    @property
    def titles(self) -> dict[str, str]:
        """The title of each method in tables, by name."""
        return {method.name: method.title for method in self.methods}


@dataclass(frozen=True)
class RunResults:
    """The finished folders of all runs."""

    grid: RunGrid
    inputs: Mapping[str, Path]

    def folder(self, scene: str, protocol: str, method: Method, stage: str) -> Path:
        """The folder of a stage in one run."""
        return self.inputs[f"{_run_name(scene, protocol, method)}/{stage}"]

    def rows(self, protocol: str) -> list[dict[str, Any]]:
        """One row per photo, concept and method (`halonerf.evaluation.bootstrap`)."""
        return [row for scene in self.grid.scenes for method in self.grid.methods
                for row in self._scored(scene, protocol, method)]  # fmt: skip

    def histograms(self, protocol: str, method: Method) -> Iterator[dict[str, dict[str, list[int]]]]:
        """Of every scored photo of all scenes, `halonerf.evaluation.scores.histogram` by concept."""
        for scene in self.grid.scenes:
            for path in sorted((self.folder(scene, protocol, method, "evaluate") / SCORES).glob("*.json")):
                entry = json.loads(path.read_text())["histograms"]
                yield {concept: counts[method.maps] for concept, counts in entry.items() if method.maps in counts}

    def seconds(self, protocol: str) -> dict[str, dict[str, float]]:
        """Wall time, s, of `segment` and, for 3D maps, of `localize`, mean over scenes, by method."""
        return {
            method.name: {
                stage: sum(map(self._wall, folders)) / len(folders)
                for stage in (("segment",) if method.maps == "2d" else ("segment", "localize"))
                if (folders := [self.folder(scene, protocol, method, stage) for scene in self.grid.scenes])
            }
            for method in self.grid.methods
        }

    def _scored(self, scene: str, protocol: str, method: Method) -> Iterator[dict[str, Any]]:
        with open(self.folder(scene, protocol, method, "evaluate") / PER_IMAGE, newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row["method"] == method.maps:
                    names = {"scene": scene or row["scene"], "photo": row["photo"], "concept": row["concept"]}
                    metrics = {metric: float(row[metric]) if row[metric] else None for metric in METRIC_NAMES}
                    yield {**names, "method": method.name, **metrics}

    @staticmethod
    def _wall(folder: Path) -> float:
        return float(json.loads((folder / MANIFEST).read_text())["wall_s"])


def _method(name: str, options: Mapping[str, Any]) -> Method:
    unknown = set(options) - {"title", "maps", "overrides"}
    if unknown or options.get("maps") not in ("2d", "3d"):
        raise BadInput(
            f"expected compare.methods.{name} to have maps: 2d or 3d, and optionally a title and overrides; got "
            f"{dict(options)}.\nFor example: compare.methods.{name}.maps=3d"
        )
    return Method(name, options.get("title") or name, options["maps"], options.get("overrides") or {})


def _run_name(scene: str, protocol: str, method: Method) -> str:
    return "/".join(part for part in (scene, protocol, method.name) if part)
