"""The steps of `ingest`: checks, features, pairs, matches, mapping, images, tables."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from halonerf.data.collection import Collection
from halonerf.data.photo_io import PhotoFacts, read_photo
from halonerf.data.scene.files import IMAGES, SPARSE, VALID, Filters, PosedPhoto, layout, posed_photos, write_tables
from halonerf.data.sfm.camera_checks import camera_problem, pose_problem
from halonerf.data.sfm.colmap_model import match_names, read_model, registered_names
from halonerf.data.sfm.features import extract_features, mapping_scale
from halonerf.data.sfm.mapping import make_cameras, rebuild, run_mapper, write_database
from halonerf.data.sfm.pairing import propose_pairs
from halonerf.data.sfm.parallax import (
    MIN_TRIANGULATED,
    CollectionParallax,
    collection_parallax,
    triangulated_share,
)
from halonerf.data.sfm.photo_checks import check_model_photos, check_photos, split_usable
from halonerf.data.sfm.shared_cameras import accept, refine, shared_groups
from halonerf.data.sfm.verification import VerifiedPair, single_threaded, unit_descriptors, verify_pair
from halonerf.data.sources.colmap_folder import SPLIT
from halonerf.data.undistortion import undistort
from halonerf.errors import BadInput
from halonerf.files import read_csv, write_at, write_json, write_npz
from halonerf.matching import mutual_nearest
from halonerf.stages.ingest.files import FeatureFiles, load_facts, load_pairs, save_facts, save_features, save_pairs

log = logging.getLogger(__name__)

MIN_COSINE = math.cos(0.7)  # of two descriptors that match; COLMAP's largest angle, radians


@dataclass(frozen=True)
class IngestOptions:
    """Options of `halonerf.stages.ingest.stage.Ingest`, which documents them."""

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


def train_test_split(names: Sequence[str], every: int, min_photos: int) -> dict[str, str]:
    """Photo to "test", for every `every`-th from the first on, or "train"; below `min_photos` photos all "train"."""
    hold_out = every > 0 and len(names) >= min_photos
    return {name: "test" if hold_out and i % every == 0 else "train" for i, name in enumerate(names)}


class IngestState:
    """Inputs of the steps and results of earlier ones, read from the collection, `folder` and `work` on access.

    Args:
        folder: of the scene. work: of intermediate files.
        photos_per_item, pairs_per_item: size of a step's items.
    """

    def __init__(
        self,
        collection: Collection,
        folder: Path,
        work: Path,
        options: IngestOptions,
        photos_per_item: int,
        pairs_per_item: int,
        seed: int,
    ) -> None:
        self.collection, self.folder, self.work, self.options, self.seed = collection, folder, work, options, seed
        self.names = sorted(record.image_id for record in collection.records())
        self._photos_per_item = photos_per_item
        self.photo_items = math.ceil(len(self.names) / photos_per_item)
        count = len(self.names)
        max_pairs = count * (count - 1) // 2
        if count > options.exhaustive_limit:
            max_pairs = min(max_pairs, count * (options.neighbours + options.sequence))
        self.match_items = max(1, math.ceil(max_pairs / pairs_per_item))

    def _split(self) -> dict[str, str]:
        table = self._table
        if table:
            return {p.name: table[p.name] for p in self._photos}
        return train_test_split([p.name for p in self._photos], self.options.test_every, self.options.test_from)

    def _part(self, everything: list[Any], part: int) -> list[Any]:
        return everything[part * self._photos_per_item : (part + 1) * self._photos_per_item]

    def _scale(self, fact: PhotoFacts) -> float:
        return mapping_scale(fact.width, fact.height, self.options.feature_size)

    @cached_property
    def _model(self) -> pycolmap.Reconstruction:
        assert self.collection.model is not None
        return read_model(self.collection.model)

    @cached_property
    def _posed(self) -> dict[str, int]:
        """Photo to image id in the finished model."""
        ids = registered_names(self._model)
        return {file: ids[name] for name, file in match_names(list(ids), self.names).items()}

    @cached_property
    def _table(self) -> dict[str, str]:
        """Photo to side of the split, where the collection has one; "" for photos that its authors left out."""
        path = self.collection.folder / SPLIT
        if not path.is_file():
            return {}
        return {row["image_id"]: row["split"] for row in read_csv(path)}

    @cached_property
    def _checked(self) -> tuple[list[PhotoFacts], list[PhotoFacts]]:
        facts = load_facts([self.work / f"check-{i}.json" for i in range(self.photo_items)])
        usable, aside = split_usable(facts, duplicates=self.collection.model is not None)
        for fact in aside:
            log.warning("ingest: set aside %s: %s", fact.image_id, fact.problem)
        if self.collection.model is None and len(usable) < 2:
            reasons = "; ".join(f"{f.image_id}: {f.problem}" for f in aside[:3])
            raise BadInput(
                f"expected at least two usable photos in {self.collection.photos}, found {len(usable)} among "
                f"{len(self.names)}{f' ({reasons})' if reasons else ''}.\n"
                "Mend what is wrong with them, or add photos of the place"
            )
        return usable, aside

    @property
    def _usable(self) -> list[PhotoFacts]:
        return self._checked[0]

    @cached_property
    def _features(self) -> FeatureFiles:
        files = [self.work / f"features-{i}.npz" for i in range(self.photo_items)]
        return FeatureFiles(files, self._photos_per_item)

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


class IngestSteps(IngestState):
    """One method per step; `part` is the index of the step's item."""

    def check(self, part: int) -> None:
        """Decode photos; store their size, focal length and digests, or why they cannot be used."""
        names = self._part(self.names, part)
        if self.collection.model is None:
            facts = check_photos(self.collection.photos, names, len(os.sched_getaffinity(0)))
        else:
            images = {file: self._model.image(i) for file, i in self._posed.items() if file in names}
            cameras = {name: self._model.camera(image.camera_id) for name, image in images.items()}
            problems = {
                name: "not in the model"
                if name not in images
                else camera_problem(cameras[name]) or pose_problem(images[name])
                for name in names
            }
            sizes = {
                name: (cameras[name].width, cameras[name].height) for name, problem in problems.items() if not problem
            }
            facts = check_model_photos(self.collection.photos, sizes, len(os.sched_getaffinity(0)))
            facts += [PhotoFacts(name, problem=problem) for name, problem in problems.items() if problem]
            table = self._table
            facts = [
                f
                if f.problem or not table or table.get(f.image_id)
                else PhotoFacts(f.image_id, "left out by the split's table")
                for f in facts
            ]
        save_facts(self.work / f"check-{part}.json", sorted(facts, key=lambda f: f.image_id))

    def features(self, part: int) -> None:
        """Extract SIFT features of some of the usable photos."""
        chosen = self._part(self._usable, part)
        options = self.options
        found = extract_features(
            self.collection.photos,
            [f.image_id for f in chosen],
            options.feature_size,
            options.features,
            options.peak_threshold,
        )
        save_features(self.work / f"features-{part}.npz", found)

    def pairs(self, part: int) -> None:
        """Propose pairs of photos to match."""
        features = [self._features[i] for i in range(len(self._usable))]
        options = self.options
        pairs = propose_pairs(features, options.exhaustive_limit, options.neighbours, options.sequence, self.seed)
        write_npz(self.work / "pairs.npz", pairs=pairs)
        log.info("ingest: matching %d pairs of %d photos", len(pairs), len(features))

    def matches(self, part: int) -> None:
        """Match and verify some of the pairs."""
        pairs = np.array_split(self._proposed, self.match_items)[part]
        with single_threaded(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            verified = list(pool.map(lambda pair: self._match(*pair), pairs.tolist()))
        save_pairs(self.work / f"matches-{part}.npz", [pair for pair in verified if pair is not None])

    def mapping(self, part: int) -> None:
        """Reconstruct, or read the finished model; write it to `sparse/`, in the original photos' pixels."""
        if self.collection.model is not None:
            model, ids = self._model, self._posed
            factor = {
                f.image_id: f.width / model.camera(model.image(ids[f.image_id]).camera_id).width for f in self._usable
            }
            others: list[dict[str, Any]] = []
            unregistered: list[str] = []
        else:
            models = self._reconstruct()
            model = models[0]
            ids = registered_names(model)
            factor = {f.image_id: 1.0 / self._scale(f) for f in self._usable}
            unregistered = [f.image_id for f in self._usable if f.image_id not in ids]
            others = [{"photos": sorted(registered_names(m)), "points": int(m.num_points3D())} for m in models[1:]]
        sizes = {f.image_id: (f.width, f.height) for f in self._usable}
        keep = {ids[name]: (name, factor[name], *sizes[name]) for name in sorted(ids) if name in sizes}
        if not keep:
            found = ", ".join(sorted({f.problem for f in self._checked[1]})[:4])
            raise BadInput(
                f"expected photos for the model in {self.collection.model}, but none of {len(self.names)} can be used: "
                f"{found}.\n"
                "Where the photos are wrong, give those that the model was made from: scene.images=DIR\n"
                "Where cameras are, export the model with perspective or fisheye cameras, or reconstruct the "
                "photos: scene=photos scene.path=DIR"
            )
        partial = self.folder / f"{SPARSE}.partial"
        for stale in (partial, self.folder / SPARSE):
            shutil.rmtree(stale, ignore_errors=True)
        partial.mkdir()
        result = rebuild(model, keep)
        if self.collection.model is None:
            result = self._refined(result, keep)
        result.write_binary(partial)
        partial.rename(self.folder / SPARSE)
        write_json(self.work / "mapping.json", {"other_models": others, "unregistered": unregistered})

    def images(self, part: int) -> None:
        """Undistort some of the registered photos into the flat files."""
        sizes, starts = layout(self._photos, self.options.size)
        facts = {f.image_id: f for f in self._usable}
        wanted = set(self._part(self.names, part))
        for i, photo in enumerate(self._photos):
            if photo.name not in wanted:
                continue
            pixels = read_photo(self.collection.photos / photo.name, facts[photo.name].upright)
            image, inside = undistort(photo.camera, pixels, *sizes[i])
            write_at(self.folder / IMAGES, int(3 * starts[i]), image.tobytes())
            write_at(self.folder / VALID, int(starts[i]), inside.astype(np.uint8).tobytes())

    def tables(self, part: int) -> None:
        """Normalise the world, filter points, split photos; write the scene's tables."""
        options = self.options
        filters = Filters(options.max_error, options.min_track, options.min_angle, options.feature_size)
        ignored = {f.image_id: f.orientation for f in self._usable if not f.upright}
        figures = write_tables(
            self.folder, self.collection.name, self._sparse, options.size, filters, self._split(), ignored
        )
        write_json(self.work / "tables.json", figures)

    def report(self) -> dict[str, Any]:
        """Outcome of every photo, and figures of the scene; JSON types."""
        usable, aside = self._checked
        mapping = json.loads((self.work / "mapping.json").read_text(encoding="utf-8"))
        figures = json.loads((self.work / "tables.json").read_text())
        return {
            "scene": self.collection.name,
            "photos": len(self.names),
            "usable": len(usable),
            "registered": len(self._photos),
            "mapper": "finished model" if self.collection.model is not None else self.options.mapper,
            **figures,
            "with_exif_focal": sum(f.focal is not None for f in usable),
            "pairs_compared": len(self._proposed) if self.collection.model is None else 0,
            "pairs_verified": len(load_pairs(self._match_files)) if self.collection.model is None else 0,
            "models": [
                {"photos": [p.name for p in self._photos], "points": figures["points"]},
                *mapping["other_models"],
            ],
            "unregistered": mapping["unregistered"],
            "set_aside": [
                *({"photo": f.image_id, "reason": f.problem} for f in aside),
                *({"photo": name, "reason": reason} for name, reason in self.collection.passed_over.items()),
            ],
        }

    def _match(self, first: int, second: int) -> VerifiedPair | None:
        both = self._features[first], self._features[second]
        described = unit_descriptors(both[0]), unit_descriptors(both[1])
        matches, _ = mutual_nearest(*described, self.options.max_ratio, MIN_COSINE, angular=True)
        cameras = self._cameras[first], self._cameras[second]
        return verify_pair(first, second, both, cameras, matches.numpy(), self.options.min_inliers, self.seed)

    def _reconstruct(self) -> list[pycolmap.Reconstruction]:
        pairs = load_pairs(self._match_files)
        usable = self._usable
        models: list[pycolmap.Reconstruction] = []
        parallax = CollectionParallax(0, 0, 0, 0.0, 0.0)
        if pairs:
            database = self.work / "database.db"
            for stale in self.work.glob("database.db*"):
                stale.unlink()
            features = [self._features[i] for i in range(len(usable))]
            parallax = collection_parallax(features, self._cameras, pairs, self.options.init_inliers)
            write_database(database, [f.image_id for f in usable], self._cameras, features, pairs)
            options = self.options
            models = run_mapper(
                database,
                options.mapper,
                self.seed,
                options.mapping_threads,
                options.init_inliers,
                options.pose_inliers,
                options.min_angle,
            )
        found = bool(models) and models[0].num_reg_images() >= 2 and models[0].num_points3D() > 0
        if parallax.lacking and not (found and self._triangulated(models[0], pairs) >= MIN_TRIANGULATED):
            raise BadInput(f"the {len(usable)} photos have no parallax, which 3D needs: {parallax.explain()}")
        if not found:
            best = max((len(p.inliers) for p in pairs), default=0)
            raise BadInput(
                f"no two of the {len(usable)} photos could be registered in one scene: of {len(self._proposed)} pairs "
                f"matched, {len(pairs)} have a two-view geometry (the best with {best} matches; the first pair needs "
                f"{self.options.init_inliers}).\nGive photos of one place that overlap; for dark or small photos try "
                f"ingest.peak_threshold={self.options.peak_threshold / 2:g} ingest.feature_size="
                f"{2 * self.options.feature_size} ingest.init_inliers={max(15, self.options.init_inliers // 2)}"
            )
        for i, model in enumerate(models):
            log.info("ingest: model %d has %d photos, %d points", i, model.num_reg_images(), model.num_points3D())
        return models

    def _triangulated(self, model: pycolmap.Reconstruction, pairs: list[VerifiedPair]) -> float:
        """Share of the matched features of a model's photos that observe its points."""
        return triangulated_share(model, {i - 1: i for i in model.reg_image_ids()}, pairs)

    def _refined(self, model: pycolmap.Reconstruction, keep: dict[int, Any]) -> pycolmap.Reconstruction:
        """The model with shared cameras for photos of one camera, where the reprojection error stays about as low."""
        threads = self.options.mapping_threads
        replace = shared_groups(model)
        if not replace:
            return model
        apart = refine(model, threads)
        same_pixels = {i: (name, 1.0, width, height) for i, (name, _, width, height) in keep.items()}
        together = rebuild(model, same_pixels, replace)
        return together if accept(apart, refine(together, threads), len(replace)) else model
