"""Leave-one-out agreement: each photo's maps compared with a rendering of all other fitted photos' lifted maps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from halonerf.data.scene.scene import Scene
from halonerf.files import atomic_path, write_json
from halonerf.geometry import resize_mean
from halonerf.lifting import known_channels, lift_weighted, split_known
from halonerf.protocols import RadianceField
from halonerf.stages.segment.photo_scores import agreement
from halonerf.types import View

MIN_SUPPORT = 0.05  # fully opaque pixels of the other photos on an element; below, its value is unknown
ROUNDING = 1e-4  # of an element's sum, error of a subtraction in single precision


class LeaveOneOutSums:
    """Sums over photos of their maps lifted to elements: A'(w p) and support A'w, [E, P] each.

    Memory is these two arrays, independent of the number of photos. The other photos' prediction of a view is the
    rendering of (sum minus the photo's own lift) / (support minus its own): leave-one-out by one lift and one rendering
    per photo.

    Attributes:
        photos: number of photos that were added or skipped.
    """

    def __init__(self, elements: int, concepts: int) -> None:
        self.weighted, self.support = torch.zeros(elements, concepts), torch.zeros(elements, concepts)
        self.photos = 0

    def add(self, field: RadianceField, view: View, maps: Tensor, known: Tensor) -> None:
        """Add a photo: maps [H, W, P] in [0, 1], and known fraction of each of their pixels, [H, W, P]."""
        weighted, support = lift_weighted(field, view, maps, known)
        self.weighted += weighted
        self.support += support
        self.photos += 1

    def skip(self) -> None:
        """Count a photo in which nothing is known, or which is held out."""
        self.photos += 1

    @torch.no_grad()
    def others(
        self, field: RadianceField, view: View, maps: Tensor, known: Tensor, added: bool = True
    ) -> tuple[Tensor, Tensor]:
        """The other photos' probability [H, W, P] in a photo's view, and known fraction [H, W, P].

        As in `halonerf.heads.lifted`: unknown elements are left out of a pixel; the background, behind all elements, is
        known to show no concept.

        added: whether the photo is in the sums, from which it is then taken away.
        """
        weighted, support = self.weighted, self.support
        if added:
            own_weighted, own_support = lift_weighted(field, view, maps, known)
            weighted, support = weighted - own_weighted, support - own_support
        seen = support > torch.clamp(ROUNDING * self.support, min=MIN_SUPPORT)
        value = torch.where(seen, weighted / support.clamp(min=1e-12), 0.0).clamp(0, 1)
        code = field.mean_appearance()
        rendering = field.render(view.to(code.device), code, known_channels(value, seen).to(code.device))
        maps, confidence = split_known(rendering)
        background = (1 - rendering.opacity[..., None]).clamp(min=0)
        return maps.cpu(), (background + confidence).clamp(0, 1).cpu()

    def save(self, path: Path) -> None:
        """Atomically write the sums."""
        with atomic_path(path) as temporary:
            tensors = {"weighted": self.weighted, "support": self.support}
            save_file(tensors, temporary, metadata={"photos": str(self.photos)})

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        with safe_open(path, "pt") as file:
            self.weighted, self.support = file.get_tensor("weighted"), file.get_tensor("support")
        self.photos = photos_added(path)


def photos_added(path: Path) -> int:
    """Number of photos in sums that were saved; 0 where there are none."""
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.metadata()["photos"])


def downsized(view: View, probability: Tensor, known: Tensor, size: int) -> tuple[View, Tensor, Tensor]:
    """A view with its maps at a long side of at most `size` px: view, maps [h, w, P], known fraction [h, w, P].

    probability: [P, H, W] in [0, 1]. known: [P, H, W], 0 or 1. Probabilities are area averages of known pixels.
    """
    small = view.within(size)
    both = torch.stack([probability * known, known])
    both = resize_mean(both, small.height, small.width)
    maps, share = both.permute(0, 2, 3, 1)
    return small, maps / share.clamp(min=1e-6), share


GROUP_PHOTOS = 16  # added between two saves of the sums, 20 MB for 200,000 elements and 12 concepts

ViewMaps = tuple[Tensor, Tensor]  # probability [P, H, W] in [0, 1], and where it is known, float [P, H, W] of 0 and 1


class WorkItem(NamedTuple):
    """A step on some views: "photos" (segmented and measured), "sums" (lifted and added), "agree" (compared)."""

    kind: str
    views: tuple[int, ...]


class AgreementPass:
    """Two resumable passes over the photos: the sums of the fitted ones, then each photo's agreement with the others'.

    Held-out photos are compared, too, but are in no sum: they change nothing of the other photos' agreement.

    Args:
        folder: of the stage.
        scene: with the cameras that the field was fitted to, and the split.
        maps: number of a view to its maps; None where nothing is known in it.
        concepts: their number, P.
        size: px, long side at which maps are compared.
    """

    def __init__(
        self,
        folder: Path,
        scene: Scene,
        field: RadianceField,
        maps: Callable[[int], ViewMaps | None],
        concepts: int,
        size: int,
    ) -> None:
        self.folder = folder / "agreement"
        self.folder.mkdir(exist_ok=True)
        self.scene, self.field, self.maps, self.concepts, self.size = scene, field, maps, concepts, size
        self._opened_sums: LeaveOneOutSums | None = None

    def items(self) -> list[WorkItem]:
        """All sums, then all comparisons, in groups of photos."""
        views = range(len(self.scene))
        groups = [tuple(views[start : start + GROUP_PHOTOS]) for start in range(0, len(views), GROUP_PHOTOS)]
        return [WorkItem(kind, group) for kind in ("sums", "agree") for group in groups]

    def done(self, work: WorkItem) -> bool:
        """Whether an item's results are on disk."""
        if work.kind == "agree":
            return all(self._path(view).is_file() for view in work.views)
        return photos_added(self._sums) > work.views[-1] or all(self._path(i).is_file() for i in range(len(self.scene)))

    def process(self, work: WorkItem) -> None:
        """Add the item's photos to the sums, or write their agreement."""
        sums = self._open_sums()
        for view in work.views:
            fitted = self.scene.split[view] == "train"
            downsized_maps = self._downsized(view) if fitted or work.kind == "agree" else None
            if work.kind == "sums":
                sums.add(self.field, *downsized_maps) if downsized_maps else sums.skip()
            elif downsized_maps is None:
                write_json(self._path(view), [None] * self.concepts)
            else:
                others, others_known = sums.others(self.field, *downsized_maps, added=fitted)
                _, probability, known = downsized_maps
                write_json(self._path(view), agreement(probability, others, others_known * known, known))
        if work.kind == "sums":
            sums.save(self._sums)

    def values(self) -> list[list[float | None]]:
        """Agreement of every view, one value per concept; called when all items are done, it deletes the sums."""
        self._sums.unlink(missing_ok=True)
        return [json.loads(self._path(view).read_text()) for view in range(len(self.scene))]

    @property
    def _sums(self) -> Path:
        return self.folder / "sums.safetensors"

    def _path(self, view: int) -> Path:
        return self.folder / f"{view:05d}.json"

    def _open_sums(self) -> LeaveOneOutSums:
        if self._opened_sums is None:
            self._opened_sums = LeaveOneOutSums(self.field.elements, self.concepts)
            if self._sums.is_file():
                self._opened_sums.load(self._sums)
        return self._opened_sums

    def _downsized(self, view: int) -> tuple[View, Tensor, Tensor] | None:
        maps = self.maps(view)
        return None if maps is None else downsized(self.scene.views[view], *maps, self.size)
