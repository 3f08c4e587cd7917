"""Where each photo shows each concept, and which photos to trust.

concepts.json            what was looked for
maps/<view>.npz          `probability` uint8 [P, H, W] (255 = certain) at the view's working size; `known` bool
                         [P, H, W] where something is unknown; no file where nothing is known
photos/<view>.json       what the choice of photos is made from
choice.csv               photo, score, chosen, reason
overview.png             some photos with their maps
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.artifacts import write_atomic, write_json
from halonerf.data.collection import Collection, write_csv
from halonerf.data.scenes import Scene
from halonerf.errors import BadInput
from halonerf.pictures import grid, overlay, save_picture
from halonerf.protocols import Segmenter
from halonerf.stages.base import Stage
from halonerf.stages.build import build
from halonerf.stages.building import Box, building_box, without_sky
from halonerf.stages.choice import choose, photo_measures, scores

OVERVIEW_PHOTOS = 4


class Segment(Stage):
    """Segments every photo and chooses the ones to learn from.

    Args:
        segmenter: config of the segmenter.
        concepts: what to look for; None decides: the segmenter's own vocabulary (folders of masks), else the
            collection's concepts, else the distilled labels.
        min_photos: a distilled label becomes a concept when at least so many photos carry it.
        max_concepts: at most so many distilled labels, the most frequent first.
        photos: how many photos are chosen at most.
        building: what the building is called; photos are cropped to it, and show nothing of any concept outside. None
            looks at whole photos.
        building_segmenter: config of the segmenter that finds the building; None: the one that finds the concepts.
        sky: what the sky is called; where it is, concepts are not. None does not ask.
        batch: photos of one size that are segmented together.
        adapted: whether the segmenter is taken as `adapt_segmenter` left it.
    """

    name = "segment"
    needs = ("collect", "ingest", "distill")

    def __init__(
        self,
        segmenter: Mapping[str, Any],
        concepts: Sequence[str] | None = None,
        min_photos: int = 3,
        max_concepts: int = 12,
        photos: int = 150,
        building: str | None = None,
        building_segmenter: Mapping[str, Any] | None = None,
        sky: str | None = None,
        batch: int = 1,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter_config, self.given, self.adapted = segmenter, concepts, adapted
        self.building, self.finder_config, self.sky, self.batch = building, building_segmenter, sky, batch
        self.min_photos, self.max_concepts, self.photos = min_photos, max_concepts, photos

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return (*cls.needs, "adapt_segmenter") if config.get("adapted") else cls.needs

    def prepare(self) -> None:
        """Build the segmenter and decide the concepts."""
        self.scene = Scene(self.inputs["ingest"])
        self.segmenter = build(self.segmenter_config, **self._weights())
        if hasattr(self.segmenter, "place"):
            if self.building is not None:
                raise BadInput(
                    f"expected a segmenter that looks at pixels to crop photos to the {self.building}, got "
                    f"{type(self.segmenter).__name__}, which knows whole photos by name.\nUse: segment.building=null"
                )
            self.segmenter.place(self._undistorted)
        self.finder = build(self.finder_config) if self.finder_config else self.segmenter
        self.concepts = self._decide()
        write_json(self.folder / "concepts.json", self.concepts)
        for part in ("maps", "photos"):
            (self.folder / part).mkdir(exist_ok=True)

    def items(self) -> Sequence[tuple[int, ...]]:
        """Indices of the views, at most `batch` of one size together."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, view in enumerate(self.scene.views):
            sizes.setdefault((view.height, view.width), []).append(index)
        step = max(1, self.batch)
        groups = [tuple(same[k : k + step]) for same in sizes.values() for k in range(0, len(same), step)]
        return sorted(groups)

    def done(self, item: tuple[int, ...]) -> bool:
        return all(self._measures(index).is_file() for index in item)

    def predict_step(self, item: tuple[int, ...], index: int) -> None:
        """Write each photo's map, then its measures: the measures say that both are there."""
        for view, (probability, known) in zip(item, self._probabilities(item), strict=True):
            known = known & self.scene.valid(view).numpy()
            if known.any():
                arrays: dict[str, Any] = {"probability": np.round(probability * known * 255).astype(np.uint8)}
                if not known.all():
                    arrays["known"] = known
                buffer = io.BytesIO()
                np.savez_compressed(buffer, **arrays)
                write_atomic(self.map_path(view), buffer.getvalue())
            pixels, _, _ = self.scene.observations(view)
            measures = photo_measures(
                self.scene.photo(view).numpy(), self.scene.valid(view).numpy(), pixels.numpy().reshape(-1, 2)
            )
            write_json(self._measures(view), {"mapped": bool(known.any()), **measures})

    def finish(self) -> None:
        """Choose the photos and draw some."""
        entries = [json.loads(self._measures(item).read_text()) for item in range(len(self.scene))]
        score = scores(entries)
        verdicts = choose(score, [entry["mapped"] for entry in entries], self.photos)
        self.chosen = [item for item, (chosen, _) in enumerate(verdicts) if chosen]
        self.mapped = sum(entry["mapped"] for entry in entries)
        if not self.mapped:
            raise BadInput(
                f"expected the segmenter to know something about at least one of the {len(self.scene)} photos, but it "
                f"knows nothing of {', '.join(self.concepts)} in any of them.\n"
                f"The photos' names begin with '{self.scene.names[0]}'; masks are <concept>/<name without ending>.png."
            )
        rows = [
            {
                "photo": name,
                "score": f"{score[item]:.4f}",
                "chosen": str(verdicts[item][0]).lower(),
                "reason": verdicts[item][1],
            }
            for item, name in enumerate(self.scene.names)
        ]
        write_csv(self.folder / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
        best = sorted(self.chosen, key=lambda item: -score[item])[:OVERVIEW_PHOTOS]
        if best:
            save_picture(self.folder / "overview.png", grid([self._shown(item) for item in best]))

    def summary(self) -> dict[str, Any]:
        return {
            "concepts": self.concepts,
            "photos": len(self.scene),
            "photos_mapped": self.mapped,
            "photos_chosen": len(self.chosen),
        }

    def map_path(self, item: int) -> Path:
        """Where the view's map is, if anything is known in it."""
        return self.folder / "maps" / f"{item:05d}.npz"

    def _weights(self) -> dict[str, Any]:
        """The option that names the adapted weights; a file or a folder, as the segmenter writes them."""
        if not self.adapted:
            return {}
        return {"weights": str(next(self.inputs["adapt_segmenter"].glob("model*")))}

    def _measures(self, item: int) -> Path:
        return self.folder / "photos" / f"{item:05d}.json"

    def _probabilities(self, items: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each photo: probability [P, H, W], zero where unknown, and where it is known."""
        photos = torch.stack([self.scene.photo(item) for item in items])
        images = photos.to(self.device).permute(0, 3, 1, 2).float() / 255
        names = [self.scene.names[item] for item in items]
        if self.building is None:
            answers = self._ask(self.segmenter, images, names, self.concepts, self.sky)
        else:
            found = self._ask(self.finder, images, names, [self.building], None)
            boxes = [building_box((probability * known)[0].numpy()) for probability, known in found]
            answers = [
                self._inside(images[row : row + 1], names[row], box or (0, 0, *images.shape[-2:]))
                for row, box in enumerate(boxes)
            ]
        return [((probability * known).numpy(), known.numpy()) for probability, known in answers]

    def _inside(self, image: Tensor, name: str, box: Box) -> tuple[Tensor, Tensor]:
        """One photo's answer, asked inside the box alone; outside, all is known not to be there."""
        top, left, bottom, right = box
        probability = torch.zeros(len(self.concepts), *image.shape[-2:])
        known = torch.ones_like(probability, dtype=torch.bool)
        inside = (slice(None), slice(top, bottom), slice(left, right))
        crop = image[:, :, top:bottom, left:right]
        probability[inside], known[inside] = self._ask(self.segmenter, crop, [name], self.concepts, self.sky)[0]
        return probability, known

    def _ask(
        self, segmenter: Segmenter, images: Tensor, names: Sequence[str], prompts: Sequence[str], sky: str | None
    ) -> list[tuple[Tensor, Tensor]]:
        """Of each image [B, 3, H, W]: probability [P, H, W] of the prompts, and where it is known."""
        asked = [*prompts, sky] if sky is not None else list(prompts)
        with torch.no_grad():
            logits = segmenter.decode(segmenter.encode(images, names=names), asked)
        answers = [at_size(maps.float().cpu(), *images.shape[-2:]) for maps in logits]
        return [without_sky(*answer) for answer in answers] if sky is not None else answers

    def _undistorted(self, name: str, drawing: np.ndarray) -> np.ndarray:
        """A drawing on the upright original [h, w] in the working frame [H, W], float32."""
        return self.scene.undistort(self.scene.index(name), drawing)

    def _shown(self, item: int) -> list[np.ndarray]:
        photo = self.scene.photo(item).numpy()
        with np.load(self.map_path(item)) as arrays:
            return [photo, *(overlay(photo, probability / 255.0) for probability in arrays["probability"])]

    def _decide(self) -> list[str]:
        if self.given:
            return list(dict.fromkeys(self.given))
        vocabulary = getattr(self.segmenter, "vocabulary", None)
        if vocabulary is not None:
            return vocabulary()
        collection = Collection.read(self.inputs["collect"])
        if collection.concepts:
            return list(collection.concepts)
        labels = frequent_labels(self.inputs["distill"] / "labels.csv", set(self.scene.names), self.min_photos)
        if not labels:
            raise BadInput(
                f"expected something to look for, but no label is carried by {self.min_photos} photos or more, and "
                "the scene names no concepts.\nSay what to look for with: segment.concepts=[portal,window]"
            )
        return labels[: self.max_concepts]


def at_size(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Probabilities [P, height, width] of logits [P, h, w] and where they are known: NaN says unknown.

    A pixel is known when everything that it is interpolated from is.
    """
    probability, known = torch.sigmoid(torch.nan_to_num(logits)), ~torch.isnan(logits)
    if logits.shape[-2:] != (height, width):
        probability = interpolate(probability[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        share = interpolate(known[None].float(), size=(height, width), mode="bilinear", align_corners=False)[0]
        known = share > 1 - 1e-4
    return probability, known


def frequent_labels(path: Path, photos: set[str], min_photos: int) -> list[str]:
    """Labels of at least `min_photos` of `photos`, the most frequent first, ties in alphabetical order."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    pairs = {(i, label) for i, label in zip(table["image_id"], table["label"], strict=True) if label and i in photos}
    counts = Counter(str(label) for _, label in pairs)
    return sorted((label for label, count in counts.items() if count >= min_photos), key=lambda k: (-counts[k], k))
