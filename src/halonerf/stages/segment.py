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
from halonerf.stages.base import Stage
from halonerf.stages.build import build
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
    ) -> None:
        super().__init__()
        self.segmenter_config, self.given = segmenter, concepts
        self.min_photos, self.max_concepts, self.photos = min_photos, max_concepts, photos

    def prepare(self) -> None:
        """Build the segmenter and decide the concepts."""
        self.scene = Scene(self.inputs["ingest"])
        self.segmenter = build(self.segmenter_config)
        if hasattr(self.segmenter, "place"):
            self.segmenter.place(self._undistorted)
        self.concepts = self._decide()
        write_json(self.folder / "concepts.json", self.concepts)
        for part in ("maps", "photos"):
            (self.folder / part).mkdir(exist_ok=True)

    def items(self) -> Sequence[int]:
        """Indices of the views."""
        return range(len(self.scene))

    def done(self, item: int) -> bool:
        return self._measures(item).is_file()

    def predict_step(self, item: int, index: int) -> None:
        """Write one photo's map, then its measures: the measures say that both are there."""
        probability, known = self._probability(item)
        if known.any():
            arrays: dict[str, Any] = {"probability": np.round(probability * 255).astype(np.uint8)}
            if not known.all():
                arrays["known"] = known
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            write_atomic(self.map_path(item), buffer.getvalue())
        pixels, _, _ = self.scene.observations(item)
        measures = photo_measures(
            self.scene.photo(item).numpy(), self.scene.valid(item).numpy(), pixels.numpy().reshape(-1, 2)
        )
        write_json(self._measures(item), {"mapped": bool(known.any()), **measures})

    def finish(self) -> None:
        """Choose the photos and draw some."""
        entries = [json.loads(self._measures(item).read_text()) for item in self.items()]
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

    def _measures(self, item: int) -> Path:
        return self.folder / "photos" / f"{item:05d}.json"

    def _probability(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Probability [P, H, W], zero where unknown, and where it is known."""
        photo = self.scene.photo(item)
        images = photo.to(self.device).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            encoded = self.segmenter.encode(images, names=[self.scene.names[item]])
            logits = self.segmenter.decode(encoded, self.concepts)
        probability, known = at_size(logits[0].float().cpu(), *photo.shape[:2])
        known &= self.scene.valid(item)
        return (probability * known).cpu().numpy(), known.cpu().numpy()

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
