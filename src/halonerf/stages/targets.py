"""Predictions of the segmenter on close-ups, warped into the farther photos of the same place as training targets.

Output: the files of `halonerf.data.formats.target_maps`, and:

    overview.png    close-ups and farther photos with the warped maps
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from halonerf.config.option_types import Component, Fraction, NonNegativeInt, PositiveInt, Text
from halonerf.data.formats.names import LABELS, MATCHES, OVERVIEW, PAIRS, TARGETS
from halonerf.data.formats.target_maps import (
    NEGATIVE,
    OPEN,
    POSITIVE,
    read_targets,
    write_target_map,
    write_target_photo,
    write_targets,
)
from halonerf.data.labels.table import frequent_labels, labels_by_photo
from halonerf.data.pairs.warp import fit_warp
from halonerf.data.scene.scene import Scene
from halonerf.factory import build
from halonerf.files import write_json
from halonerf.pipeline.stage import Stage
from halonerf.prediction import resized_probabilities
from halonerf.stages.specs import TargetsSpec
from halonerf.visualization.pictures import grid, overlay, save_picture, to_uint8

OVERVIEW_PAIRS = 6
MIN_REGION_SHARE = 0.002  # of the farther photo; smaller regions give no target


class Targets(TargetsSpec, Stage):
    """Predict on each close-up, and warp the maps into the farther photos of its pairs.

    Args:
        segmenter: config of the teacher.
        warp: "local" (homography with corrections) or "homography" (one plane, as in the paper).
        min_quality: smallest quality of a pair, in [0, 1].
        words: text prompts for every close-up besides its own labels; None: the scene's frequent labels.
        max_words: number of these prompts at most; 0: the close-up's own labels only, as in the paper.
        unlabelled: whether close-ups without a label are used too.
        min_photos: number of photos with a label from which on it is frequent.
        min_confidence: smallest confidence of a distilled label.
    """

    def __init__(
        self,
        segmenter: Component,
        warp: Literal["local", "homography"] = "local",
        min_quality: Fraction = 0.0,
        words: Sequence[Text] | None = None,
        max_words: NonNegativeInt = 8,
        unlabelled: bool = True,
        min_photos: PositiveInt = 2,
        min_confidence: Fraction = 0.0,
    ) -> None:
        super().__init__()
        self.segmenter_config, self.warp, self.min_quality = segmenter, warp, min_quality
        self.words, self.max_words, self.unlabelled = words, max_words, unlabelled
        self.min_photos, self.min_confidence = min_photos, min_confidence

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.segmenter = build(self.segmenter_config)
        self.labels = labels_by_photo(self.inputs["distill"] / LABELS, self.min_confidence)
        names = {self.scene.names[view] for view in self.scene.indices("train")}  # held-out photos teach nothing
        frequent = frequent_labels(self.inputs["distill"] / LABELS, names, self.min_photos)
        self.prompts = list(self.words or frequent)[: self.max_words]
        table = pd.read_parquet(self.inputs["mine"] / PAIRS)
        known = table["photo0"].isin(self.labels) | (self.unlabelled and bool(self.prompts))
        fitted = table["photo0"].isin(names) & table["photo1"].isin(names)
        self.pairs = table[known & fitted & (table["quality"] >= self.min_quality)]
        self.close_ups = sorted(set(self.pairs["photo0"]))
        with np.load(self.inputs["mine"] / MATCHES, allow_pickle=False) as arrays:
            self.matches = dict(arrays)
        for part in ("photos", "maps", "parts"):
            (self.folder / part).mkdir(exist_ok=True)

    def items(self) -> Sequence[str]:
        """Names of the close-ups."""
        return self.close_ups

    def done(self, item: str) -> bool:
        return self._part(item).is_file()

    def predict_step(self, item: str, index: int) -> None:
        """Write all targets of one close-up; its file in `parts/` comes last and marks them as complete."""
        own = self.labels.get(item, [])
        prompts = [*own, *[prompt for prompt in self.prompts if prompt not in own]]
        near = self.scene.index(item)
        prediction = self._prediction(near, prompts)
        rows = []
        for number in self.pairs.index[self.pairs["photo0"] == item]:
            pair = self.pairs.loc[number]
            far = self.scene.index(pair.photo1)
            maps, region = self._warp(int(number), pair, near, far).carry(prediction)
            region = region & (maps[-1] > 1 - 1e-3) & self.scene.valid(far)
            if region.float().mean() < MIN_REGION_SHARE:
                continue
            photo = f"{far:05d}.jpg"
            if not (self.folder / "photos" / photo).is_file():
                write_target_photo(self.folder / "photos" / photo, self.scene.photo(far).numpy())
            for column, prompt in enumerate(prompts):
                name = f"{near:05d}_{far:05d}_{column:02d}.npz"
                write_target_map(self.folder / "maps" / name, maps[column].numpy(), region.numpy())
                kind = POSITIVE if prompt in own else NEGATIVE if own else OPEN
                rows.append(
                    {"photo": photo, "label": prompt, "map": name, "close_up": item, "kind": kind}
                    | {"quality": f"{pair.quality:.4f}"}
                )
        write_json(self._part(item), rows)

    def finish(self) -> None:
        rows = [row for item in self.close_ups for row in json.loads(self._part(item).read_text())]
        write_targets(self.folder, rows)
        self._draw()
        for item in self.close_ups:
            self._part(item).unlink()
        (self.folder / "parts").rmdir()

    def summary(self) -> dict[str, Any]:
        rows = read_targets(self.folder) if (self.folder / TARGETS).is_file() else []
        own = [row for row in rows if row.kind == POSITIVE]
        return {
            "close_ups": len({row.close_up for row in rows}),
            "photos": len({row.photo for row in rows}),
            **{kind: sum(row.kind == kind for row in rows) for kind in (POSITIVE, NEGATIVE, OPEN)},
            "labels": sorted({row.label for row in own}),
        }

    def _part(self, item: str) -> Path:
        return self.folder / "parts" / f"{self.scene.index(item):05d}.json"

    def _prediction(self, near: int, prompts: Sequence[str]) -> Tensor:
        """The teacher's probabilities on a close-up, and where all are known (0 or 1), [P + 1, H, W]."""
        photo = self.scene.photo(near)
        images = photo.to(self.device).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            encoded = self.segmenter.encode(images, names=[self.scene.names[near]])
            logits = self.segmenter.decode(encoded, prompts)
        probability, known = resized_probabilities(logits[0].float().cpu(), *photo.shape[:2])
        everywhere = (known.all(dim=0) & self.scene.valid(near)).float()
        return torch.cat([probability, everywhere[None]])

    def _warp(self, number: int, pair: Any, near: int, far: int) -> Any:
        starts = self.matches["starts"]
        rows = slice(int(starts[number]), int(starts[number + 1]))
        kept = self.matches["inlier" if self.warp == "homography" else "rigid"][rows]
        sizes = [(self.scene.views[i].width, self.scene.views[i].height) for i in (near, far)]
        points0, points1 = (self.matches[key][rows][kept].astype(np.float64) for key in ("points0", "points1"))
        homography = np.reshape(pair.homography, (3, 3))
        return fit_warp(points0, points1, sizes[0], sizes[1], homography, kind=self.warp)

    def _draw(self) -> None:
        """Close-ups beside farther photos with the warped maps as overlays, dark outside their regions."""
        own = {target.close_up: target for target in reversed(read_targets(self.folder)) if target.kind == POSITIVE}
        picks = np.linspace(0, len(own) - 1, min(OVERVIEW_PAIRS, len(own))).round().astype(int)
        drawn = []
        for target in [list(own.values())[pick] for pick in picks]:
            photo = to_uint8(target.image().permute(1, 2, 0))
            probability, region = target.maps(*photo.shape[:2])
            tinted = overlay(photo, probability.numpy())
            tinted[~region.numpy()] //= 3
            drawn.append([self.scene.photo(self.scene.index(target.close_up)).numpy(), photo, tinted])
        if drawn:
            save_picture(self.folder / OVERVIEW, grid(drawn))
