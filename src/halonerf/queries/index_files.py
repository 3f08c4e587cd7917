"""Reading a finished index: each photo's encoding by the segmenter, and the table that lifts its maps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.sparse import csc_array, csr_array
from torch import Tensor

from halonerf.data.formats.names import INDEXED_PHOTOS, view_file
from halonerf.protocols import PlacedField, RadianceField
from halonerf.types import Rendering, View


@dataclass(frozen=True)
class IndexedView(View):
    """A photo's camera at the size of its coarse map, with the table that lifts such maps."""

    table: csc_array | None = field(default=None, compare=False, repr=False)  # B, [E, height * width], px


@dataclass(frozen=True)
class IndexedPhoto:
    """An indexed photo. view: its index in the scene. encoding: batch of one, floats in half precision."""

    view: int
    encoding: dict[str, Tensor]
    camera: IndexedView

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of its coarse map."""
        return self.camera.height, self.camera.width


class IndexedField:
    """A field that lifts maps of indexed views with their tables; everything else is delegated to the field.

    Lifting equals that of maps interpolated bilinearly to the resolution of the index, up to the half precision of the
    tables.
    """

    def __init__(self, inner: RadianceField) -> None:
        self.inner = inner

    @property
    def elements(self) -> int:
        return self.inner.elements

    def mean_appearance(self) -> Tensor:
        return self.inner.mean_appearance()

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        """See `halonerf.protocols.RadianceField`."""
        return self.inner.render(view, appearance, channels, normals)

    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.RadianceField`; weights in px of the photo at its working size."""
        table = view.table if isinstance(view, IndexedView) else None
        if table is None or table.shape[1] != view.height * view.width:
            return self.inner.lift(view, maps, weight)
        weighted = torch.cat([maps * weight[..., None], weight[..., None]], dim=-1).flatten(0, 1)
        sums = torch.from_numpy(table @ weighted.cpu().float().numpy())
        return sums[:, :-1], sums[:, -1]


class PlacedIndexedField(IndexedField):
    """An `IndexedField` of a field whose elements have centres."""

    inner: PlacedField

    def element_centres(self) -> Tensor:
        """See `halonerf.protocols.PlacedField`."""
        return self.inner.element_centres()


def indexed_field(inner: RadianceField) -> IndexedField:
    """Wrap `inner` such that it lifts with tables; a `PlacedField` stays one."""
    return PlacedIndexedField(inner) if isinstance(inner, PlacedField) else IndexedField(inner)


def open_photos(folder: Path, views: Sequence[View], elements: int) -> list[IndexedPhoto]:
    """Read the photos of a finished index. views: of the scene. elements: their number in the field."""
    with open(folder / INDEXED_PHOTOS, newline="", encoding="utf-8") as stream:
        indexed = [int(row["view"]) for row in csv.DictReader(stream)]
    return [_open_photo(folder, view, views[view], elements) for view in indexed]


def _open_photo(folder: Path, number: int, view: View, elements: int) -> IndexedPhoto:
    tensors = load_file(view_file(folder / "photos", number, ".safetensors"))
    height, width = tensors["grid"].tolist()
    table = csr_array(
        (
            tensors["shares.value"].float().numpy(),
            tensors["shares.element"].numpy(),
            tensors["shares.start"].numpy().astype(np.int32),
        ),
        shape=(height * width, elements),
    )
    coarse = view.resized(height=height, width=width)
    camera = IndexedView(**{f.name: getattr(coarse, f.name) for f in fields(View)}, table=table.T)
    encoding = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("encoding.")}
    return IndexedPhoto(number, encoding, camera)


def read_visibility(folder: Path) -> tuple[list[int], Tensor]:
    """The views that `segment` trusts, and each element's share of each view's pixels, [V, E], half precision."""
    paths = sorted((folder / "seen").glob("*.safetensors"))
    return [int(path.stem) for path in paths], torch.stack([load_file(path)["share"] for path in paths])
