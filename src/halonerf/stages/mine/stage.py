"""Verified pairs of a close-up and a farther photo of the same place, with their matches.

Only photos of the train split are paired: what is learnt from pairs must not come from held-out photos.

Output:
    pairs.parquet   a row per pair, best first; columns: `COLUMNS`
    matches.npz     `points0`, `points1`, `inlier`, `rigid`: row i of the table has rows starts[i]:starts[i + 1]
    pairs.png       the best pairs
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from annotated_types import Interval
from torch import Tensor

from halonerf.config.option_types import Component, Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from halonerf.data.formats.names import MATCHES, PAIRS
from halonerf.data.pairs.proposals import by_appearance, by_tracks, union
from halonerf.data.pairs.zoom import scale_ratio, verify_zoom
from halonerf.data.scene.scene import Scene
from halonerf.data.sfm.verification import single_threaded
from halonerf.data.undistortion import pinhole_points
from halonerf.factory import build
from halonerf.files import atomic_path, write_npz
from halonerf.pipeline.stage import Stage
from halonerf.protocols import CorrespondenceMiner, FeatureMiner, TrackMiner
from halonerf.stages.mine.feature_cache import FeatureCache
from halonerf.stages.mine.picture import draw_pairs
from halonerf.stages.specs import MineSpec
from halonerf.types import Matches

log = logging.getLogger(__name__)

PAIRS_PER_ITEM = 64
SEED = 0  # of sampling matches; the same whatever the run's seed, which then need not enter the fingerprint
COLUMNS: dict[str, str] = {
    "photo0": "object",  # the close-up
    "photo1": "object",  # the farther photo
    "scale_ratio": "float64",
    "matches": "int64",
    "inliers": "int64",  # of one homography and one rigid scene
    "coverage": "float64",
    "inside": "float64",
    "quality": "float64",
    "homography": "object",  # 9 numbers, row by row: px of photo0 -> px of photo1
    "rigid": "int64",  # matches that one rigid scene of any depth explains
}
HEAD_LENGTH = 18  # numbers per pair: two views, seven figures, nine of the homography


class Mine(MineSpec, Stage):
    """Match pairs of fitted photos and keep those of which one is a close-up of what the other shows.

    Pixels are those of the scene's working images. Flags of a match: `inlier` (one homography explains it) and `rigid`
    (one rigid scene of any depth explains it).

    Args:
        miner: config of a correspondence miner.
        proposals: which photos are matched: "tracks" (that share 3D points), "appearance" (that are similar), "both",
            or "auto": tracks for a miner that reads tracks, both for one that matches by appearance.
        neighbours: similar photos matched with each photo.
        exhaustive_limit: number of photos up to which "appearance" proposes every pair.
        min_shared: points that both photos must observe, and that the homography must explain.
        min_ratio: smallest ratio of scales of the two photos, at least 1.
        min_coverage: smallest share of the close-up inside the hull of its matches.
        min_inside: smallest share of the close-up inside the farther photo.
        tolerance: largest transfer error of the homography, share of the farther photo's long side.
        epipolar: largest distance from the epipolar line, share of the farther photo's long side.
        farther: farther photos kept per close-up, best first.
        memory_mb: MB of features kept for later pairs.
        workers: pairs matched in parallel; 0: one per core. Does not change the result.
    """

    def __init__(
        self,
        miner: Component,
        proposals: Literal["auto", "tracks", "appearance", "both"] = "auto",
        neighbours: PositiveInt = 20,
        exhaustive_limit: NonNegativeInt = 60,
        min_shared: PositiveInt = 10,
        min_ratio: Annotated[float, Interval(ge=1)] = 1.5,
        min_coverage: Fraction = 0.1,
        min_inside: Fraction = 0.7,
        tolerance: PositiveFloat = 0.02,
        epipolar: PositiveFloat = 0.004,
        farther: PositiveInt = 10,
        memory_mb: PositiveFloat = 1000.0,
        workers: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.miner_config, self.proposal_kind, self.neighbours = miner, proposals, neighbours
        self.exhaustive_limit, self.min_shared, self.min_ratio = exhaustive_limit, min_shared, min_ratio
        self.min_coverage, self.min_inside, self.tolerance, self.farther = min_coverage, min_inside, tolerance, farther
        self.epipolar, self.memory_mb = epipolar, memory_mb
        self.workers = workers if workers > 0 else len(os.sched_getaffinity(0))

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.miner: CorrespondenceMiner = build(self.miner_config)
        self.tracks = self._tracks()
        self.cache = FeatureCache(self._features, self.memory_mb)
        kind = self.proposal_kind
        if kind == "auto":
            kind = "tracks" if isinstance(self.miner, TrackMiner) else "both"
        found = []
        if kind in ("tracks", "both"):
            split = self.scene.split
            seen = [ids.numpy() if split[i] == "train" else ids.numpy()[:0] for i, (_, ids) in enumerate(self.tracks)]
            found.append(by_tracks(seen, self.min_shared))
        if kind in ("appearance", "both"):
            options = self.neighbours, self.exhaustive_limit, SEED, self.workers, self.folder
            found.append(by_appearance(self.scene, *options))
        self.proposals = union(*found)

    def items(self) -> list[int]:
        return list(range(0, len(self.proposals), PAIRS_PER_ITEM))

    def done(self, item: int) -> bool:
        return (self.folder / f"part-{item}.npz").is_file()

    def predict_step(self, item: int, index: int) -> None:
        pairs = [(int(i), int(j)) for i, j in self.proposals[item : item + PAIRS_PER_ITEM]]
        with single_threaded(), ThreadPoolExecutor(self.workers) as pool:
            found = [zoom for zoom in pool.map(self._zoom, pairs, self._matches(pairs, pool)) if zoom is not None]
        write_npz(
            self.folder / f"part-{item}.npz",
            heads=np.asarray([head for head, _ in found], np.float64).reshape(-1, HEAD_LENGTH),
            starts=np.cumsum([0, *(len(points) for _, points in found)]),
            points=np.concatenate([np.zeros((0, 6)), *(points for _, points in found)]),
        )

    def finish(self) -> None:
        heads, points = self._parts()
        names = self.scene.names
        taken: dict[int, int] = {}
        kept = []
        for row in sorted(range(len(heads)), key=lambda r: (-heads[r][7], heads[r][0], heads[r][1])):
            near = int(heads[row][0])
            if taken.get(near, 0) < self.farther:
                taken[near] = taken.get(near, 0) + 1
                kept.append(row)
        rows = [
            (names[int(h[0])], names[int(h[1])], *h[2:8].tolist(), h[9:].tolist(), int(h[8]))
            for h in (heads[r] for r in kept)
        ]
        table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
        chosen = np.concatenate([np.zeros((0, 6)), *(points[r] for r in kept)])
        write_npz(
            self.folder / MATCHES,
            starts=np.cumsum([0, *(len(points[r]) for r in kept)]),
            points0=chosen[:, :2].astype(np.float32),
            points1=chosen[:, 2:4].astype(np.float32),
            inlier=chosen[:, 4] > 0,
            rigid=chosen[:, 5] > 0,
        )
        if len(table):
            draw_pairs(self.scene, table, self.folder / "pairs.png")
        with atomic_path(self.folder / PAIRS) as temporary:
            table.to_parquet(temporary, index=False)
        for part in [*self.folder.glob("part-*.npz"), *self.folder.glob("appearance-*.npz")]:
            part.unlink()
        log.info("mine: %d zoom pairs of %d pairs matched", len(table), len(self.proposals))

    def summary(self) -> dict[str, Any]:
        table = pd.read_parquet(self.folder / PAIRS)
        return {
            "pairs": len(table),
            "proposed": len(self.proposals),
            "close_ups": int(table["photo0"].nunique()),
            "median_ratio": float(table["scale_ratio"].median()) if len(table) else 0.0,
            "median_inliers": float(table["inliers"].median()) if len(table) else 0.0,
            "median_quality": float(table["quality"].median()) if len(table) else 0.0,
        }

    def _tracks(self) -> list[tuple[Tensor, Tensor]]:
        """Observed points per photo, working pixels [N, 2] and ids [N]: the miner's own, else the reconstruction's."""
        scene = self.scene
        own = None
        if isinstance(self.miner, TrackMiner):
            own = self.miner.tracks(scene.names, [scene.native_size(i) for i in range(len(scene))])
        if own is None:
            return [scene.observations(i)[::2] for i in range(len(scene))]  # type: ignore[misc]
        tracks = []
        for i, (pixels, ids) in enumerate(own):
            view, native = scene.views[i], scene.native_size(i)
            flat = pinhole_points(scene.native_camera(i), pixels.numpy())
            flat = flat * (view.width / native[0], view.height / native[1])
            known = np.isfinite(flat).all(axis=1)
            tracks.append((torch.from_numpy(flat[known].astype(np.float32)), ids[torch.from_numpy(known)]))
        return tracks

    def _image(self, i: int) -> Tensor:
        if isinstance(self.miner, TrackMiner):  # reads sizes only
            return torch.zeros(1).expand(3, self.scene.views[i].height, self.scene.views[i].width)
        return self.scene.photo(i).permute(2, 0, 1).float() / 255.0

    def _features(self, i: int) -> Mapping[str, Tensor]:
        assert isinstance(self.miner, FeatureMiner)
        return self.miner.features(self._image(i))

    def _matches(self, pairs: list[tuple[int, int]], pool: Executor) -> list[Matches]:
        miner = self.miner
        if isinstance(miner, FeatureMiner):
            found = self.cache.get([i for pair in pairs for i in pair], pool)
            return list(pool.map(lambda pair: miner.match_features(found[pair[0]], found[pair[1]]), pairs))
        images = ((self._image(i), self._image(j), (self.tracks[i], self.tracks[j])) for i, j in pairs)
        return [miner.match(*each) for each in images]

    def _zoom(self, pair: tuple[int, int], matches: Matches) -> tuple[list[float], np.ndarray] | None:
        """The pair's `HEAD_LENGTH` numbers, and its matches [M, 6] with two flags; None where it is not a zoom pair."""
        covered = torch.ones(len(matches), dtype=torch.bool)
        for points, i in zip((matches.points0, matches.points1), pair, strict=True):
            valid = self.scene.valid(i)
            x, y = (points[:, k].long().clamp(0, valid.shape[1 - k] - 1) for k in (0, 1))
            covered &= valid[y, x]
        both = [points[covered].double().numpy() for points in (matches.points0, matches.points1)]
        near, far = (0, 1) if scale_ratio(*both) >= 1 else (1, 0)
        sizes = [(self.scene.views[i].width, self.scene.views[i].height) for i in pair]
        side = max(sizes[far])
        limits = self.min_ratio, self.min_shared, self.tolerance * side, self.epipolar * side, SEED
        zoom = verify_zoom(both[near], both[far], sizes[near], sizes[far], *limits)
        if zoom is None or zoom.coverage < self.min_coverage or zoom.inside < self.min_inside:
            return None
        figures = [zoom.ratio, len(both[0]), zoom.inliers.sum(), zoom.coverage, zoom.inside, zoom.quality]
        head = [pair[near], pair[far], *figures, zoom.rigid.sum(), *zoom.homography.ravel()]
        return head, np.column_stack([both[near], both[far], zoom.inliers, zoom.rigid])

    def _parts(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        heads, points = [], []
        for item in self.items():
            with np.load(self.folder / f"part-{item}.npz", allow_pickle=False) as arrays:
                starts, rows = arrays["starts"], arrays["points"]
                heads += list(arrays["heads"])
                points += [rows[starts[i] : starts[i + 1]] for i in range(len(starts) - 1)]
        return heads, points
