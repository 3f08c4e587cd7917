"""Ground-truth masks of a scene as scored: at the photo's native resolution, in the undistorted frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halonerf.data.collection import Collection
from halonerf.data.scene.scene import Scene
from halonerf.data.sources.holyscenes import pair_masks
from halonerf.masks import MaskFolder


@dataclass(frozen=True)
class GroundTruthMasks:
    """The ground-truth masks of a scene's photos."""

    scene: Scene
    masks: MaskFolder
    upright: bool = True  # drawn on upright photos, not on the stored ones that a finished model may be of
    mispaired: list[tuple[str, str]] = field(default_factory=list)  # masks of no photo, with the reason

    @classmethod
    def open(cls, scene: Scene, collect: Path, path: str | None) -> GroundTruthMasks | None:
        """The masks in the folder `path`, else those of the collection in `collect`; None where that has none.

        Raises: BadInput where the folder holds no masks.
        """
        collection = Collection.read(collect)
        chosen = collection.masks if path is None else path
        if chosen is None:
            return None
        masks = MaskFolder.open(chosen, complete=path is None)
        if not masks.numbered:
            return cls(scene, masks, upright=path is not None or collection.model is None)
        ids = dict(zip(scene.colmap_ids, scene.names, strict=True))
        pairs, mispaired = pair_masks(masks, ids, collection.photos)
        return cls(scene, masks.paired(pairs), False, mispaired)

    def unmatched(self) -> list[dict[str, str]]:
        """Masks that belong to no photo of the scene: "mask" and "reason" of each."""
        reasons = dict(self.mispaired)
        return [
            {"mask": mask, "reason": reasons.get(mask, "no registered photo of that name")}
            for mask in self.masks.unmatched(self.scene.names)
        ]

    def concepts(self, view: int) -> list[str]:
        """The concepts that have a mask in the photo of a view."""
        return [c for c in self.masks.concepts if self.masks.find(c, self.scene.names[view]) is not None]

    def read(self, view: int, concepts: Sequence[str]) -> tuple[dict[str, NDArray[np.bool_]], NDArray[np.bool_]]:
        """Masks by concept, and the pixels that the photo covers: bool [H, W] each, at the photo's native size.

        Raises: BadInput where a mask's aspect is not the photo's.
        """
        native = self.scene.native_size(view)
        turned = self.scene.orientation(view) if self.upright else 1
        drawn = {concept: self.masks.read(concept, self.scene.names[view], native, turned) for concept in concepts}
        truths: dict[str, NDArray[np.bool_]] = {}
        covered = np.ones(native[::-1], bool)
        for shape in {mask.shape for mask in drawn.values()}:  # usually one: undistorted together, with their frame
            same = [concept for concept, mask in drawn.items() if mask.shape == shape]
            stack = np.stack([*(drawn[concept] for concept in same), np.ones(shape, bool)], axis=-1)
            undistorted = self.scene.undistort(view, stack.astype(np.uint8) * 255, native) >= 128
            truths |= {concept: np.ascontiguousarray(undistorted[..., i]) for i, concept in enumerate(same)}
            covered &= undistorted[..., -1]
        return truths, covered
