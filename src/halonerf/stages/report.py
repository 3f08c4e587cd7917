"""report: the results of all stages on one page, and the main metrics in one file.

Output: report.html (self-contained), summary.json; explore.html, the page of `share`, where that was made
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from halonerf.artifacts import MANIFEST
from halonerf.config.option_types import Pixels, PositiveInt
from halonerf.data.collection import Collection
from halonerf.data.formats.names import (
    LABELS,
    METRICS,
    OVERVIEW,
    REGISTRATION,
    REPORT,
    SCORES,
    SHARED_FACTS,
    SHARED_PAGE,
    SHARED_PREVIEW,
    UNUSED_METADATA,
    view_file,
)
from halonerf.data.formats.probability_maps import read_concepts, read_levels, render_path
from halonerf.data.labels.table import read_labels
from halonerf.data.scene.scene import Scene
from halonerf.files import read_csv, write_atomic, write_json
from halonerf.masks import match_concepts
from halonerf.pipeline.stage import Stage
from halonerf.stages.specs import ReportSpec
from halonerf.types import ImageRecord, PseudoLabel
from halonerf.visualization.html_pages import Page, labelled_strip, mosaic
from halonerf.visualization.pictures import overlay

EXPLORE_PAGE = "explore.html"  # beside the report
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
MAX_LABEL_ROWS, MAX_SCENE_PICTURES, MAX_ZOOM_PICTURES = 24, 3, 4
TYPICAL_SHARE = 0.15  # of a photo, covered by a concept that is large and has visible surroundings
HEADER_PHOTOS = 4  # at the head of the page, each beside its map
MAX_CAPTION_CHARS = 160  # in the table of labels


class Report(ReportSpec, Stage):
    """Collects the results of the other stages on a page.

    Args:
        max_photos: of each concept, those in which it is largest without filling the photo.
        width: px, of the widest embedded pictures.
        explore: whether the page of `share` is copied beside the report and linked.
        command: that made the report, without its stage; the report shows further commands with the same options.
    """

    def __init__(
        self, max_photos: PositiveInt = 4, width: Pixels = 1400, explore: bool = True, command: str = "halonerf"
    ) -> None:
        super().__init__()
        self.max_photos, self.width, self.explore, self.command = max_photos, width, explore, command

    def prepare(self) -> None:
        """Read metrics and manifests of all stages."""
        self.collection = Collection.read(self.inputs["collect"])
        self.scene = Scene(self.inputs["ingest"])
        self.manifests = {stage: _json(self.inputs[stage] / MANIFEST) for stage in self.needs}
        self.metrics = _json(self.inputs["evaluate"] / METRICS)
        self.shared = self.inputs.get("share") if self.explore else None
        self.distilled = _json(self.inputs["distill"] / METRICS)

    def items(self) -> list[str]:
        return ["page"]

    def predict_step(self, item: str, index: int) -> None:
        """Write the page, then the main metrics."""
        wall = {stage: manifest["wall_s"] for stage, manifest in self.manifests.items() if "wall_s" in manifest}
        self.results = {
            "scene": self.collection.name,
            "wall_s": wall,
            "psnr_heldout": self.metrics.get("psnr_heldout"),
            "ssim_heldout": self.metrics.get("ssim_heldout"),
            "distill_accuracy": self.distilled.get("accuracy"),
            "map": self.metrics["map"],
            "per_concept": self.metrics["concepts"],
            "photos_registered": len(self.scene),
            "records": len(self.collection.records()),
        }
        self._page(wall)
        if self.shared:
            write_atomic(self.folder / EXPLORE_PAGE, (self.shared / SHARED_PAGE).read_bytes())
        write_json(self.folder / "summary.json", self.results)

    def done(self, item: str) -> bool:
        return False  # quick, and `summary` needs the results

    def summary(self) -> dict[str, Any]:
        return {key: self.results[key] for key in ("psnr_heldout", "distill_accuracy", "map")}

    def _page(self, wall: Mapping[str, float]) -> None:
        page = Page(self.collection.name)
        labels = read_labels(self.inputs["distill"] / LABELS)
        total = sum(wall.values())
        overlays = self._overlays(page)
        scene_pictures = [
            {"name": name, "caption": caption, "picture": page.picture(path, self.width)}
            for name, caption, path in self._scene_pictures()
        ]
        page.write(
            self.folder / REPORT,
            "pipeline.html",
            metrics=self.metrics,
            distill_accuracy=self.results["distill_accuracy"],
            header=page.embedded(Image.fromarray(self._header()), self.width),
            overview=page.picture(self.inputs["segment"] / OVERVIEW, self.width),
            photos=len(self.scene),
            records=self.results["records"],
            unused_metadata=self._unused_metadata(),
            concepts=read_concepts(self.inputs["localize"]),
            wall_total=total,
            overlays=overlays,
            registration=page.picture(self.inputs["ingest"] / REGISTRATION, self.width),
            scene_pictures=scene_pictures,
            label_counts=self.manifests["distill"].get("summary", {}).get("labels", {}),
            labels=self._label_rows(labels),
            shared=self.shared and _json(self.shared / SHARED_FACTS),
            preview=self.shared and page.picture(self.shared / SHARED_PREVIEW, self.width),
            command=self.command,
            zooms=[page.picture(path, self.width) for path in _pictures(self.inputs["mine"])[:MAX_ZOOM_PICTURES]],
            stages=[
                {"stage": stage, "wall_s": seconds, "share": seconds / total if total else 0.0,
                 "summary": _summary_text(self.manifests[stage].get("summary", {}))}
                for stage, seconds in wall.items()
            ],
        )  # fmt: skip

    def _unused_metadata(self) -> list[dict[str, str]]:
        """Rows of the metadata that belong to no photo: line, name, reason, nearest."""
        path = self.inputs["collect"] / UNUSED_METADATA
        return list(read_csv(path, escaped=True)) if path.is_file() else []

    def _header(self) -> NDArray[np.uint8]:
        """Photos beside their 3D maps, one concept after the other, uint8 [H, W, 3]."""
        concepts = read_concepts(self.inputs["localize"])
        tiles: list[NDArray[np.uint8]] = []
        used: set[int] = set()
        for concept, views in [*self._typical_views().items()] * HEADER_PHOTOS:
            index = match_concepts([concept], concepts).get(concept)
            view = next((view for view in views if view not in used), None)
            if view is None or index is None or len(tiles) >= 2 * HEADER_PHOTOS:
                continue
            used.add(view)
            photo = self.scene.photo(view).numpy()
            tiles += [photo, overlay(photo, self._maps(view)[index])]
        return mosaic(tiles or [self.scene.photo(0).numpy()], columns=4)

    def _typical_views(self) -> dict[str, list[int]]:
        """The views of each concept, sorted by how near the share that it covers is to `TYPICAL_SHARE`.

        The share is that of the masks, or the mean probability of the maps where nothing was scored.
        """
        shares: dict[str, list[tuple[float, int]]]
        if self.metrics["concepts"]:
            scored = {int(path.stem): _json(path)["concepts"] for path in sorted(self._scores().glob("*.json"))}
            shares = {
                concept: [(e[concept]["positive_share"], view) for view, e in scored.items() if concept in e]
                for concept in self.metrics["concepts"]
            }
        else:
            means = [self._maps(view).mean(axis=(1, 2)) for view in range(len(self.scene))]
            concepts = read_concepts(self.inputs["localize"])
            shares = {
                concept: [(float(mean[index]), view) for view, mean in enumerate(means)]
                for index, concept in enumerate(concepts)
            }
        return {
            concept: [view for _, view in sorted((abs(share - TYPICAL_SHARE), view) for share, view in pairs)]
            for concept, pairs in shares.items()
        }

    def _maps(self, view: int) -> NDArray[np.floating]:
        """The 3D maps in a view, [P, H, W] in [0, 1]."""
        return read_levels(render_path(self.inputs["localize"], view)) / 255.0

    def _scores(self) -> Path:
        return self.inputs["evaluate"] / SCORES

    def _overlays(self, page: Page) -> list[dict[str, Any]]:
        """The strips of the typical photos of each concept."""
        overlays = []
        for concept, views in self._typical_views().items():
            for view in views[: self.max_photos]:
                scores = _json(view_file(self._scores(), view, ".json")).get("concepts", {}).get(concept)
                picture = (
                    page.embedded(Image.fromarray(self._strip(concept, view)), self.width)
                    if scores is None
                    else page.picture(self.inputs["evaluate"] / "overlays" / f"{scores['overlay']}.png", self.width)
                )
                if picture is not None:
                    overlays.append(
                        {"concept": concept, "photo": self.scene.names[view], "scores": scores, "picture": picture}
                    )
        return overlays

    def _strip(self, concept: str, view: int) -> NDArray[np.uint8]:
        """photo | rendering | 3D map of a concept that was not scored, uint8 [H, W, 3]."""
        photo = self.scene.photo(view).numpy()
        index = read_concepts(self.inputs["localize"]).index(concept)
        render = np.asarray(Image.open(render_path(self.inputs["localize"], view, ".png")).convert("RGB"))
        panels = [("photo", photo), ("rendering", render), ("3D map", overlay(photo, self._maps(view)[index]))]
        return labelled_strip(panels, (photo.shape[1], photo.shape[0]))

    def _scene_pictures(self) -> list[tuple[str, str, Path]]:
        """The first pictures that `reconstruct` wrote: name, caption, file."""
        return [
            (
                path.stem,
                f"{self.scene.names[int(path.stem)]}: photo, rendering, depth, transient mask",
                path,
            )
            for path in _pictures(self.inputs["reconstruct"] / "pictures")[:MAX_SCENE_PICTURES]
            if path.stem.isdecimal() and int(path.stem) < len(self.scene)
        ]

    def _label_rows(self, labels: Sequence[PseudoLabel]) -> list[dict[str, Any]]:
        """Evenly spaced photos with their pseudo-labels, wrong and empty ones included."""
        truth = self.collection.truth()
        records = {record.image_id: record for record in self.collection.records()}
        step = max(1, len(labels) // MAX_LABEL_ROWS)
        return [
            {"text": _caption(records[label.image_id]), "label": label.label, "confidence": label.confidence,
             "evidence": label.evidence, "truth": truth.get(label.image_id)}
            for label in labels[::step][:MAX_LABEL_ROWS]
        ]  # fmt: skip


def _caption(record: ImageRecord) -> str:
    """The caption, else the file name, of a record, shortened."""
    text = record.caption or record.filename or record.image_id
    return text if len(text) <= MAX_CAPTION_CHARS else text[: MAX_CAPTION_CHARS - 1] + "…"


def _summary_text(summary: Mapping[str, Any]) -> str:
    """The numbers and texts of a stage's summary, as "photos 10, points 1,451"."""
    plain = {key: value for key, value in summary.items() if isinstance(value, (int, float, str))}
    return ", ".join(
        f"{key.replace('_', ' ')} {value:,.4g}" if isinstance(value, float)
        else f"{key.replace('_', ' ')} {value:,}" if isinstance(value, int) else f"{key.replace('_', ' ')} {value}"
        for key, value in plain.items()
    )  # fmt: skip


def _pictures(folder: Path) -> list[Path]:
    """Picture files directly in `folder`, by name."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURE_ENDINGS)


def _json(path: Path) -> Any:
    """The contents of a JSON file; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
