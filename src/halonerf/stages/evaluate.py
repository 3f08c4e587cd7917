"""evaluate: how well the maps in 2D and in 3D agree with people's masks.

Output:
    metrics.json         means per concept and over concepts, held-out PSNR and SSIM, what was left out and why
    per_image.csv        every photo and concept
    pr_curves.npz, .png  precision and recall of all scored pixels pooled
    overlays/*.png       photo | render | 2D map | 3D map | truth, the truth's border drawn on the maps
    report.html          all of it on one page, pictures inside

Scored at the photo's native resolution, in the undistorted frame; pixels that the photo does not cover do not count.
Where a segmenter says "unknown", its 2D map counts as probability 0. A concept with masks and no map scores 0 in every
figure and counts in the means. A photo that is not in the scene cannot be rendered: it is left out, and listed.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from halonerf.artifacts import safe_name, write_json
from halonerf.data.collection import Collection, write_csv
from halonerf.data.scenes import Scene
from halonerf.errors import BadInput
from halonerf.masks import MaskFolder, match_concepts
from halonerf.pictures import outline, overlay, save_picture
from halonerf.stages.base import Stage
from halonerf.stages.curves import write_curves
from halonerf.stages.pages import Page, labelled_strip
from halonerf.stages.scores import FIGURES, histogram, no_map, per_image, score_map, summarise

log = logging.getLogger(__name__)

MAX_OVERLAYS = 200  # pictures in all; the figures are of every photo


class Evaluate(Stage):
    """Score the concepts.

    Args:
        masks: folder of masks, <concept>/<photo>.png; None takes those of the collection; where that has none either,
            nothing is scored.
        views: which photos are scored: "all" that have masks, or those of the "train" or "test" split.
    """

    name: ClassVar[str] = "evaluate"
    needs: ClassVar[tuple[str, ...]] = ("collect", "ingest", "reconstruct", "segment", "localize")

    def __init__(self, masks: str | None = None, views: str = "all") -> None:
        super().__init__()
        if views not in ("all", "train", "test"):
            raise BadInput(f"expected evaluate.views=all, train or test, got '{views}'.")
        self.masks_path, self.views = masks, views

    def prepare(self) -> None:
        """Open scene and masks, and decide which photos are scored."""
        self.scene = Scene(self.inputs["ingest"])
        masks = self._masks()
        if masks is None:
            log.warning(
                "evaluate: nothing is scored, for this collection has no masks of its own. "
                "Name a folder of them, <concept>/<photo>.png, with: evaluate.masks=DIR"
            )
        self.masks = masks or MaskFolder(Path(), {})
        self.mapped: list[str] = json.loads((self.inputs["localize"] / "concepts.json").read_text())
        self.segmented: list[str] = json.loads((self.inputs["segment"] / "concepts.json").read_text())
        chosen = [i for i in range(len(self.scene)) if self.views in ("all", self.scene.split[i])]
        self.wanted = {
            i: [c for c in self.masks.concepts if self.masks.find(c, self.scene.names[i]) is not None] for i in chosen
        }
        self.wanted = {i: concepts for i, concepts in self.wanted.items() if concepts}
        if masks is not None and not self.wanted:
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
        flat = self._probabilities(self.inputs["segment"] / "maps" / f"{item:05d}.npz", self.map_2d)
        solid = self._probabilities(self.inputs["localize"] / "renders" / f"{item:05d}.npz", self.map_3d)
        if solid is None:
            raise AssertionError(f"localize has no render of view {item}")
        entry: dict[str, Any] = {"photo": self.scene.names[item], "split": self.scene.split[item]}
        entry["concepts"], entry["histograms"] = {}, {}
        truths, known = self._truths(item)
        rank = list(self.wanted).index(item)
        for number, concept in enumerate(self.wanted[item]):
            truth = truths[concept]
            maps = {"2d": None if flat is None else flat.get(concept), "3d": solid.get(concept)}
            scored = {
                "2d": None if flat is None else self._score(maps["2d"], truth, known),
                "3d": self._score(maps["3d"], truth, known),
            }
            entry["concepts"][concept] = {
                **scored,
                "positive_share": float(truth[known].mean()) if known.any() else 0.0,
                "overlay": self.overlay_path(item, concept).stem,
            }
            entry["histograms"][concept] = {
                method: histogram(at_size(drawn, truth.shape), truth, known)
                for method, drawn in maps.items()
                if drawn is not None
            }
            if rank * len(self.concepts) + number < MAX_OVERLAYS:
                save_picture(self.overlay_path(item, concept), self._overlay(item, truth, maps, flat is not None))
        write_json(self._scores_path(item), entry)

    def finish(self) -> None:
        """Means, curves, table and page."""
        photos = [json.loads(self._scores_path(item).read_text()) for item in self.items()]
        missing = [concept for concept in self.concepts if concept not in self.map_3d]
        self.metrics = {
            "scene": self.scene.name,
            "views": self.views,
            **summarise(photos, self.concepts, missing),
            "photos_scored": len(photos),
            "missing_concepts": missing,
            "photos_left_out": self._left_out(),
            **self._held_out(),
        }
        write_json(self.folder / "metrics.json", self.metrics)
        write_csv(self.folder / "per_image.csv", ("photo", "split", "concept", "method", *FIGURES), per_image(photos))
        if photos:
            write_curves(self.folder, photos, self.concepts)
        page = Page(f"{self.scene.name}: how well it finds things")
        page.write(
            self.folder / "report.html",
            "evaluate.html",
            metrics=self.metrics,
            curves=page.picture(self.folder / "pr_curves.png", 900),
            overlays=[
                {"concept": concept, "photo": self.scene.names[item], "scores": photos[rank]["concepts"][concept],
                 "picture": page.picture(self.overlay_path(item, concept), 1400)}
                for concept in self.concepts
                for rank, item in enumerate(self.wanted)
                if self.overlay_path(item, concept).is_file()
            ],
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        return {
            "photos_scored": self.metrics["photos_scored"],
            "map": self.metrics["map"],
            "ap_3d": {concept: entry["ap"]["3d"] for concept, entry in self.metrics["concepts"].items()},
        }

    def overlay_path(self, item: int, concept: str) -> Path:
        """The picture of one photo and concept."""
        number = self.masks.concepts.index(concept)
        return self.folder / "overlays" / f"{item:05d}_{number:02d}_{safe_name(concept)}.png"

    def _masks(self) -> MaskFolder | None:
        own = Collection.read(self.inputs["collect"]).masks
        chosen = own if self.masks_path is None else self.masks_path
        return None if chosen is None else MaskFolder.open(chosen)

    def _probabilities(self, path: Path, wanted: dict[str, int]) -> dict[str, NDArray[np.floating]] | None:
        """Map of each concept that the file has, [h, w] float32, unknown as 0; None without a file."""
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as stored:
            probability = stored["probability"].astype(np.float32) / 255
            if "known" in stored:
                probability *= stored["known"]
        return {concept: probability[index] for concept, index in wanted.items()}

    def _truths(self, item: int) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.bool_]]:
        """The photo's masks at its native resolution, undistorted, and which pixels the photo covers."""
        native, view = self.scene.native_size(item), self.scene.views[item]
        size = (native[0], max(1, round(view.height * native[0] / view.width)))
        drawn = {concept: self.masks.read(concept, self.scene.names[item], native) for concept in self.wanted[item]}
        truths: dict[str, NDArray[np.bool_]] = {}
        known = np.ones(size[::-1], bool)
        for shape in {mask.shape for mask in drawn.values()}:  # usually one: undistorted together, with their frame
            alike = [concept for concept, mask in drawn.items() if mask.shape == shape]
            stacked = np.stack([*(drawn[concept] for concept in alike), np.ones(shape, bool)], axis=-1)
            flat = self.scene.undistort(item, stacked.astype(np.uint8) * 255, size) >= 128
            truths |= {concept: np.ascontiguousarray(flat[..., i]) for i, concept in enumerate(alike)}
            known &= flat[..., -1]
        return truths, known

    def _score(
        self, drawn: NDArray[np.floating] | None, truth: NDArray[np.bool_], known: NDArray[np.bool_]
    ) -> dict[str, float | None]:
        return no_map() if drawn is None else score_map(at_size(drawn, truth.shape), truth, known)

    def _overlay(self, item: int, truth: NDArray[np.bool_], maps: dict[str, Any], segmented: bool) -> NDArray[np.uint8]:
        view = self.scene.views[item]
        photo = self.scene.photo(item).numpy()
        mask = at_size(truth.astype(np.float32), (view.height, view.width)) >= 0.5
        render = self.inputs["localize"] / "renders" / f"{item:05d}.png"
        panels: list[tuple[str, NDArray[np.uint8] | None]] = [("photo", photo)]
        panels.append(("render", np.asarray(Image.open(render).convert("RGB")) if render.is_file() else None))
        for method, title in (("2d", "2D map" if segmented else "not segmented"), ("3d", "3D map")):
            drawn = maps[method]
            lit = None if drawn is None else overlay(photo, at_size(drawn, mask.shape))
            panels.append((title, None if lit is None else outline(lit, mask)))
        panels.append(("truth", outline(overlay(photo, mask.astype(np.float32)), mask)))
        return labelled_strip(panels, (view.width, view.height))

    def _left_out(self) -> list[dict[str, str]]:
        """Masks that were not scored, with the reason."""
        strays = [{"mask": mask, "reason": "no registered photo of that name"} for mask in
                  self.masks.strays(self.scene.names)]  # fmt: skip
        other = [
            {"mask": f"{concept}/{name}", "reason": f"not in the '{self.views}' split"}
            for i, name in enumerate(self.scene.names)
            if i not in self.wanted
            for concept in self.masks.concepts
            if self.masks.find(concept, name) is not None
        ]
        return strays + other

    def _held_out(self) -> dict[str, float | None]:
        path = self.inputs["reconstruct"] / "metrics.json"
        figures = json.loads(path.read_text()) if path.is_file() else {}
        return {key: figures.get(key) for key in ("psnr_heldout", "ssim_heldout")}

    def _scores_path(self, item: int) -> Path:
        return self.folder / "scores" / f"{item:05d}.json"

    @staticmethod
    def _few(names: list[str]) -> str:
        return ", ".join(f"'{name}'" for name in names[:3]) + (", …" if len(names) > 3 else "")


def at_size(drawn: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """A map [h, w] resized to `shape`: bilinear, averaging where it shrinks."""
    if drawn.shape == shape:
        return drawn
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(drawn))[None, None], shape, mode="bilinear", align_corners=False,
        antialias=True,
    )  # fmt: skip
    return resized[0, 0].numpy()
