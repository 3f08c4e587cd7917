"""evaluate: metrics of the 2D and 3D probability maps against ground-truth masks.

Output:
    metrics.json         means per concept and over concepts with intervals, 3D minus 2D, held-out PSNR and SSIM, masks
                         that were left out with the reason
    per_image.csv        every photo, concept and method
    table.csv, .tex      the means and their intervals
    pr_curves.npz, .png  precision and recall of the pooled scored pixels
    overlays/*.png       photo | rendering | 2D map | 3D map | ground truth, the mask outlined on the maps
    examples.png         of those, the best, the median and the worst photo of each concept by AP in 3D
    report.html          all results on one page with embedded pictures

Maps are scored at the photo's native resolution, in the undistorted frame, by `halonerf.evaluation.protocol`. Where a
2D map is unknown, its probability counts as 0. A concept with masks and no map scores 0 in every metric and counts in
the means. A photo outside the scene cannot be rendered: it is left out, and listed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from halonerf.data.formats.names import EXAMPLES, METRICS, PER_IMAGE, REPORT, SCORES, view_file
from halonerf.data.formats.probability_maps import (
    ConceptMaps,
    read_concepts,
    read_maps,
    read_thresholds,
    render_path,
    segment_map_path,
)
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.evaluation.bootstrap import differences, estimates
from halonerf.evaluation.curves import write_curves
from halonerf.evaluation.examples import example_strip, select_examples, stack_strips
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.evaluation.protocol import check_held_out, check_taught, native_map, scored_pixels, scored_views
from halonerf.evaluation.scores import (
    METHODS,
    METRIC_NAMES,
    csv_row,
    histogram,
    metric_rows,
    missing_map_scores,
    score_map,
    summarise,
)
from halonerf.evaluation.tables import latex_table, table_fields, table_rows
from halonerf.files import safe_name, write_atomic, write_csv, write_json
from halonerf.masks import MaskFolder, match_concepts
from halonerf.pipeline.stage import Stage
from halonerf.stages.specs import EvaluateSpec
from halonerf.thresholds import HALF
from halonerf.visualization.html_pages import Page
from halonerf.visualization.palette import Colour, concept_colours
from halonerf.visualization.pictures import save_picture

log = logging.getLogger(__name__)

MAX_OVERLAYS = 200  # pictures besides the examples; metrics are computed for every photo


class Evaluate(EvaluateSpec, Stage):
    """Scores 2D and 3D maps of concepts against masks.

    Args:
        masks: folder of masks, <concept>/<photo>.png, or of a HolyScenes scene; None: the masks of the collection,
            without which nothing is scored.
        views: the photos that are scored: "all" with masks, or those of the "train" or "test" split. The protocol
            "heldout" scores the test split, "paper" all.
        protocol: "strict", "heldout" or "paper" (`halonerf.evaluation.protocol`).
    """

    def __init__(
        self,
        masks: str | None = None,
        views: Literal["all", "train", "test"] = "all",
        protocol: Literal["strict", "heldout", "paper"] = "strict",
    ) -> None:
        super().__init__()
        self.masks_path, self.views, self.protocol = masks, scored_views(protocol, views), protocol

    def prepare(self) -> None:
        """Open scene and masks, and choose the photos that are scored."""
        self.scene = Scene(self.inputs["ingest"])
        if self.protocol == "heldout":
            check_held_out(self.inputs["localize"], self.scene.split)
            check_taught(self.inputs["segment"])
        truths = GroundTruthMasks.open(self.scene, self.inputs["collect"], self.masks_path)
        if truths is None:
            log.warning(
                "evaluate: nothing is scored, since this collection has no masks. "
                "Give a folder of them, <concept>/<photo>.png, with: evaluate.masks=DIR"
            )
        self.truths = truths or GroundTruthMasks(self.scene, MaskFolder(Path(), {}))
        self.masks = self.truths.masks
        self.mapped: list[str] = read_concepts(self.inputs["localize"])
        self.segmented: list[str] = read_concepts(self.inputs["segment"])
        chosen = [i for i in range(len(self.scene)) if self.views in ("all", self.scene.split[i])]
        self.wanted = {i: concepts for i in chosen if (concepts := self.truths.concepts(i))}
        if truths is not None and not self.wanted:
            raise BadInput(
                f"expected masks of the scene's photos in {self.masks.root}, got none for {len(chosen)} photos "
                f"(evaluate.views={self.views}); its masks are of {self._few(self.masks.unmatched([]))}, the scene's "
                f"photos are {self._few(self.scene.names)}.\n"
                "Name each mask <concept>/<photo without ending>.png, or set evaluate.views=all."
            )
        self.concepts = [c for c in self.masks.concepts if any(c in names for names in self.wanted.values())]
        self.map_3d = match_concepts(self.concepts, self.mapped)
        self.map_2d = match_concepts(self.concepts, self.segmented)
        by_name = {
            method: dict(zip(self.mapped, values, strict=True))
            for method, values in read_thresholds(self.inputs["localize"]).items()
        }
        names = {concept: self.mapped[column] for concept, column in self.map_3d.items()}
        own = set() if self.protocol == "paper" else names.keys()  # whose IoU is that of one half
        self.thresholds = {  # from what was lifted alone
            concept: {method: by_name[method][names[concept]] if concept in own else HALF for method in METHODS}
            for concept in self.concepts
        }
        for part in ("scores", "overlays"):
            (self.folder / part).mkdir(exist_ok=True)

    def items(self) -> list[int]:
        """The views to score."""
        return list(self.wanted)

    def done(self, item: int) -> bool:
        return self._scores_path(item).is_file()

    def predict_step(self, item: int, index: int) -> None:
        """Score one photo and draw its overlays; the scores are written last and mark the item as done."""
        maps_2d, maps_3d = self._maps(item)
        entry: dict[str, Any] = {"photo": self.scene.names[item], "split": self.scene.split[item]}
        entry["concepts"], entry["histograms"] = {}, {}
        truths, covered = self.truths.read(item, self.wanted[item])
        known = scored_pixels(self.protocol, covered)
        rank = list(self.wanted).index(item)
        for number, concept in enumerate(self.wanted[item]):
            truth = truths[concept]
            maps = {"2d": None if maps_2d is None else maps_2d.get(concept), "3d": maps_3d.get(concept)}
            native = {m: native_map(self.protocol, p, truth.shape) for m, p in maps.items() if p is not None}
            limits = self.thresholds[concept]
            scores = {
                m: score_map(native[m], truth, known, limits[m]) if m in native else missing_map_scores() for m in maps
            }
            entry["concepts"][concept] = {
                "2d": None if maps_2d is None else scores["2d"],
                "3d": scores["3d"],
                "positive_share": float(truth[known].mean()) if known.any() else 0.0,
                "overlay": self.overlay_path(item, concept).stem,
            }
            entry["histograms"][concept] = {m: histogram(p, truth, known) for m, p in native.items()}
            if rank * len(self.concepts) + number < MAX_OVERLAYS:
                save_picture(self.overlay_path(item, concept), self._strip(item, truth, maps, maps_2d is not None))
        write_json(self._scores_path(item), entry)

    def finish(self) -> None:
        """Write means, intervals, curves, tables and the page."""
        photos = [json.loads(self._scores_path(item).read_text()) for item in self.items()]
        missing = [concept for concept in self.concepts if concept not in self.map_3d]
        rows = metric_rows(self.scene.name, photos)
        self.metrics = {
            "scene": self.scene.name,
            "protocol": self.protocol,
            "views": self.views,
            **summarise(photos, self.concepts, missing),
            **self._intervals(rows),
            "photos_scored": len(photos),
            "missing_concepts": missing,
            "thresholds": self.thresholds,
            "photos_left_out": self._left_out(),
            **self._held_out(),
        }
        write_json(self.folder / METRICS, self.metrics)
        fields = ("scene", "photo", "split", "concept", "method", *METRIC_NAMES)
        write_csv(self.folder / PER_IMAGE, fields, [csv_row(row) for row in rows])
        write_csv(self.folder / "table.csv", table_fields(METRIC_NAMES), table_rows(rows, METRIC_NAMES))
        caption = f"{self.scene.name}: average precision ({self.protocol}), {len(photos)} photos, 95 % intervals"
        titles = {"2d": "segmenter, 2D", "3d": "HaloNeRF, 3D"}
        write_atomic(self.folder / "table.tex", latex_table(rows, "ap", titles, caption))
        if photos:
            write_curves(self.folder, photos, self._colours())
        examples = self._examples(photos)
        if examples:
            sheet = [(f"{concept}, {rank}", picture) for concept, rank, _, picture in examples]
            save_picture(self.folder / EXAMPLES, stack_strips(sheet))
        page = Page(f"{self.scene.name}: evaluation of the segmentation")
        page.write(
            self.folder / REPORT,
            "evaluate.html",
            metrics=self.metrics,
            curves=page.picture(self.folder / "pr_curves.png", 900),
            overlays=[
                {"concept": concept, "rank": rank, **photos[place], "scores": photos[place]["concepts"][concept],
                 "picture": page.embedded(Image.fromarray(picture), 1400)}
                for concept, rank, place, picture in examples
            ],
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "photos_scored": self.metrics["photos_scored"],
            "map": self.metrics["map"],
            "ap_3d": {concept: entry["ap"]["3d"] for concept, entry in self.metrics["concepts"].items()},
        }

    def overlay_path(self, item: int, concept: str) -> Path:
        """The overlay picture of one photo and concept."""
        number = self.masks.concepts.index(concept)
        return self.folder / "overlays" / f"{item:05d}_{number:02d}_{safe_name(concept)}.png"

    def _maps(self, item: int) -> tuple[ConceptMaps | None, ConceptMaps]:
        """The view's 2D maps (None where it was not segmented) and 3D maps, by concept."""
        maps_2d = read_maps(segment_map_path(self.inputs["segment"], item), self.map_2d)
        maps_3d = read_maps(render_path(self.inputs["localize"], item), self.map_3d)
        if maps_3d is None:
            raise AssertionError(f"localize has no rendering of view {item}")
        return maps_2d, maps_3d

    def _strip(self, item: int, truth: NDArray[np.bool_], maps: dict[str, Any], segmented: bool) -> NDArray[np.uint8]:
        path = render_path(self.inputs["localize"], item, ".png")
        render = np.asarray(Image.open(path).convert("RGB")) if path.is_file() else None
        return example_strip(self.scene, item, render, truth, maps, segmented)

    def _colours(self) -> dict[str, Colour]:
        """The colour of each scored concept: that of the scene's concept whose map is scored."""
        names = {c: self.mapped[self.map_3d[c]] if c in self.map_3d else c for c in self.concepts}
        colours = concept_colours(list(names.values()), self.mapped)
        return {concept: colours[name] for concept, name in names.items()}

    def _examples(self, photos: list[dict[str, Any]]) -> list[tuple[str, str, int, NDArray[np.uint8]]]:
        """Concept, rank, place among the scored photos and strip of each example; strips that are missing are drawn."""
        examples = []
        for concept in self.concepts:
            for rank, place in select_examples(photos, concept):
                item = self.items()[place]
                path = self.overlay_path(item, concept)
                if not path.is_file():
                    maps_2d, maps_3d = self._maps(item)
                    maps = {"2d": None if maps_2d is None else maps_2d.get(concept), "3d": maps_3d.get(concept)}
                    truth = self.truths.read(item, self.wanted[item])[0][concept]
                    save_picture(path, self._strip(item, truth, maps, maps_2d is not None))
                examples.append((concept, rank, place, np.asarray(Image.open(path).convert("RGB"))))
        return examples

    def _intervals(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """[low, high] of every metric by concept and method, and the difference of AP, 3D minus 2D."""

        def bounds(of: Mapping[str, Mapping[str, float | None]]) -> dict[str, list[float | None]]:
            return {m: [of[m]["low"], of[m]["high"]] if m in of else [None, None] for m in METHODS}

        found = {metric: estimates(rows, metric) for metric in METRIC_NAMES}
        intervals = {
            metric: {
                "concepts": {c: bounds(of) for c, of in entry["concepts"].get(self.scene.name, {}).items()},
                "mean": bounds(entry["overall"]),
            }
            for metric, entry in found.items()
        }
        paired = differences(rows, "3d", "2d", "ap")
        difference = {"concepts": paired["concepts"].get(self.scene.name, {}), "mean": paired["overall"]}
        return {"intervals": intervals, "ap_3d_minus_2d": difference}

    def _left_out(self) -> list[dict[str, str]]:
        """Masks that were not scored, with the reason."""
        other = [
            {"mask": f"{concept}/{name}", "reason": f"not in the '{self.views}' split"}
            for i, name in enumerate(self.scene.names)
            if i not in self.wanted
            for concept in self.truths.concepts(i)
        ]
        return self.truths.unmatched() + other

    def _held_out(self) -> dict[str, float | None]:
        path = self.inputs["reconstruct"] / METRICS
        figures = json.loads(path.read_text()) if path.is_file() else {}
        return {key: figures.get(key) for key in ("psnr_heldout", "ssim_heldout")}

    def _scores_path(self, item: int) -> Path:
        return view_file(self.folder / SCORES, item, ".json")

    @staticmethod
    def _few(names: list[str]) -> str:
        return ", ".join(f"'{name}'" for name in names[:3]) + (", …" if len(names) > 3 else "")
