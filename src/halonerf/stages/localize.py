"""Semantic head fitted to the selected photos' 2D maps, and its probability maps rendered for every view.

Output:
    head.safetensors              the fitted head
    rounds/<round>.safetensors    until a head fitted in rounds is finished: the state to resume from
    concepts.json                 the concepts, in the order of all arrays
    thresholds.json               of each concept, of its "2d" maps and of its "3d" ones, from the lifted photos alone
    renders/<view>.npz            probability uint16 [P, H, W] (p * 65535), confidence float16 [P, H, W]
    renders/<view>.png            the field's colours with that view's appearance code
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halonerf.config.option_types import Component
from halonerf.data.formats.feature_maps import FeatureMaps, read_text_embeddings
from halonerf.data.formats.names import CONCEPT_WEIGHTS, CONCEPTS, HEAD, RENDERS, view_file
from halonerf.data.formats.photo_choice import read_concept_weights, read_photo_choice, read_photo_scores
from halonerf.data.formats.probability_maps import (
    read_concepts,
    read_probability,
    render_path,
    segment_map_path,
    write_maps,
    write_thresholds,
)
from halonerf.data.formats.rendering_maps import read_rendering_maps
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import atomic_path, write_json
from halonerf.loading import fitted_scene, open_field, open_head
from halonerf.pipeline.stage import Stage
from halonerf.protocols import FeatureHead, FewShotHead, LearntHead, SemanticHead
from halonerf.stages.specs import LocalizeSpec
from halonerf.thresholds import decide
from halonerf.types import View
from halonerf.visualization.pictures import save_picture, to_uint8


class Localize(LocalizeSpec, Stage):
    """Lift 2D probabilities into the field and render them; for a head fitted in rounds, each round is an item.

    Args:
        head: config of the semantic head.
        field: config of the field that `reconstruct` fitted.
        views: photos whose maps are lifted: "all", or only those of the "train" split.
        weights: of the selected photos: "concepts" (by photo and concept, from segment/weights.csv; what is not in it
            has weight 0), "score" (the photo's score) or None (equal weights).
    """

    def __init__(
        self,
        head: Component,
        field: Component,
        views: Literal["all", "train"] = "all",
        weights: Literal["concepts", "score"] | None = "concepts",
    ) -> None:
        super().__init__()
        self.head_config, self.field_config, self.views, self.weights = head, field, views, weights

    def prepare(self) -> None:
        self.scene = fitted_scene(self.inputs)
        self.concepts: list[str] = read_concepts(self.inputs["segment"])
        self.field = open_field(self.field_config, self.inputs["reconstruct"])
        self.head: SemanticHead = build(self.head_config)
        self.rounds = self.head.rounds if isinstance(self.head, LearntHead) else 0
        self.photo_weights = self._photo_weights()
        for part in (RENDERS, "rounds") if self.rounds else (RENDERS,):
            (self.folder / part).mkdir(exist_ok=True)
        write_json(self.folder / CONCEPTS, self.concepts)

    def items(self) -> list[int | str]:
        if not self.concepts:
            return []
        return [*(f"round {k}" for k in range(self.rounds)), "head", *range(len(self.scene))]

    def done(self, item: int | str) -> bool:
        if not isinstance(item, str) or item == "head":
            return self._path(item).is_file()
        return self._path("head").is_file() or _number(item) < self._rounds_done()

    def predict_step(self, item: int | str, index: int) -> None:
        if not isinstance(item, str):
            self._render(item)
        elif item == "head":
            self._fit()
        else:
            self._fit_round(_number(item))

    def finish(self) -> None:
        """Write from which probability on each concept counts as found (`halonerf.thresholds`)."""
        if not self.concepts:
            write_thresholds(self.folder, {"2d": [], "3d": []})
            return
        columns = zip(self._head.probabilities().T.cpu(), self._head.confidence().T.cpu(), strict=True)
        lifted = [decide(probability.numpy(), confidence.numpy()).threshold for probability, confidence in columns]
        levels = np.arange(256) / 255
        flat = [decide(levels, counts).threshold for counts in self._levels()]
        write_thresholds(self.folder, {"2d": flat, "3d": lifted})

    def summary(self) -> dict[str, Any]:
        return {"concepts": len(self.concepts), "photos_lifted": len(self._sources()), "views": len(self.scene)}

    def _path(self, item: int | str) -> Path:
        return self.folder / HEAD if isinstance(item, str) else render_path(self.folder, item)

    def _sources(self) -> list[int]:
        """Views whose photos were segmented and selected, and are of the chosen split."""
        chosen = read_photo_choice(self.inputs["segment"])
        split = ("train",) if self.views == "train" else ("train", "test")
        return [
            i
            for i, name in enumerate(self.scene.names)
            if name in chosen and self.scene.split[i] in split and self._map_file(i).is_file()
        ]

    def _map_file(self, view: int) -> Path:
        return segment_map_path(self.inputs["segment"], view)

    def _fit_round(self, number: int) -> None:
        """Fit one round; its state replaces that of the previous one."""
        self._head_in_rounds.fit_round(number)
        path = self._round(number)
        with atomic_path(path) as temporary:
            self._head_in_rounds.save_state(temporary)
        self._round(number - 1).unlink(missing_ok=True)

    @cached_property
    def _head_in_rounds(self) -> LearntHead:
        """The head in the state of its last finished round."""
        assert isinstance(self.head, LearntHead)
        self.head.start(self.field, *self.supervisions())
        if self._rounds_done():
            self.head.load_state(self._round(self._rounds_done() - 1))
        return self.head

    def _rounds_done(self) -> int:
        """Number of finished rounds."""
        return 1 + max((int(path.stem) for path in (self.folder / "rounds").glob("*.safetensors")), default=-1)

    def _round(self, number: int) -> Path:
        return view_file(self.folder / "rounds", number, ".safetensors")

    def _fit(self) -> None:
        """Fit the head, unless it was fitted in rounds, and write it."""
        if self.rounds:
            head: SemanticHead = self._head_in_rounds
        else:
            head = self.head
            if isinstance(head, FeatureHead):
                self._fit_features(head)
            else:
                if isinstance(head, FewShotHead):
                    head.lift_features(self.field, *self._features())
                head.fit(self.field, *self.supervisions())
        with atomic_path(self._path("head")) as temporary:
            head.save(temporary)
        shutil.rmtree(self.folder / "rounds", ignore_errors=True)

    def _fit_features(self, head: FeatureHead) -> None:
        """Fit a head to feature maps, without 2D probability maps, and set its text embeddings.

        A photo's weight is the mean of its weights for the concepts.
        """
        sources, folder = self._sources(), self.inputs["features"]
        weights = [self.scene.valid(i) * self.photo_weights[self.scene.names[i]].mean() for i in sources]
        head.fit(self.field, [self.scene.views[i] for i in sources], FeatureMaps(folder, sources), weights)
        head.set_texts(*read_text_embeddings(folder))

    def _features(self) -> tuple[list[View], FeatureMaps, list[Tensor]]:
        """Views, feature maps and weights [H, W] of all photos of the chosen split, annotated or not."""
        views = [i for i, split in enumerate(self.scene.split) if self.views == "all" or split == "train"]
        maps = FeatureMaps(self.inputs["features"], views)
        return [self.scene.views[i] for i in views], maps, [self.scene.valid(i).float() for i in views]

    def supervisions(self) -> tuple[list[View], list[Tensor], list[Tensor]]:
        """Views, probabilities and weights, [H, W, P] each, of the photos and annotated renderings that are lifted."""
        sources = self._sources()
        drawn = [self._rendering_supervision(*maps) for maps in read_rendering_maps(self.inputs["segment"])]
        if not sources and not drawn:
            raise BadInput(
                f"expected 2D maps of at least one photo to lift, found none of {len(self.scene)} photos "
                f"(localize.views={self.views}).\nWith segmenter=masks the masks must be named as the photos: "
                f"<concept>/{Path(self.scene.names[0]).with_suffix('.png')}"
            )
        photos = [(self.scene.views[i], *self._supervision(i)) for i in sources]
        views, maps, weights = zip(*photos, *drawn, strict=True)
        return list(views), list(maps), list(weights)

    def _levels(self) -> NDArray[np.int64]:
        """How many known pixels of the lifted photos' 2D maps have each of 256 probabilities, [P, 256]."""
        counts = np.zeros((len(self.concepts), 256), np.int64)
        for view in self._sources():
            probability, known = read_probability(self._map_file(view))
            for concept, (values, seen) in enumerate(zip(to_uint8(probability), known, strict=True)):
                counts[concept] += np.bincount(values[seen], minlength=256)
        return counts

    def _photo_weights(self) -> Mapping[str, Tensor]:
        """Weights of the photos by name, [P] each."""
        concepts = len(self.concepts)
        if self.weights is None:
            return {name: torch.ones(concepts) for name in self.scene.names}
        if self.weights == "score":
            scores = read_photo_scores(self.inputs["segment"])
            return {name: torch.full((concepts,), scores.get(name, 0.0)) for name in self.scene.names}
        table = read_concept_weights(self.inputs["segment"])
        if table is None:
            raise BadInput(
                f"expected {CONCEPT_WEIGHTS} in {self.inputs['segment']} for localize.weights={self.weights}, "
                "found none.\nSegment with weights per concept, or use: localize.weights=score"
            )
        return {
            name: torch.tensor([table.get((name, concept), 0.0) for concept in self.concepts])
            for name in self.scene.names
        }

    def _supervision(self, view: int) -> tuple[Tensor, Tensor]:
        """Probabilities and weights of one photo, [H, W, P] each, at the view's size."""
        probability, known = (torch.from_numpy(part) for part in read_probability(self._map_file(view)))
        camera = self.scene.views[view]
        size = (camera.height, camera.width)
        probability = torch.nn.functional.interpolate(
            probability[None], size, mode="bilinear", align_corners=False, antialias=True
        )[0]
        known = torch.nn.functional.interpolate(known[None].float(), size, mode="nearest")[0]
        weight = known * self.scene.valid(view)
        if not isinstance(self.head, FewShotHead):  # annotations are certain, whatever the photo's quality
            weight = weight * self.photo_weights[self.scene.names[view]][:, None, None]
        return probability.permute(1, 2, 0), weight.permute(1, 2, 0)

    def _rendering_supervision(
        self, view: View, probability: NDArray[np.float32], known: NDArray[np.bool_]
    ) -> tuple[View, Tensor, Tensor]:
        """Camera, probabilities and weights, [H, W, P] each, of an annotated rendering."""
        maps, weight = (torch.from_numpy(part).permute(1, 2, 0).float() for part in (probability, known))
        return view, maps, weight

    @cached_property
    def _head(self) -> SemanticHead:
        return open_head(self.head_config, self.folder)

    def _render(self, view: int) -> None:
        camera, appearance = self.scene.views[view], self.field.appearance(self.scene.names[view])
        colour = self.field.render(camera, appearance).colour
        probability, confidence = self._head.render(self.field, camera, appearance)
        save_picture(self._path(view).with_suffix(".png"), to_uint8(colour))
        maps = (part.permute(2, 0, 1).cpu().numpy() for part in (probability, confidence))
        write_maps(self._path(view), next(maps), confidence=next(maps), bits=16)


def _number(item: str) -> int:
    """Number of an item such as "round 7"."""
    return int(item.rpartition(" ")[2])
