"""compare: several scenes, methods and protocols in one table.

Output:
    per_image.csv              protocol, scene, photo, concept, method, figures
    table_<protocol>.csv/.tex  per scene and concept, with intervals over photos; the means
    differences.csv            paired difference of each two methods, and the share of draws above zero
    metrics.json               means and standard deviations over scenes; wall time of each method
    curves_<protocol>.png      precision and recall of the pooled pixels of all scenes, one panel per concept
    pictures.png               photo | every method's map | ground truth
    report.html                all results on one page
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from halonerf.config.option_types import Component, NonNegativeInt, PositiveInt
from halonerf.data.formats.names import METRICS, PER_IMAGE, REPORT
from halonerf.errors import BadInput
from halonerf.evaluation.bootstrap import DRAWS, differences, estimates
from halonerf.evaluation.curves import draw_precision_recall
from halonerf.evaluation.scores import METRIC_NAMES, pooled_curve
from halonerf.evaluation.tables import MEAN, latex_table, scene_spreads, table_fields, table_rows, text_table
from halonerf.files import safe_name, write_atomic, write_csv, write_json
from halonerf.pipeline.stage import Stage
from halonerf.stages.compare.pictures import method_strips
from halonerf.stages.compare.runs import RunGrid, RunResults
from halonerf.stages.specs import CompareSpec
from halonerf.visualization.html_pages import Page
from halonerf.visualization.pictures import save_picture

log = logging.getLogger(__name__)

DIFFERENCE_FIELDS = ("protocol", "method", "other", "mean", "low", "high", "positive")


class Compare(CompareSpec, Stage):
    """Compares the results of `evaluate` in several runs.

    Args:
        scenes: name to scene config; None: the configured scene.
        methods: name to "maps" ("2d" or "3d"), "title" and "overrides" (`halonerf.pipeline.overrides`); None: the 2D
            and 3D maps of the configured pipeline.
        protocols: name to overrides; None: the configured protocol.
        draws: of the bootstrap.
        pictures: example photos of each scene.
    """

    def __init__(
        self,
        scenes: Mapping[str, Component] | None = None,
        methods: Mapping[str, Mapping[str, Any]] | None = None,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
        draws: PositiveInt = DRAWS,
        pictures: NonNegativeInt = 3,
    ) -> None:
        super().__init__()
        self.grid = RunGrid.from_options(scenes, methods, protocols)
        self.draws, self.photos_per_scene = draws, pictures

    def prepare(self) -> None:
        self.results = RunResults(self.grid, self.inputs)
        self.rows = {protocol: self.results.rows(protocol) for protocol in self.grid.protocols}
        if not any(self.rows.values()):
            raise BadInput(
                "expected scored photos to compare, but none of the scenes has masks.\n"
                "Give a folder of them with: evaluate.masks=DIR"
            )

    def items(self) -> Sequence[str]:
        """The protocols."""
        return list(self.grid.protocols)

    def predict_step(self, item: str, index: int) -> None:
        """Write the tables and curves of one protocol."""
        rows, stem = self.rows[item], safe_name(item)
        lines = table_rows(rows, METRIC_NAMES, self.draws, self.seed)
        write_csv(self.folder / f"table_{stem}.csv", table_fields(METRIC_NAMES), lines)
        caption = f"Average precision with protocol {item}, 95 % intervals over photos."
        latex = latex_table(rows, "ap", self.grid.titles, caption, self.draws, self.seed)
        write_atomic(self.folder / f"table_{stem}.tex", latex.encode())
        photos = {method.title: list(self.results.histograms(item, method)) for method in self.grid.methods}
        panels = {
            concept: {
                title: pooled_curve(photo[concept] for photo in of if concept in photo) for title, of in photos.items()
            }
            for concept in dict.fromkeys(row["concept"] for row in rows)
        }
        write_atomic(self.folder / f"curves_{stem}.png", draw_precision_recall(panels))

    def finish(self) -> None:
        """Write differences, metrics, pictures and the page of all protocols."""
        every = [{"protocol": protocol, **row} for protocol, rows in self.rows.items() for row in rows]
        write_csv(self.folder / PER_IMAGE, ("protocol", "scene", "photo", "concept", "method", *METRIC_NAMES), every)
        paired = self._differences()
        write_csv(self.folder / "differences.csv", DIFFERENCE_FIELDS, paired)
        self.spreads = {protocol: scene_spreads(rows) for protocol, rows in self.rows.items()}
        first = next(iter(self.grid.protocols))
        metrics = {
            "ap": self.spreads,
            "intervals": {p: estimates(rows, "ap", self.draws, self.seed)["overall"] for p, rows in self.rows.items()},
            "seconds": self.results.seconds(first),
        }
        write_json(self.folder / METRICS, metrics)
        for protocol, found in self.spreads.items():
            log.info("average precision, protocol %s\n%s", protocol, text_table(found, self.grid.titles))
        save_picture(self.folder / "pictures.png", method_strips(self.results, first, self.photos_per_scene))
        page = Page("Comparison of methods")
        page.write(
            self.folder / REPORT,
            "compare.html",
            metrics=metrics,
            titles=self.grid.titles,
            differences=paired,
            curves={p: page.picture(self.folder / f"curves_{safe_name(p)}.png", 1400) for p in self.grid.protocols},
            pictures=page.picture(self.folder / "pictures.png", 2000),
        )

    def summary(self) -> dict[str, Any]:
        return {
            protocol: {method: entry["mean"] for method, entry in found[MEAN].items()}
            for protocol, found in self.spreads.items()
        }

    def _differences(self) -> list[dict[str, Any]]:
        names = list(self.grid.titles)
        return [
            {"protocol": protocol, "method": one, "other": other,
             **differences(rows, one, other, "ap", self.draws, self.seed)["overall"]}
            for protocol, rows in self.rows.items()
            for one, other in itertools.permutations(names, 2)
        ]  # fmt: skip
