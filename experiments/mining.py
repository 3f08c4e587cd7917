"""What do the miners find, and how well do warps carry a close-up into a farther photo?

    python experiments/mining.py [--miners sift aliked] [--artifacts artifacts] [--min-ratio 1.2] [--quick]

Prints tables; writes experiments/out/mining.json and, for each miner, mining_<miner>.png. Needs the real photos (set
HALONERF_SHARED to the parent of `data`).

Sacré-Coeur: zoom pairs of ten photos, found by the stage `mine`. Where both photos have hand-drawn masks, the
close-up's mask is carried into the farther photo and compared with the one drawn there, inside the region that both
warps cover (IoU at one half). "where": the share of the farther photo's mask that lies in that region.

Herz-Jesu: for each pair, half of the points that structure from motion has found in both photos are held out. Matches
within `APART` px of one, in either photo, are left out of all that is fitted, the homography included. A held-out point
is triangulated with the ground truth's cameras from all photos that saw it, projected with them into the close-up,
carried by the warp, and compared with where they project it in the farther photo (px of the 512 px working photo).

Warps of the kind "homography" are fitted to the matches that the homography explains, "local" to those that one rigid
scene explains.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from halonerf.data.pairs.two_view import epipolar_inliers, robust_homography
from halonerf.data.pairs.warp import KINDS, Warp, fit_warp
from halonerf.data.pairs.zoom import scale_ratio
from halonerf.data.scene.scene import Scene
from halonerf.data.undistortion import pinhole_points
from halonerf.visualization.pictures import grid, outline, overlay, save_picture

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "out"
SHARED = Path(os.environ.get("HALONERF_SHARED", ROOT.parent / "shared")) / "data"
MINERS = {
    "sift": ["miner=sift"],
    "aliked": ["miner=aliked", f"miner.weights={SHARED / 'weights' / 'aliked-n16rot.pth'}"],
    "sfm_tracks": ["miner=sfm_tracks"],
}
POINTS = {"homography": "inlier", "local": "rigid"}  # the matches that a warp is fitted to
APART = 3.0  # px of the working photos
SMALLEST = 50  # px of the farther photo's mask inside the region; below, an IoU says nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--miners", nargs="+", default=["sift", "aliked"], choices=list(MINERS))
    parser.add_argument("--scenes", nargs="+", default=["sacre_coeur", "herzjesu"], choices=["sacre_coeur", "herzjesu"])
    parser.add_argument("--artifacts", default="artifacts", help="where scenes and pairs are kept")
    parser.add_argument("--min-ratio", type=float, default=1.2, help="how much closer a close-up must be")
    parser.add_argument("--quick", action="store_true", help="the first miner, five pairs of Herz-Jesu")
    options = parser.parse_args()
    if not (SHARED / "sacre_coeur").is_dir():
        print(f"left out: no photos in {SHARED} (set HALONERF_SHARED to its parent)")
        return
    results: dict[str, Any] = {}
    for miner in options.miners[: 1 if options.quick else None]:
        parts = {"sacre_coeur": masks, "herzjesu": positions}
        results[miner] = {scene: parts[scene](miner, options) for scene in options.scenes}
        OUT.mkdir(exist_ok=True)
        (OUT / "mining.json").write_text(json.dumps(results, indent=2) + "\n")


def mined(
    photos: Path, miner: str, options: argparse.Namespace
) -> tuple[Scene, pd.DataFrame, dict[str, np.ndarray], Any]:
    """The scene, its pairs with their matches, and the stage's summary."""
    command = [sys.executable, "-m", "halonerf.cli", "stage=mine", "scene=photos", f"scene.path={photos}"]
    command += [*MINERS[miner], f"mine.min_ratio={options.min_ratio}", f"artifacts={options.artifacts}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    folder = Path(done.stdout.strip().splitlines()[-1])
    manifest = json.loads((folder / "manifest.json").read_text())
    scene = Scene(folder.parents[1] / "ingest" / manifest["inputs"]["ingest"])
    with np.load(folder / "matches.npz", allow_pickle=False) as arrays:
        matches = dict(arrays)
    return (
        scene,
        pd.read_parquet(folder / "pairs.parquet"),
        matches,
        {**manifest["summary"], "seconds": manifest["wall_s"]},
    )


def masks(miner: str, options: argparse.Namespace) -> dict[str, Any]:
    """IoU of carried masks with drawn ones, pair by pair."""
    data = SHARED / "sacre_coeur"
    scene, table, matches, summary = mined(data / "photos", miner, options)
    print(f"\nSacré-Coeur, {miner}: {summary['proposed']} pairs proposed, {summary['pairs']} zoom pairs")
    print("close-up -> farther photo      ratio matches inliers rigid quality  concept   where   homography  local")
    concepts = sorted(p.name for p in (data / "masks").iterdir() if p.is_dir())
    rows: list[dict[str, Any]] = []
    pictures = []
    for r, pair in enumerate(table.itertuples()):
        near, far = scene.index(str(pair.photo0)), scene.index(str(pair.photo1))
        head = {
            k: getattr(pair, k) for k in ("photo0", "photo1", "scale_ratio", "matches", "inliers", "rigid", "quality")
        }
        place = (
            f"{pair.photo0[:8]} -> {pair.photo1[:8]:10} {pair.scale_ratio:13.2f} {pair.matches:7d} {pair.inliers:7d}"
        )
        place += f" {pair.rigid:5d} {pair.quality:7.2f}"
        drawn = {c: [read_mask(scene, i, data / "masks" / c) for i in (near, far)] for c in concepts}
        drawn = {c: both for c, both in drawn.items() if all(m is not None for m in both)}
        if not drawn:
            rows.append(head)
            print(f"{place}  no masks")
            continue
        warps = {kind: pair_warp(scene, table, matches, r, kind) for kind in KINDS}
        strip = [scene.photo(near).numpy()]
        for concept, (close, there) in drawn.items():
            carried = {k: w.carry(torch.from_numpy(close)[None]) for k, w in warps.items()}
            region = (carried["homography"][1] & carried["local"][1]).numpy()
            scores = {k: iou(c[0].numpy() >= 0.5, there >= 0.5, region) for k, (c, _) in carried.items()}
            inside = float((there >= 0.5)[region].sum() / max(1, (there >= 0.5).sum()))
            if scores["local"] is None or scores["homography"] is None:
                continue
            rows.append({**head, "concept": concept, "inside": inside, **scores})
            print(f"{place}  {concept:8} {inside:6.2f} {scores['homography']:11.3f} {scores['local']:7.3f}")
            shown = overlay(scene.photo(far).numpy(), carried["local"][0][0].numpy())
            strip.append(outline(outline(shown, there >= 0.5), region, (255, 80, 80)))
        pictures += [strip] if len(strip) > 1 else []
    scored = pd.DataFrame([row for row in rows if "concept" in row])
    means: dict[str, Any] = {}
    if len(scored):
        means = scored.groupby("concept")[list(KINDS)].agg(["mean", "median", "count"]).round(3).to_dict()
        print(scored.groupby("concept")[list(KINDS)].agg(["mean", "median", "count"]).round(3).to_string())
        width = max(len(strip) for strip in pictures)
        blank = np.full((8, 8, 3), 255, np.uint8)
        save_picture(OUT / f"mining_{miner}.png", grid([s + [blank] * (width - len(s)) for s in pictures], height=260))
    return {"summary": summary, "pairs": rows, "means": {f"{k[0]} {k[1]}": v for k, v in means.items()}}


def read_mask(scene: Scene, i: int, folder: Path) -> np.ndarray | None:
    """A drawn mask in the frame of view i, [H, W] in [0, 1]; None where there is none."""
    path = folder / f"{Path(scene.names[i]).stem}.png"
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        return scene.undistort(i, np.asarray(picture.convert("L")).astype(np.float32) / 255.0)


def pair_warp(scene: Scene, table: pd.DataFrame, matches: dict[str, np.ndarray], row: int, kind: str) -> Warp:
    rows = slice(int(matches["starts"][row]), int(matches["starts"][row + 1]))
    kept = matches[POINTS[kind]][rows]
    near, far = (scene.views[scene.index(str(table[key][row]))] for key in ("photo0", "photo1"))
    sizes = (near.width, near.height), (far.width, far.height)
    homography = np.reshape(table["homography"][row], (3, 3))
    return fit_warp(matches["points0"][rows][kept], matches["points1"][rows][kept], *sizes, homography, kind)


def iou(one: np.ndarray, two: np.ndarray, region: np.ndarray) -> float | None:
    """Inside the region; None where there is too little of the second."""
    if (two & region).sum() < SMALLEST:
        return None
    return float((one & two & region).sum() / (one | two)[region].sum())


def positions(miner: str, options: argparse.Namespace) -> dict[str, Any]:
    """Errors of carried positions against ground truth, over the pairs of Herz-Jesu."""
    data = SHARED / "herzjesu_p25"
    scene, table, matches, summary = mined(data, miner, options)
    truth = GroundTruth(scene, data / "ground_truth" / "gt_dense_cameras")
    print(f"\nHerz-Jesu, {miner}: {summary['proposed']} pairs proposed, {summary['pairs']} zoom pairs")
    print(f"points checked: {truth.known.sum()}, ground truth's own reprojection error {truth.error:.2f} px of 1024")
    random = np.random.default_rng(0)
    errors: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    pairs, seconds = [], []
    for r in range(len(table) if not options.quick else min(5, len(table))):
        near, far = (scene.index(str(table[key][r])) for key in ("photo0", "photo1"))
        point = np.intersect1d(scene.observations(near)[2].numpy(), scene.observations(far)[2].numpy())
        point = point[truth.known[point]]
        held = point[random.random(len(point)) < 0.5]
        start, target = truth.project(near, held), truth.project(far, held)
        rows = slice(int(matches["starts"][r]), int(matches["starts"][r + 1]))
        p0, p1 = (matches[key][rows].astype(np.float64) for key in ("points0", "points1"))
        apart = (distance(p0, start) > APART) & (distance(p1, target) > APART)
        p0, p1 = p0[apart], p1[apart]
        sizes = [(scene.views[i].width, scene.views[i].height) for i in (near, far)]
        found = robust_homography(p0, p1, 0.02 * max(sizes[1]), 0) if len(p0) >= 10 and len(held) >= 5 else None
        if found is None or found[1].sum() < 10:
            continue
        rigid = epipolar_inliers(p0, p1, scale_ratio(p0[found[1]], p1[found[1]]), 0.004 * max(sizes[1]), 0)
        kept = {"homography": rigid & found[1], "local": rigid}
        got = {}
        for kind in KINDS:
            begin = time.perf_counter()
            warp = fit_warp(p0[kept[kind]], p1[kept[kind]], sizes[0], sizes[1], found[0], kind)
            got[kind] = np.linalg.norm(warp.positions(start) - target, axis=1)
            if kind == "local":
                warp.carry(torch.zeros(1, sizes[0][1], sizes[0][0]))
                seconds.append(time.perf_counter() - begin)
        both = np.isfinite(got["homography"]) & np.isfinite(got["local"])
        if not both.any():
            continue
        for kind in KINDS:
            errors[kind].append(got[kind][both])
        medians = {kind: float(np.median(got[kind][both])) for kind in KINDS}
        entry = {"photo0": table.photo0[r], "photo1": table.photo1[r], "ratio": table.scale_ratio[r]}
        pairs.append(
            {**entry, "fitted": int(rigid.sum()), "held_out": len(held), "covered": int(both.sum()), **medians}
        )
    figures: dict[str, Any] = {"summary": summary, "ground_truth_px_1024": truth.error, "pairs": pairs}
    print("warp         pairs  points  median px   mean px   90 %   within 2 px   median of pairs' medians")
    for kind in KINDS if pairs else ():
        e = np.concatenate(errors[kind])
        figures[kind] = {
            "points": len(e),
            "median": float(np.median(e)),
            "mean": float(e.mean()),
            "p90": float(np.percentile(e, 90)),
            "within_2px": float((e < 2).mean()),
            "median_of_medians": float(np.median([p[kind] for p in pairs])),
        }
        f = figures[kind]
        print(
            f"{kind:12} {len(pairs):5d} {len(e):7d} {f['median']:10.2f} {f['mean']:9.2f} {f['p90']:6.2f}"
            f"{f['within_2px']:14.3f} {f['median_of_medians']:26.2f}"
        )
    covered = sum(p["covered"] for p in pairs) / max(1, sum(p["held_out"] for p in pairs))
    change = np.asarray([p["local"] - p["homography"] for p in pairs])
    better, worse = int((change < -0.02).sum()), int((change > 0.02).sum())  # px; less is no difference
    figures |= {"covered": covered, "local_better": better, "local_worse": worse}
    figures |= {"median_seconds": float(np.median(seconds))}
    print(f"held-out points covered {covered:.3f}; local is better on {better} of {len(pairs)} pairs, worse on {worse}")
    print(f"local: fit + carry {figures['median_seconds']:.2f} s a pair (median)")
    return figures


def distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each point to the nearest of the others."""
    if len(others) == 0:
        return np.full(len(points), np.inf)
    return np.linalg.norm(points[:, None] - others[None], axis=2).min(axis=1)


class GroundTruth:
    """The scene's points, triangulated anew with the ground truth's cameras.

    known: bool [N]; error: mean reprojection error of those known, px of the 1024 px photos.
    """

    def __init__(self, scene: Scene, cameras: Path) -> None:
        self.scene = scene
        self.projections = [self._read(scene, i, cameras) for i in range(len(scene))]
        count = len(scene.points)
        normal, seen = np.zeros((count, 4, 4)), np.zeros(count, int)
        observed = []
        for i in range(len(scene)):
            pixels, _, index = (t.numpy() for t in scene.observations(i))
            native = self._native(i, pixels.astype(np.float64))
            observed.append((native, index))
            p = self.projections[i]
            rows = native[:, :, None] * p[2][None, None] - p[:2][None]
            np.add.at(normal, index, np.einsum("nki,nkj->nij", rows, rows) / 1e6)
            np.add.at(seen, index, 1)
        self.points = np.linalg.eigh(normal)[1][:, :, 0]
        total = np.zeros(count)
        worst = np.zeros(count)
        for i, (native, index) in enumerate(observed):
            miss = np.linalg.norm(_divide(self.points[index] @ self.projections[i].T) - native, axis=1)
            np.add.at(total, index, miss)
            np.maximum.at(worst, index, miss)
        self.known = (seen >= 3) & (worst < 2.0)
        self.error = float((total / np.maximum(seen, 1))[self.known].mean())

    def project(self, i: int, index: np.ndarray) -> np.ndarray:
        """Where points lie in working photo i, px."""
        native = _divide(self.points[index] @ self.projections[i].T)
        view, (width, height) = self.scene.views[i], self.scene.native_size(i)
        return pinhole_points(self.scene.native_camera(i), native) * (view.width / width, view.height / height)

    def _native(self, i: int, pixels: np.ndarray) -> np.ndarray:
        view, camera = self.scene.views[i], self.scene.native_camera(i)
        rays = np.column_stack(
            [(pixels[:, 0] - view.cx) / view.fx, (pixels[:, 1] - view.cy) / view.fy, np.ones(len(pixels))]
        )
        return np.asarray(camera.img_from_cam(rays))

    @staticmethod
    def _read(scene: Scene, i: int, cameras: Path) -> np.ndarray:
        """Projection [3, 4] to the photo at hand. File: K, distortion, camera-to-world rotation, centre, size."""
        text = (cameras / f"{Path(scene.names[i]).name}.camera").read_text().split()
        numbers = np.asarray(text, np.float64)
        k, rotation, centre, width = (
            numbers[:9].reshape(3, 3),
            numbers[12:21].reshape(3, 3),
            numbers[21:24],
            numbers[24],
        )
        shrink = np.diag([scene.native_size(i)[0] / width] * 2 + [1.0])
        return shrink @ k @ np.column_stack([rotation.T, -rotation.T @ centre])


def _divide(points: np.ndarray) -> np.ndarray:
    return points[:, :2] / points[:, 2:]


if __name__ == "__main__":
    main()
