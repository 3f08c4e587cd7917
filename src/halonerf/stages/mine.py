"""Finds photos that are close-ups of what other photos show, with the points that prove it."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from halonerf.artifacts import write_atomic
from halonerf.data.scene_files import write_npz
from halonerf.data.scenes import Scene
from halonerf.data.zoom import verify_zoom
from halonerf.data.zoom_picture import draw_pairs
from halonerf.protocols import CorrespondenceMiner
from halonerf.stages.base import Stage
from halonerf.stages.build import build

log = logging.getLogger(__name__)

PAIRS_AN_ITEM = 64
COLUMNS: dict[str, str] = {
    "photo0": "object",  # the close-up
    "photo1": "object",  # the farther photo
    "scale_ratio": "float64",
    "matches": "int64",
    "inliers": "int64",
    "coverage": "float64",
    "inside": "float64",
    "quality": "float64",
    "homography": "object",  # 9 numbers, row by row: px of photo0 -> px of photo1
}


class Mine(Stage):
    """Writes `pairs.parquet` (best first), `matches.npz` and `pairs.png`.

    Pixels are those of the scene's working photos. Row i of the table has rows starts[i]:starts[i+1] of the arrays.

    Args:
        miner: config of a correspondence miner.
        min_shared: points that both photos must have seen, and that the homography must explain.
        min_ratio: how much closer the close-up must be.
        min_coverage: share of the close-up that the points must span.
        min_inside: share of the close-up that must lie inside the farther photo.
        tolerance: share of the farther photo's long side that a point may miss the homography by.
        farther: farther photos kept a close-up, best first.
    """

    name = "mine"
    needs = ("ingest",)

    def __init__(
        self,
        miner: Mapping[str, Any],
        min_shared: int = 10,
        min_ratio: float = 1.5,
        min_coverage: float = 0.1,
        min_inside: float = 0.7,
        tolerance: float = 0.02,
        farther: int = 10,
    ) -> None:
        super().__init__()
        self.miner_config, self.min_shared, self.min_ratio = miner, min_shared, min_ratio
        self.min_coverage, self.min_inside, self.tolerance, self.farther = min_coverage, min_inside, tolerance, farther

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.miner: CorrespondenceMiner = build(self.miner_config)
        self.proposals = propose(self.scene, self.min_shared)

    def items(self) -> list[int]:
        return list(range(0, len(self.proposals), PAIRS_AN_ITEM))

    def done(self, item: int) -> bool:
        return (self.folder / f"part-{item}.npz").is_file()

    def predict_step(self, item: int, index: int) -> None:
        found = [z for i, j in self.proposals[item : item + PAIRS_AN_ITEM] for z in self._zooms(int(i), int(j))]
        heads = np.asarray([h for h, _, _, _ in found], np.float64).reshape(-1, 17)
        points = [np.column_stack([p0, p1, keep]) for _, p0, p1, keep in found]
        starts = np.cumsum([0, *(len(p) for p in points)])
        write_npz(
            self.folder / f"part-{item}.npz",
            heads=heads,
            starts=starts,
            points=np.concatenate([np.zeros((0, 5)), *points]),
        )

    def finish(self) -> None:
        heads, points = self._parts()
        names = self.scene.names
        order = sorted(range(len(heads)), key=lambda r: (-heads[r][7], heads[r][0], heads[r][1]))
        taken: dict[int, int] = {}
        kept = []
        for row in order:
            near = int(heads[row][0])
            if taken.get(near, 0) < self.farther:
                taken[near] = taken.get(near, 0) + 1
                kept.append(row)
        rows = [
            (names[int(heads[r][0])], names[int(heads[r][1])], *heads[r][2:8].tolist(), heads[r][8:17].tolist())
            for r in kept
        ]
        table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        chosen = np.concatenate([np.zeros((0, 5)), *(points[r] for r in kept)])
        write_npz(
            self.folder / "matches.npz",
            starts=np.cumsum([0, *(len(points[r]) for r in kept)]),
            points0=chosen[:, :2].astype(np.float32),
            points1=chosen[:, 2:4].astype(np.float32),
            inlier=chosen[:, 4] > 0,
        )
        if len(table):
            draw_pairs(self.scene, table, self.folder / "pairs.png")
        write_atomic(self.folder / "pairs.parquet", buffer.getvalue())
        for part in self.folder.glob("part-*.npz"):
            part.unlink()
        log.info("mine: %d zoom pairs of %d pairs with shared points", len(table), len(self.proposals))

    def summary(self) -> dict[str, Any]:
        table = pd.read_parquet(self.folder / "pairs.parquet")
        return {
            "pairs": len(table),
            "proposed": len(self.proposals),
            "close_ups": int(table["photo0"].nunique()),
            "median_ratio": float(table["scale_ratio"].median()) if len(table) else 0.0,
            "median_quality": float(table["quality"].median()) if len(table) else 0.0,
        }

    def _zooms(self, i: int, j: int) -> list[tuple[list[float], np.ndarray, np.ndarray, np.ndarray]]:
        scene = self.scene
        seen = tuple(scene.observations(k)[::2] for k in (i, j))
        images = [scene.photo(k).permute(2, 0, 1).float() / 255.0 for k in (i, j)]
        matches = self.miner.match(images[0], images[1], (seen[0], seen[1]))
        points = matches.points0.double().numpy(), matches.points1.double().numpy()
        sizes = [(scene.views[k].width, scene.views[k].height) for k in (i, j)]
        found = []
        for near, far in ((0, 1), (1, 0)):
            zoom = verify_zoom(
                points[near],
                points[far],
                sizes[near],
                sizes[far],
                self.min_ratio,
                self.min_shared,
                self.tolerance * max(sizes[far]),
                self.seed,
            )
            if zoom is None or zoom.coverage < self.min_coverage or zoom.inside < self.min_inside:
                continue
            figures = [zoom.ratio, len(points[0]), zoom.inliers.sum(), zoom.coverage, zoom.inside, zoom.quality]
            head = [(i, j)[near], (i, j)[far], *figures, *zoom.homography.ravel()]
            found.append((head, points[near], points[far], zoom.inliers))
        return found

    def _parts(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        heads, points = [], []
        for item in self.items():
            with np.load(self.folder / f"part-{item}.npz", allow_pickle=False) as arrays:
                starts, rows = arrays["starts"], arrays["points"]
                heads += list(arrays["heads"])
                points += [rows[starts[i] : starts[i + 1]] for i in range(len(starts) - 1)]
        return heads, points


def propose(scene: Scene, min_shared: int) -> np.ndarray:
    """Pairs [P, 2] of views, i < j, that saw at least `min_shared` points in common, by a sparse product."""
    counts = [len(scene.observations(i)[2]) for i in range(len(scene))]
    point = np.concatenate([scene.observations(i)[2].numpy() for i in range(len(scene))])
    view = np.repeat(np.arange(len(scene)), counts)
    saw = csr_matrix((np.ones(len(view)), (view, point)), shape=(len(scene), len(scene.points)))
    saw.data[:] = 1  # a point seen twice in one photo counts once
    shared = (saw @ saw.T).tocoo()
    chosen = (shared.row < shared.col) & (shared.data >= min_shared)
    pairs = np.stack([shared.row[chosen], shared.col[chosen]], axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
