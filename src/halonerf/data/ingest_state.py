"""What the steps of ingest know: their options, and what earlier steps have left on disk, read when asked for."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from halonerf.data.collection import Collection
from halonerf.data.colmap_folder import SPLIT
from halonerf.data.colmap_model import match_names, read_model, registered_names
from halonerf.data.photo_checks import settle
from halonerf.data.scene_files import SPARSE, PosedPhoto, posed_photos
from halonerf.data.sfm import make_cameras
from halonerf.data.sfm_files import FeatureFiles, load_facts
from halonerf.data.sift import mapping_scale
from halonerf.data.upright import PhotoFacts
from halonerf.errors import BadInput

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IngestOptions:
    """See `halonerf.stages.ingest.Ingest`."""

    mapper: str
    size: int
    feature_size: int
    features: int
    peak_threshold: float
    max_ratio: float
    exhaustive_limit: int
    neighbours: int
    sequence: int
    min_inliers: int
    init_inliers: int
    pose_inliers: int
    mapping_threads: int
    max_error: float
    min_track: int
    min_angle: float
    test_every: int
    test_from: int


def sides(names: Sequence[str], every: int, fewest: int) -> dict[str, str]:
    """ "test" for every so-manieth photo, the first among them; all are "train" where there are less than `fewest`."""
    enough = every > 0 and len(names) >= fewest
    return {name: "test" if enough and i % every == 0 else "train" for i, name in enumerate(names)}


class IngestState:
    """Everything is derived from the collection and the files in `folder` and `work`.

    Args:
        folder: where the scene goes. work: where the steps leave what the next ones need.
        photos_an_item, pairs_an_item: how much a part is.
    """

    def __init__(
        self,
        collection: Collection,
        folder: Path,
        work: Path,
        options: IngestOptions,
        photos_an_item: int,
        pairs_an_item: int,
        seed: int,
    ) -> None:
        self.collection, self.folder, self.work, self.options, self.seed = collection, folder, work, options, seed
        self.names = sorted(record.image_id for record in collection.records())
        self._photos_an_item = photos_an_item
        self.photo_items = math.ceil(len(self.names) / photos_an_item)
        count = len(self.names)
        most = count * (count - 1) // 2
        if count > options.exhaustive_limit:
            most = min(most, count * (options.neighbours + options.sequence))
        self.match_items = max(1, math.ceil(most / pairs_an_item))

    def _split(self) -> dict[str, str]:
        table = self._table
        if table:
            return {p.name: table[p.name] for p in self._photos}
        return sides([p.name for p in self._photos], self.options.test_every, self.options.test_from)

    def _part(self, everything: list[Any], part: int) -> list[Any]:
        return everything[part * self._photos_an_item : (part + 1) * self._photos_an_item]

    def _scale(self, fact: PhotoFacts) -> float:
        return mapping_scale(fact.width, fact.height, self.options.feature_size)

    @cached_property
    def _model(self) -> pycolmap.Reconstruction:
        assert self.collection.model is not None
        return read_model(self.collection.model)

    @cached_property
    def _posed(self) -> dict[str, int]:
        """Photo -> image id in the finished model."""
        ids = registered_names(self._model)
        return {file: ids[name] for name, file in match_names(list(ids), self.names).items()}

    @cached_property
    def _table(self) -> dict[str, str]:
        """Photo -> side, where the collection came with a split; "" for photos that its authors left out."""
        path = self.collection.folder / SPLIT
        if not path.is_file():
            return {}
        with open(path, newline="", encoding="utf-8") as stream:
            return {row["image_id"]: row["split"] for row in csv.DictReader(stream)}

    @cached_property
    def _settled(self) -> tuple[list[PhotoFacts], list[PhotoFacts]]:
        facts = load_facts([self.work / f"check-{i}.json" for i in range(self.photo_items)])
        usable, aside = settle(facts, duplicates=self.collection.model is not None)
        for fact in aside:
            log.warning("ingest: set aside %s: %s", fact.image_id, fact.problem)
        if self.collection.model is None and len(usable) < 2:
            reasons = "; ".join(f"{f.image_id}: {f.problem}" for f in aside[:3])
            raise BadInput(
                f"expected at least two usable photos in {self.collection.photos}, found {len(usable)} among "
                f"{len(self.names)}{f' ({reasons})' if reasons else ''}.\nAdd photos of the place: scene.path=DIR"
            )
        return usable, aside

    @property
    def _usable(self) -> list[PhotoFacts]:
        return self._settled[0]

    @cached_property
    def _features(self) -> FeatureFiles:
        files = [self.work / f"features-{i}.npz" for i in range(self.photo_items)]
        return FeatureFiles(files, self._photos_an_item)

    @cached_property
    def _cameras(self) -> list[pycolmap.Camera]:
        return make_cameras(self._usable, [self._scale(f) for f in self._usable])

    @cached_property
    def _proposed(self) -> np.ndarray:
        with np.load(self.work / "pairs.npz", allow_pickle=False) as arrays:
            return arrays["pairs"]

    @property
    def _match_files(self) -> list[Path]:
        return [self.work / f"matches-{i}.npz" for i in range(self.match_items)]

    @cached_property
    def _sparse(self) -> pycolmap.Reconstruction:
        return pycolmap.Reconstruction(self.folder / SPARSE)

    @cached_property
    def _photos(self) -> list[PosedPhoto]:
        return posed_photos(self._sparse)
