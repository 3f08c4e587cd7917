"""segment: probability maps of the concepts in every photo, scores of the photos, and the selection to learn from.

concepts.json            the concepts
maps/<view>.npz          `probability` uint8 [P, H, W] (255 = certain) at the view's working size; `known` bool
                         [P, H, W] where something is unknown; no file where nothing is known
renderings/<number>.npz  such maps of annotated renderings, with their `camera` (`halonerf.data.formats.rendering_maps`)
photos/<view>.json       measures of the photo for its score
agreement/<view>.json    agreement of each concept's map with the other photos', where that is a term
choice.csv               photo, score, chosen, reason, and one column per term
weights.csv              photo, concept, weight
overview.png             some photos with their maps
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import MinLen

from halonerf.artifacts import MANIFEST
from halonerf.config.option_types import Component, PositiveInt, Text
from halonerf.data.formats.names import CONCEPTS, MAPS, OVERVIEW, view_file
from halonerf.data.formats.photo_choice import write_concept_weights, write_photo_choice
from halonerf.data.formats.probability_maps import read_levels, read_probability, segment_map_path, write_maps
from halonerf.data.formats.rendering_maps import write_rendering_maps
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_json
from halonerf.loading import fitted_scene, open_field, open_segmenter
from halonerf.pipeline.stage import Stage
from halonerf.prediction import ConceptPredictor, untaught_notes
from halonerf.protocols import MaskFolderSegmenter, RenderingSegmenter, TrainableField
from halonerf.stages.segment.agreement import AgreementPass, ViewMaps, WorkItem
from halonerf.stages.segment.concepts import decide_concepts
from halonerf.stages.segment.photo_scores import PhotoMeasures, ScoreTerm, combine_scores, row_means, term_values
from halonerf.stages.segment.selection import (
    check_options,
    explain,
    incidence,
    select_for_coverage,
    select_top,
    split_budget,
)
from halonerf.stages.specs import SegmentSpec
from halonerf.visualization.pictures import grid, overlay, save_picture

log = logging.getLogger(__name__)

OVERVIEW_PHOTOS = 4


class Segment(SegmentSpec, Stage):
    """Segment every photo, score the photos, and select those that heads are fitted to.

    Scores, weights and selection of the fitted photos depend on fitted photos alone; held-out ones are compared with
    these, and selected apart.

    Args:
        segmenter: config of the segmenter.
        concepts: text prompts; None: the vocabulary of a `MaskFolderSegmenter`, else the collection's concepts, else
            the distilled labels.
        min_photos: number of photos with a distilled label from which it is a concept.
        max_concepts: maximum number of distilled labels, the most frequent first.
        max_photos: maximum number of selected photos.
        score_terms: terms of a photo's score: "quality" (sharpness, exposure, registered points), "geometry" and
            "occlusion" (the paper's: framing and visible fraction of the building), "certainty" (of each map; enters
            only the weights, beside other terms), "agreement" (with the other photos' prediction of the view).
        combine: "product" or "sum" of the terms.
        selection: "best": the highest scores; "coverage": photos that together show most of the building.
        agreement_size: px, long side at which maps are compared.
        building: text prompt of the building; None: not segmented.
        building_segmenter: config of the segmenter of the building; None: that of the concepts.
        crop: whether photos are cropped to the building, if it is segmented; outside, no concept is present.
        sky: text prompt of the sky, whose probability is subtracted from the concepts'; None: not segmented.
        batch: number of photos of one size that are segmented together.
        adapted: whether the segmenter has the weights of `adapt_segmenter`.
    """

    def __init__(
        self,
        segmenter: Component,
        concepts: Annotated[Sequence[Text], MinLen(1)] | None = None,
        min_photos: PositiveInt = 3,
        max_concepts: PositiveInt = 12,
        max_photos: PositiveInt = 150,
        score_terms: Annotated[Sequence[ScoreTerm], MinLen(1)] = ("quality", "certainty"),
        combine: Literal["product", "sum"] = "product",
        selection: Literal["best", "coverage"] = "best",
        agreement_size: PositiveInt = 96,
        building: Text | None = None,
        building_segmenter: Component | None = None,
        crop: bool = True,
        sky: Text | None = None,
        batch: PositiveInt = 1,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter_config, self.given, self.adapted = segmenter, concepts, adapted
        self.building, self.finder_config, self.crop = building, building_segmenter, crop
        self.sky, self.batch, self.agreement_size = sky, batch, agreement_size
        self.min_photos, self.max_concepts, self.max_photos = min_photos, max_concepts, max_photos
        self.score_terms, self.combine, self.selection = tuple(score_terms), combine, selection
        check_options(self.score_terms, combine, selection, agreement_size, building, crop)

    def prepare(self) -> None:
        """Build the segmenter, decide the concepts and, where a term needs it, open the field."""
        self.scene = fitted_scene(self.inputs) if "reconstruct" in self.inputs else Scene(self.inputs["ingest"])
        adapted = self.inputs["adapt_segmenter"] if self.adapted else None
        self.segmenter = open_segmenter(self.segmenter_config, self.scene, adapted)
        self.finder = build(self.finder_config) if self.finder_config else self.segmenter
        self._check_building()
        self.fitted = np.array([side == "train" for side in self.scene.split], bool)
        inputs, names = self.inputs, [self.scene.names[view] for view in self.scene.indices("train")]
        self.concepts = decide_concepts(self.given, self.segmenter, inputs, names, self.min_photos, self.max_concepts)
        prompts = [*self.concepts, self.sky] if self.sky else self.concepts
        building = untaught_notes(self.finder, [self.building]) if self.building else []
        for note in (*untaught_notes(self.segmenter, prompts), *building):
            log.warning("%s", note)
        write_json(self.folder / CONCEPTS, self.concepts)
        for part in (MAPS, "photos"):
            (self.folder / part).mkdir(exist_ok=True)
        self.renderings = self._write_renderings()
        crop = self.crop and self.building is not None
        self.predictor = ConceptPredictor(self.segmenter, self.finder, self.concepts, self.building, crop, self.sky)
        self.field = self._open_field()
        self.measures = PhotoMeasures(self.score_terms, self.scene, self.predictor, self.field)
        self.agreement: AgreementPass | None = None
        if "agreement" in self.score_terms and self.field is not None and self.concepts:
            size = self.agreement_size
            self.agreement = AgreementPass(self.folder, self.scene, self.field, self._maps, len(self.concepts), size)

    def items(self) -> Sequence[WorkItem]:
        """Groups of at most `batch` views of one size; then the passes of `AgreementPass`, where that is a term."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, view in enumerate(self.scene.views):
            sizes.setdefault((view.height, view.width), []).append(index)
        step = max(1, self.batch)
        groups = [tuple(same[k : k + step]) for same in sizes.values() for k in range(0, len(same), step)]
        return [
            *(WorkItem("photos", group) for group in sorted(groups)),
            *(self.agreement.items() if self.agreement else ()),
        ]

    def done(self, item: WorkItem) -> bool:
        if item.kind != "photos" and self.agreement is not None:
            return self.agreement.done(item)
        return all(self._measures_path(view).is_file() for view in item.views)

    def predict_step(self, item: WorkItem, index: int) -> None:
        """Write each photo's maps, then its measures, whose file marks the photo as done."""
        if item.kind != "photos" and self.agreement is not None:
            self.agreement.process(item)
            return
        photos = torch.stack([self.scene.photo(view) for view in item.views])
        images = photos.to(self.device).permute(0, 3, 1, 2).float() / 255
        predictions, buildings = self.predictor.predict(images, [self.scene.names[view] for view in item.views])
        for row, view in enumerate(item.views):
            probability, known = (part.numpy() for part in predictions[row])
            known = known & self.scene.valid(view).numpy()
            if known.any():
                write_maps(self.map_path(view), probability * known, known)
            building = buildings[row] if buildings else None
            write_json(self._measures_path(view), self.measures.of(view, probability, known, building))

    def finish(self) -> None:
        """Score and select the photos, and draw some."""
        entries = [json.loads(self._measures_path(view).read_text()) for view in range(len(self.scene))]
        mapped = [any(entry["known"]) or not self.concepts for entry in entries]
        self.mapped = sum(mapped)
        if not self.mapped and not self.renderings:
            raise BadInput(
                f"expected the segmenter to know something about at least one of the {len(self.scene)} photos, but it "
                f"knows nothing of {', '.join(self.concepts)} in any of them.\n"
                f"The first photo is '{self.scene.names[0]}'; masks are <concept>/<name without ending>.png."
            )
        agreements = self.agreement.values() if self.agreement else []
        values = term_values(self.score_terms, entries, agreements, len(self.concepts), self.fitted)
        score, weights = combine_scores(values, self.combine, len(self.concepts))
        self.chosen = self._select(score * np.array(mapped))
        reasons = explain(self.chosen, score, mapped, values)
        terms = {term: value if value.ndim == 1 else row_means(value) for term, value in values.items()}
        write_photo_choice(self.folder, self.scene.names, score, self.chosen, reasons, terms)
        write_concept_weights(self.folder, self.scene.names, self.concepts, weights)
        first = sorted(self.chosen, key=lambda view: (-score[view], view))[:OVERVIEW_PHOTOS]
        if first and self.concepts:
            save_picture(self.folder / OVERVIEW, grid([self._overview_row(view) for view in first]))

    def summary(self) -> dict[str, Any]:
        return {
            "concepts": self.concepts,
            "photos": len(self.scene),
            "photos_mapped": self.mapped,
            "photos_chosen": len(self.chosen),
            **({"renderings": self.renderings} if self.renderings else {}),
        }

    def map_path(self, view: int) -> Path:
        """Path of a view's maps, which exists where anything is known in it."""
        return segment_map_path(self.folder, view)

    def _write_renderings(self) -> int:
        """Write what the segmenter knows of renderings of this reconstruction; their number."""
        if not isinstance(self.segmenter, RenderingSegmenter):
            return 0
        written = 0
        for view, encoded in self.segmenter.renderings(self.inputs["ingest"].name):
            (logits,) = self.segmenter.decode(encoded, self.concepts)
            known = ~logits.isnan()
            if known.any():
                probability = logits.sigmoid().nan_to_num(0.0)
                write_rendering_maps(self.folder, written, view, probability.numpy(), known.numpy())
                written += 1
        return written

    def _open_field(self) -> TrainableField | None:
        """The field with the options that it was fitted with; None where no term needs it."""
        if "reconstruct" not in self.inputs:
            return None
        manifest = json.loads((self.inputs["reconstruct"] / MANIFEST).read_text())
        return open_field(manifest["config"]["field"], self.inputs["reconstruct"])

    def _measures_path(self, view: int) -> Path:
        return view_file(self.folder / "photos", view, ".json")

    def _check_building(self) -> None:
        """Raises: BadInput where a `MaskFolderSegmenter` would get a crop of a photo, or a rendering."""
        if self.building is None:
            return
        for part, needs_pixels in (("segmenter", self.crop), ("building_segmenter", True)):
            component = self.segmenter if part == "segmenter" else self.finder
            if needs_pixels and isinstance(component, MaskFolderSegmenter):
                use = "segment.crop=false" if part == "segmenter" and self.finder_config else "segment.building=null"
                raise BadInput(
                    f"expected a {part} that works on pixels to find the {self.building} or to crop photos to it, got "
                    f"{type(component).__name__}, which looks whole photos up by name.\nUse: {use}, and for the terms "
                    "geometry and occlusion +segmenter@segment.building_segmenter=timm_text"
                )

    def _select(self, score: np.ndarray) -> list[int]:
        """The selected photos, fitted ones first, in order of selection; score: [V], 0 where nothing is known."""
        chosen: list[int] = []
        for side, budget in zip((self.fitted, ~self.fitted), split_budget(self.max_photos, self.fitted), strict=True):
            views = np.flatnonzero(side)
            if self.selection == "best":
                picks = select_top(score[views], budget)
            else:
                seen = [self.scene.observations(int(view))[2].numpy() for view in views]
                picks = select_for_coverage(score[views], incidence(seen, len(self.scene.points)), budget)
            chosen += [int(views[pick]) for pick in picks]
        return chosen

    def _maps(self, view: int) -> ViewMaps | None:
        """A view's maps, read from disk; None where nothing is known."""
        if not self.map_path(view).is_file():
            return None
        probability, known = (torch.from_numpy(part) for part in read_probability(self.map_path(view)))
        return probability, known.float() * self.scene.valid(view)

    def _overview_row(self, view: int) -> list[np.ndarray]:
        """The photo, then each concept's map over it, uint8 [H, W, 3] each."""
        photo = self.scene.photo(view).numpy()
        return [photo, *(overlay(photo, probability / 255.0) for probability in read_levels(self.map_path(view)))]
