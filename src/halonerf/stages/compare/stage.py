"""compare: several scenes, methods and protocols in one table.

Output:
    per_image.csv              protocol, scene, photo, concept, method, figures
    table_<protocol>.csv/.tex  per scene and concept, with intervals over photos; the means
    differences.csv            each method minus each other, paired, and the share of draws in which it is better
    metrics.json               means and spreads over scenes; wall seconds of each method
    curves_<protocol>.png      precision and recall of the pixels of all scenes, a panel a concept
    pictures.png               photo | every method's map | truth
    report.html                all of it on one page
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from halonerf.data.formats.names import METRICS, PER_IMAGE, REPORT
from halonerf.errors import BadInput
from halonerf.evaluation.bootstrap import DRAWS, differences, estimates
from halonerf.evaluation.curves import save_curves
from halonerf.evaluation.scores import METRIC_NAMES
from halonerf.evaluation.tables import MEAN, latex_table, scene_spreads, table_fields, table_rows, text_table
from halonerf.files import safe_name, write_atomic, write_csv, write_json
from halonerf.pipeline.stage import Stage, StageSource
from halonerf.stages.compare.pictures import method_strips
from halonerf.stages.compare.runs import RunGrid, RunResults
from halonerf.visualization.html_pages import Page
from halonerf.visualization.pictures import save_picture

log = logging.getLogger(__name__)

GAP = ("protocol", "method", "other", "mean", "low", "high", "positive")


class Compare(Stage):
    """Gathers what `evaluate` found on several roads.

    Args:
        scenes: name to scene config; none: the scene itself.
        methods: name to "maps" ("2d" or "3d"), "title" and "overrides" (`halonerf.pipeline.overrides`); none: the road's own.
        protocols: name to changes; none: the road as it is.
        draws: of the bootstrap.
        pictures: photos drawn of each scene.
    """

    name = "compare"

    def __init__(
        self,
        scenes: Mapping[str, Mapping[str, Any]] | None = None,
        methods: Mapping[str, Mapping[str, Any]] | None = None,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
        draws: int = DRAWS,
        pictures: int = 3,
    ) -> None:
        super().__init__()
        self.roads = RunGrid.of(scenes, methods, protocols)
        self.draws, self.shown = draws, pictures

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        return RunGrid.of(config.get("scenes"), config.get("methods"), config.get("protocols")).sources()

    def prepare(self) -> None:
        self.ends = RunResults(self.roads, self.inputs)
        self.rows = {protocol: self.ends.rows(protocol) for protocol in self.roads.protocols}
        if not any(self.rows.values()):
            raise BadInput(
                "expected scored photos to compare, but none of the scenes has masks.\n"
                "Name a folder of them with: evaluate.masks=DIR"
            )

    def items(self) -> Sequence[str]:
        """The protocols."""
        return list(self.roads.protocols)

    def predict_step(self, item: str, index: int) -> None:
        """The tables and curves of one protocol."""
        rows, stem = self.rows[item], safe_name(item)
        lines = table_rows(rows, METRIC_NAMES, self.draws, self.seed)
        write_csv(self.folder / f"table_{stem}.csv", table_fields(METRIC_NAMES), lines)
        caption = f"Average precision by protocol {item}, with 95 % intervals over photos."
        latex = latex_table(rows, "ap", self.roads.titles, caption, self.draws, self.seed)
        write_atomic(self.folder / f"table_{stem}.tex", latex.encode())
        found = {method.title: list(self.ends.histograms(item, method)) for method in self.roads.methods}
        save_curves(self.folder / f"curves_{stem}.png", found, list(dict.fromkeys(row["concept"] for row in rows)))

    def finish(self) -> None:
        """What is said of all protocols together."""
        every = [{"protocol": protocol, **row} for protocol, rows in self.rows.items() for row in rows]
        write_csv(self.folder / PER_IMAGE, ("protocol", "scene", "photo", "concept", "method", *METRIC_NAMES), every)
        gaps = self._differences()
        write_csv(self.folder / "differences.csv", GAP, gaps)
        self.spreads = {protocol: scene_spreads(rows) for protocol, rows in self.rows.items()}
        first = next(iter(self.roads.protocols))
        metrics = {
            "ap": self.spreads,
            "intervals": {p: estimates(rows, "ap", self.draws, self.seed)["overall"] for p, rows in self.rows.items()},
            "seconds": self.ends.seconds(first),
        }
        write_json(self.folder / METRICS, metrics)
        for protocol, found in self.spreads.items():
            log.info("average precision, protocol %s\n%s", protocol, text_table(found, self.roads.titles))
        save_picture(self.folder / "pictures.png", method_strips(self.ends, first, self.shown))
        page = Page("Which way finds things best")
        page.write(
            self.folder / REPORT,
            "compare.html",
            metrics=metrics,
            titles=self.roads.titles,
            gaps=gaps,
            curves={p: page.picture(self.folder / f"curves_{safe_name(p)}.png", 1400) for p in self.roads.protocols},
            pictures=page.picture(self.folder / "pictures.png", 2000),
        )

    def summary(self) -> dict[str, Any]:
        return {
            protocol: {method: entry["mean"] for method, entry in found[MEAN].items()}
            for protocol, found in self.spreads.items()
        }

    def _differences(self) -> list[dict[str, Any]]:
        names = list(self.roads.titles)
        return [
            {"protocol": protocol, "method": one, "other": other,
             **differences(rows, one, other, "ap", self.draws, self.seed)["overall"]}
            for protocol, rows in self.rows.items()
            for one, other in itertools.permutations(names, 2)
        ]  # fmt: skip
