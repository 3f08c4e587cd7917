"""What all photos but one say of its view: sums over photos, minus its own, rendered there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.data.scene.scene import Scene
from halonerf.files import atomic_path, write_json
from halonerf.lifting import known_channels, lift_weighted, split_known
from halonerf.protocols import RadianceField
from halonerf.stages.segment.photo_scores import agreement
from halonerf.types import View

LEAST = 0.05  # fully opaque pixels that the others must have said about an element; below, they are silent
ROUNDING = 1e-4  # of an element's sum, what remains after a subtraction in single precision


class LeaveOneOutSums:
    """Sums over photos of what their maps say of each element: support A'w and what was said A'(w p), [E, P] each.

    Whatever the number of photos, it is these two arrays. What the others say of a view is (sum minus the photo's
    own lift) / (support minus its own), rendered: leave-one-out for the price of one lift and one render a photo.

    Attributes:
        photos: how many were added or left out.
    """

    def __init__(self, elements: int, concepts: int) -> None:
        self.said, self.support = torch.zeros(elements, concepts), torch.zeros(elements, concepts)
        self.photos = 0

    def add(self, field: RadianceField, view: View, maps: Tensor, known: Tensor) -> None:
        """A photo's maps [H, W, P], and how far each pixel of them is known, [H, W, P]."""
        said, support = lift_weighted(field, view, maps, known)
        self.said += said
        self.support += support
        self.photos += 1

    def skip(self) -> None:
        """Count a photo that says nothing."""
        self.photos += 1

    @torch.no_grad()
    def others(self, field: RadianceField, view: View, maps: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """What the others say of the view of a photo that was added, [H, W, P], and how far they know, [H, W, P].

        As in `halonerf.heads.lifted`: elements of which they say nothing are left out of a pixel; what passes all
        elements is the background, which is known to show no concept.
        """
        own_said, own_support = lift_weighted(field, view, maps, known)
        support = self.support - own_support
        heard = support > torch.clamp(ROUNDING * self.support, min=LEAST)
        value = torch.where(heard, (self.said - own_said) / support.clamp(min=1e-12), 0.0).clamp(0, 1)
        code = field.mean_appearance()
        rendering = field.render(view.to(code.device), code, known_channels(value, heard).to(code.device))
        maps, confidence = split_known(rendering)
        background = (1 - rendering.opacity[..., None]).clamp(min=0)
        return maps.cpu(), (background + confidence).clamp(0, 1).cpu()

    def save(self, path: Path) -> None:
        """Atomically write the sums."""
        with atomic_path(path) as temporary:
            save_file({"said": self.said, "support": self.support}, temporary, metadata={"photos": str(self.photos)})

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        with safe_open(path, "pt") as file:
            self.said, self.support = file.get_tensor("said"), file.get_tensor("support")
        self.photos = photos_added(path)


def photos_added(path: Path) -> int:
    """How many photos a written consensus holds; 0 where there is none."""
    if not path.is_file():
        return 0
    with safe_open(path, "pt") as file:
        return int(file.metadata()["photos"])


def downsized(view: View, probability: Tensor, known: Tensor, size: int) -> tuple[View, Tensor, Tensor]:
    """A view with its maps at a long side of at most `size` px: view, maps [h, w, P], known [h, w, P] in [0, 1].

    probability, known: [P, H, W], the latter 0 or 1. Averages over the area, of known pixels alone.
    """
    small = view.within(size)
    both = torch.stack([probability * known, known])
    both = interpolate(both, (small.height, small.width), mode="area")
    maps, share = both.permute(0, 2, 3, 1)
    return small, maps / share.clamp(min=1e-6), share


TOGETHER = 16  # photos added between two notes of the sums, 20 MB for 200,000 elements and 12 concepts

ViewMaps = tuple[Tensor, Tensor]  # probability [P, H, W] in [0, 1], and where it is known, float [P, H, W]


class WorkItem(NamedTuple):
    """What is done to some views: "photos" (segmented and measured), "sums" (lifted and added), "agree" (compared)."""

    kind: str
    views: tuple[int, ...]


class AgreementPass:
    """Two passes over the photos: their sums, then each against the sums without its own.

    Args:
        folder: of the stage.
        scene: with the cameras that the field was fitted to.
        maps: a view's maps; None where nothing is known in it.
        concepts: how many.
        size: px, the long side at which maps are compared.
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
        self._consensus: LeaveOneOutSums | None = None

    def items(self) -> list[WorkItem]:
        """All sums come before the first comparison."""
        views = range(len(self.scene))
        groups = [tuple(views[start : start + TOGETHER]) for start in range(0, len(views), TOGETHER)]
        return [WorkItem(kind, group) for kind in ("sums", "agree") for group in groups]

    def done(self, work: WorkItem) -> bool:
        if work.kind == "agree":
            return all(self._path(view).is_file() for view in work.views)
        return photos_added(self._sums) > work.views[-1] or all(self._path(i).is_file() for i in range(len(self.scene)))

    def process(self, work: WorkItem) -> None:
        consensus = self._opened()
        for view in work.views:
            given = self._given(view)
            if work.kind == "sums":
                consensus.add(self.field, *given) if given else consensus.skip()
            elif given is None:
                write_json(self._path(view), [None] * self.concepts)
            else:
                others, far = consensus.others(self.field, *given)
                write_json(self._path(view), agreement(given[1], others, far * given[2], given[2]))
        if work.kind == "sums":
            consensus.save(self._sums)

    def values(self) -> list[list[float | None]]:
        """Of every view, one value a concept. Called when all is done: the sums are of no use any more."""
        self._sums.unlink(missing_ok=True)
        return [json.loads(self._path(view).read_text()) for view in range(len(self.scene))]

    @property
    def _sums(self) -> Path:
        return self.folder / "sums.safetensors"

    def _path(self, view: int) -> Path:
        return self.folder / f"{view:05d}.json"

    def _opened(self) -> LeaveOneOutSums:
        if self._consensus is None:
            self._consensus = LeaveOneOutSums(self.field.elements, self.concepts)
            if self._sums.is_file():
                self._consensus.load(self._sums)
        return self._consensus

    def _given(self, view: int) -> tuple[View, Tensor, Tensor] | None:
        found = self.maps(view)
        return None if found is None else downsized(self.scene.views[view], *found, self.size)
