"""Structure from motion: cameras, points and working images from photos, or from a finished COLMAP model.

    check -> features -> pairs -> matches -> mapping -> images -> tables

Each step consists of items whose results are stored (`work/`), so that a killed run resumes.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Interval

from halonerf.config.option_types import (
    LARGEST,
    NonNegativeFloat,
    NonNegativeInt,
    Pixels,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
)
from halonerf.data.collection import Collection
from halonerf.data.formats.names import INGEST_REPORT, REGISTRATION
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.files import write_json
from halonerf.pipeline.stage import Stage
from halonerf.stages.ingest.picture import draw_registration
from halonerf.stages.ingest.steps import IngestOptions, IngestSteps
from halonerf.stages.specs import IngestSpec

log = logging.getLogger(__name__)

PHOTOS_PER_ITEM = 8
PAIRS_PER_ITEM = 64


class Ingest(IngestSpec, Stage):
    """Register photos and write the scene that `halonerf.data.scene.scene.Scene` opens.

    Args:
        mapper: "incremental" or "global".
        size: long side of the working images, px.
        feature_size: long side of the images searched for features, px.
        features: features per photo at most.
        peak_threshold: smallest contrast of a feature, grey in [0, 1].
        max_ratio: largest ratio of the angles to the nearest and second nearest descriptor.
        exhaustive_limit: number of photos up to which every pair is matched.
        neighbours: beyond it, similar photos matched with each photo.
        sequence: beyond it, photos matched with each photo that follow it in name order.
        min_inliers: matches that a two-view geometry must explain.
        init_inliers: matches that the first pair of a model must have.
        pose_inliers: points that a further photo must observe.
        mapping_threads: 1 gives the same result on every run.
        max_error: px of the images searched; largest mean reprojection error of the scene's points.
        min_track: photos that must observe a point.
        min_angle: degrees; smallest triangulation angle of a point.
        test_every: every `test_every`-th photo, sorted by name, is held out; 0: none.
        test_from: number of registered photos from which on photos are held out.
    """

    def __init__(
        self,
        mapper: Literal["incremental", "global"] = "incremental",
        size: Pixels = 512,
        feature_size: Annotated[int, Interval(ge=64, le=65535)] = 1024,
        features: PositiveInt = 8192,
        peak_threshold: NonNegativeFloat = 0.004,
        max_ratio: PositiveFraction = 0.85,
        exhaustive_limit: NonNegativeInt = 120,
        neighbours: PositiveInt = 20,
        sequence: NonNegativeInt = 5,
        min_inliers: PositiveInt = 15,
        init_inliers: PositiveInt = 50,
        pose_inliers: PositiveInt = 15,
        mapping_threads: PositiveInt = 1,
        max_error: PositiveFloat = 2.0,
        min_track: Annotated[int, Interval(ge=2, le=LARGEST)] = 2,
        min_angle: NonNegativeFloat = 1.5,
        test_every: NonNegativeInt = 8,
        test_from: NonNegativeInt = 16,
    ) -> None:
        super().__init__()
        self.options = IngestOptions(
            mapper=mapper,
            size=size,
            feature_size=feature_size,
            features=features,
            peak_threshold=peak_threshold,
            max_ratio=max_ratio,
            exhaustive_limit=exhaustive_limit,
            neighbours=neighbours,
            sequence=sequence,
            min_inliers=min_inliers,
            init_inliers=init_inliers,
            pose_inliers=pose_inliers,
            mapping_threads=mapping_threads,
            max_error=max_error,
            min_track=min_track,
            min_angle=min_angle,
            test_every=test_every,
            test_from=test_from,
        )

    def prepare(self) -> None:
        if not self.collection.photos.is_dir():
            raise BadInput(
                f"expected the photos of '{self.collection.name}' in {self.collection.photos}, which does not "
                f"exist any more.\nRestore them, or delete {self.collection.folder} and give scene.path=DIR"
            )
        self.work.mkdir(exist_ok=True)

    @cached_property
    def collection(self) -> Collection:
        """The collection of `collect`."""
        return Collection.read(self.inputs["collect"])

    @property
    def work(self) -> Path:
        """Folder of intermediate files."""
        return self.folder / "work"

    @cached_property
    def steps(self) -> IngestSteps:
        """The steps, for this collection and these options."""
        return IngestSteps(
            self.collection, self.folder, self.work, self.options, PHOTOS_PER_ITEM, PAIRS_PER_ITEM, self.seed
        )

    def items(self) -> list[str]:
        photos = self.steps.photo_items
        if self.collection.model is not None:
            return [*_items("check", photos), "mapping:0", *_items("images", photos), "tables:0"]
        return [
            *_items("check", photos),
            *_items("features", photos),
            "pairs:0",
            *_items("matches", self.steps.match_items),
            "mapping:0",
            *_items("images", photos),
            "tables:0",
        ]

    def done(self, item: str) -> bool:
        return (self.folder / INGEST_REPORT).is_file() or self._mark(item).is_file()

    def predict_step(self, item: str, index: int) -> None:
        started = time.perf_counter()
        step, part = item.split(":")
        getattr(self.steps, step)(int(part))
        write_json(self._mark(item), {"seconds": time.perf_counter() - started})

    def finish(self) -> None:
        if not (self.folder / INGEST_REPORT).is_file():
            scene = Scene(self.folder)
            draw_registration(scene, self.folder / REGISTRATION)
            write_json(self.folder / INGEST_REPORT, {**self.steps.report(), "seconds": self._seconds()})
        shutil.rmtree(self.work, ignore_errors=True)
        report = self.summary()
        log.info(
            "ingest: %d of %d photos registered, %d points, %.2f px",
            report["registered"],
            report["photos"],
            report["points"],
            report["mean_reprojection_error_px"],
        )

    def summary(self) -> dict[str, Any]:
        report = json.loads((self.folder / INGEST_REPORT).read_text(encoding="utf-8"))
        return {key: value for key, value in report.items() if key not in ("set_aside", "unregistered", "models")}

    def _mark(self, item: str) -> Path:
        return self.work / f"{item.replace(':', '-')}.done"

    def _seconds(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for item in self.items():
            step = item.split(":")[0]
            spent = json.loads(self._mark(item).read_text())["seconds"]
            seconds[step] = round(seconds.get(step, 0.0) + spent, 2)
        return seconds


def _items(step: str, count: int) -> list[str]:
    return [f"{step}:{i}" for i in range(count)]
