"""evaluate: how well the maps in 2D and in 3D agree with people's masks.

Output:
    metrics.json         means per concept and over concepts with their intervals, 3D minus 2D, held-out PSNR and SSIM,
                         what was left out and why
    per_image.csv        every photo, concept and method
    table.csv, .tex      the means and their intervals, for machines and for papers
    pr_curves.npz, .png  precision and recall of all scored pixels pooled
    overlays/*.png       photo | render | 2D map | 3D map | truth, the truth's border drawn on the maps
    examples.png         of those, the best, the median and the worst photo of each concept by AP in 3D
    report.html          all of it on one page, pictures inside

Scored at the photo's native resolution, in the undistorted frame, by the rules of `halonerf.evaluation.protocol`.
Where a segmenter says "unknown", its 2D map counts as probability 0. A concept with masks and no map scores 0 in every
figure and counts in the means. A photo that is not in the scene cannot be rendered: it is left out, and listed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from halonerf.data.formats.names import EXAMPLES, METRICS, PER_IMAGE, REPORT, SCORES, view_file
from halonerf.data.formats.probability_maps import Maps, read_concepts, read_maps, render_path, segment_map_path
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.evaluation.bootstrap import differences, estimates
from halonerf.evaluation.curves import write_curves
from halonerf.evaluation.examples import picks, stacked, strip
from halonerf.evaluation.ground_truth import GroundTruthMasks
from halonerf.evaluation.protocol import at_native, check_held_out, counted, scored_views
from halonerf.evaluation.scores import FIGURES, METHODS, as_text, figure_rows, histogram, no_map, score_map, summarise
from halonerf.evaluation.tables import latex_table, table_fields, table_rows
from halonerf.files import safe_name, write_atomic, write_csv, write_json
from halonerf.masks import MaskFolder, match_concepts
from halonerf.pipeline.stage import Stage
from halonerf.visualization.html_pages import Page
from halonerf.visualization.palette import Colour, concept_colours
from halonerf.visualization.pictures import save_picture

log = logging.getLogger(__name__)

MAX_OVERLAYS = 200  # pictures in all, the examples apart; the figures are of every photo


class Evaluate(Stage):
    """Score the concepts.

    Args:
        masks: folder of masks, <concept>/<photo>.png, or a scene's of HolyScenes; None takes those of the collection;
            where that has none either, nothing is scored.
        views: which photos are scored: "all" that have masks, or those of the "train" or "test" split. "heldout"
            scores those of the test split, "paper" all.
        protocol: the rules: "strict", "heldout" or "paper".
    """

    name: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 2
    needs: ClassVar[tuple[str, ...]] = ("collect", "ingest", "reconstruct", "segment", "localize")

    def __init__(self, masks: str | None = None, views: str = "all", protocol: str = "strict") -> None:
        super().__init__()
        self.masks_path, self.views, self.protocol = masks, scored_views(protocol, views), protocol

    def prepare(self) -> None:
        """Open scene and masks, and decide which photos are scored."""
        self.scene = Scene(self.inputs["ingest"])
        if self.protocol == "heldout":
            check_held_out(self.inputs["localize"], self.scene.split)
        truths = GroundTruthMasks.open(self.scene, self.inputs["collect"], self.masks_path)
        if truths is None:
            log.warning(
                "evaluate: nothing is scored, for this collection has no masks of its own. "
                "Name a folder of them, <concept>/<photo>.png, with: evaluate.masks=DIR"
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
                f"(evaluate.views={self.views}); its masks are of {self._few(self.masks.strays([]))}, the scene's "
                f"photos are {self._few(self.scene.names)}.\n"
                "Name each mask <concept>/<photo without its ending>.png, or set evaluate.views=all."
            )
        self.concepts = [c for c in self.masks.concepts if any(c in names for names in self.wanted.values())]
        self.map_3d = match_concepts(self.concepts, self.mapped)
        self.map_2d = match_concepts(self.concepts, self.segmented)
        for part in ("scores", "overlays"):
            (self.folder / part).mkdir(exist_ok=True)

    def items(self) -> list[int]:
        """The views to score."""
        return list(self.wanted)

    def done(self, item: int) -> bool:
        return self._scores_path(item).is_file()

    def predict_step(self, item: int, index: int) -> None:
        """Score one photo and draw it; the scores are written last and say that both are there."""
        flat, solid = self._maps(item)
        entry: dict[str, Any] = {"photo": self.scene.names[item], "split": self.scene.split[item]}
        entry["concepts"], entry["histograms"] = {}, {}
        truths, covered = self.truths.of(item, self.wanted[item])
        known = counted(self.protocol, covered)
        rank = list(self.wanted).index(item)
        for number, concept in enumerate(self.wanted[item]):
            truth = truths[concept]
            maps = {"2d": None if flat is None else flat.get(concept), "3d": solid.get(concept)}
            ready = {m: at_native(self.protocol, d, truth.shape) for m, d in maps.items() if d is not None}
            scores = {m: score_map(ready[m], truth, known) if m in ready else no_map() for m in maps}
            entry["concepts"][concept] = {
                "2d": None if flat is None else scores["2d"],
                "3d": scores["3d"],
                "positive_share": float(truth[known].mean()) if known.any() else 0.0,
                "overlay": self.overlay_path(item, concept).stem,
            }
            entry["histograms"][concept] = {m: histogram(drawn, truth, known) for m, drawn in ready.items()}
            if rank * len(self.concepts) + number < MAX_OVERLAYS:
                save_picture(self.overlay_path(item, concept), self._strip(item, truth, maps, flat is not None))
        write_json(self._scores_path(item), entry)

    def finish(self) -> None:
        """Means, intervals, curves, tables and page."""
        photos = [json.loads(self._scores_path(item).read_text()) for item in self.items()]
        missing = [concept for concept in self.concepts if concept not in self.map_3d]
        rows = figure_rows(self.scene.name, photos)
        self.metrics = {
            "scene": self.scene.name,
            "protocol": self.protocol,
            "views": self.views,
            **summarise(photos, self.concepts, missing),
            **self._intervals(rows),
            "photos_scored": len(photos),
            "missing_concepts": missing,
            "photos_left_out": self._left_out(),
            **self._held_out(),
        }
        write_json(self.folder / METRICS, self.metrics)
        fields = ("scene", "photo", "split", "concept", "method", *FIGURES)
        write_csv(self.folder / PER_IMAGE, fields, [as_text(row) for row in rows])
        write_csv(self.folder / "table.csv", table_fields(FIGURES), table_rows(rows, FIGURES))
        caption = f"{self.scene.name}: average precision ({self.protocol}), {len(photos)} photos, 95 % intervals"
        titles = {"2d": "segmenter, 2D", "3d": "HaloNeRF, 3D"}
        write_atomic(self.folder / "table.tex", latex_table(rows, "ap", titles, caption))
        if photos:
            write_curves(self.folder, photos, self._colours())
        shown = self._examples(photos)
        if shown:
            sheet = [(f"{concept}, {title}", picture) for concept, title, _, picture in shown]
            save_picture(self.folder / EXAMPLES, stacked(sheet))
        page = Page(f"{self.scene.name}: how well it finds things")
        page.write(
            self.folder / REPORT,
            "evaluate.html",
            metrics=self.metrics,
            curves=page.picture(self.folder / "pr_curves.png", 900),
            overlays=[
                {"concept": concept, "rank": title, **photos[place], "scores": photos[place]["concepts"][concept],
                 "picture": page.embedded(Image.fromarray(picture), 1400)}
                for concept, title, place, picture in shown
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
        """The picture of one photo and concept."""
        number = self.masks.concepts.index(concept)
        return self.folder / "overlays" / f"{item:05d}_{number:02d}_{safe_name(concept)}.png"

    def _maps(self, item: int) -> tuple[Maps | None, Maps]:
        """The view's maps by concept, in 2D (None where it was not segmented) and in 3D."""
        flat = read_maps(segment_map_path(self.inputs["segment"], item), self.map_2d)
        solid = read_maps(render_path(self.inputs["localize"], item), self.map_3d)
        if solid is None:
            raise AssertionError(f"localize has no render of view {item}")
        return flat, solid

    def _strip(self, item: int, truth: NDArray[np.bool_], maps: dict[str, Any], segmented: bool) -> NDArray[np.uint8]:
        path = render_path(self.inputs["localize"], item, ".png")
        render = np.asarray(Image.open(path).convert("RGB")) if path.is_file() else None
        return strip(self.scene, item, render, truth, maps, segmented)

    def _colours(self) -> dict[str, Colour]:
        """The colour of each scored concept: that of the scene's concept whose map is scored."""
        names = {c: self.mapped[self.map_3d[c]] if c in self.map_3d else c for c in self.concepts}
        colours = concept_colours(list(names.values()), self.mapped)
        return {concept: colours[name] for concept, name in names.items()}

    def _examples(self, photos: list[dict[str, Any]]) -> list[tuple[str, str, int, NDArray[np.uint8]]]:
        """Concept, what it is, place among the scored photos and strip; drawn here where `predict_step` did not."""
        shown = []
        for concept in self.concepts:
            for title, place in picks(photos, concept):
                item = self.items()[place]
                path = self.overlay_path(item, concept)
                if not path.is_file():
                    flat, solid = self._maps(item)
                    maps = {"2d": None if flat is None else flat.get(concept), "3d": solid.get(concept)}
                    truth = self.truths.of(item, self.wanted[item])[0][concept]
                    save_picture(path, self._strip(item, truth, maps, flat is not None))
                shown.append((concept, title, place, np.asarray(Image.open(path).convert("RGB"))))
        return shown

    def _intervals(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Of every figure, [low, high] by concept and method; of AP, 3D minus 2D besides."""

        def spans(of: Mapping[str, Mapping[str, float | None]]) -> dict[str, list[float | None]]:
            return {m: [of[m]["low"], of[m]["high"]] if m in of else [None, None] for m in METHODS}

        found = {figure: estimates(rows, figure) for figure in FIGURES}
        intervals = {
            figure: {
                "concepts": {c: spans(of) for c, of in entry["concepts"].get(self.scene.name, {}).items()},
                "mean": spans(entry["overall"]),
            }
            for figure, entry in found.items()
        }
        gap = differences(rows, "3d", "2d", "ap")
        difference = {"concepts": gap["concepts"].get(self.scene.name, {}), "mean": gap["overall"]}
        return {"intervals": intervals, "ap_3d_minus_2d": difference}

    def _left_out(self) -> list[dict[str, str]]:
        """Masks that were not scored, with the reason."""
        other = [
            {"mask": f"{concept}/{name}", "reason": f"not in the '{self.views}' split"}
            for i, name in enumerate(self.scene.names)
            if i not in self.wanted
            for concept in self.truths.concepts(i)
        ]
        return self.truths.strays() + other

    def _held_out(self) -> dict[str, float | None]:
        path = self.inputs["reconstruct"] / METRICS
        figures = json.loads(path.read_text()) if path.is_file() else {}
        return {key: figures.get(key) for key in ("psnr_heldout", "ssim_heldout")}

    def _scores_path(self, item: int) -> Path:
        return view_file(self.folder / SCORES, item, ".json")

    @staticmethod
    def _few(names: list[str]) -> str:
        return ", ".join(f"'{name}'" for name in names[:3]) + (", …" if len(names) > 3 else "")
