"""Finished folders of a tiny scene up to `index`: photos of noise, Gaussians, a segmenter that knows colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.files import write_csv
from helpers.made_folders import write_ingest

CHANNELS = {"red": 0, "green": 1, "blue": 2}
FIELD: dict[str, Any] = {"_target_": "halonerf.fields.Gaussians"}
HEAD: dict[str, Any] = {"_target_": "halonerf.heads.Lifted"}


class Colours(torch.nn.Module):
    """Sees a colour where its channel is bright, at half the resolution; knows no other word. Counts its photos."""

    encoded: ClassVar[int] = 0
    shared_keys: ClassVar[tuple[str, ...]] = ()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        Colours.encoded += len(images)
        return {"pixels": torch.nn.functional.avg_pool2d(images, 2)}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        pixels = encoded["pixels"]
        unknown = torch.full_like(pixels[:, 0], torch.nan)
        maps = [pixels[:, CHANNELS[p]] if p in CHANNELS else unknown for p in prompts]
        return torch.logit(torch.stack(maps, dim=1), eps=1e-4)


SEGMENTER: dict[str, Any] = {"_target_": f"{__name__}.Colours"}


def made_field(points: int = 60, photos: Sequence[str] = ("a.jpg",), codes: str = "embedding") -> Gaussians:
    """Opaque Gaussians in two balls, left and right of the origin, fitted to photos of those names."""
    random = torch.Generator().manual_seed(0)
    places = 0.1 * torch.randn(points, 3, generator=random)
    places[: points // 2, 0] -= 0.5
    places[points // 2 :, 0] += 0.5
    field = Gaussians(codes=codes)
    field.initialise(places, torch.rand(points, 3, generator=random), list(photos), seed=0)
    with torch.no_grad():
        field.opacity_logits.fill_(2.0)
    return field.eval()


def write_query_folders(root: Path, photos: int = 5, untrusted: int = 1) -> dict[str, Path]:
    """Finished ingest, reconstruct and segment folders; the last `untrusted` photos were not chosen."""
    names = write_ingest(root / "ingest", photos)
    (root / "reconstruct").mkdir()
    made_field().save(root / "reconstruct" / "field.safetensors")
    (root / "segment").mkdir()
    rows = [
        {"photo": n, "score": f"{0.9 - 0.1 * i:.4f}", "chosen": str(i < photos - untrusted).lower(), "reason": ""}
        for i, n in enumerate(names)
    ]
    write_csv(root / "segment" / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
    return {stage: root / stage for stage in ("ingest", "reconstruct", "segment")}


def bilinear(scene: Scene, view: int, channel: int) -> Tensor:
    """What `Colours` says of a photo, at the photo's size [H, W]."""
    image = scene.photo(view).permute(2, 0, 1)[None].float() / 255
    small = torch.nn.functional.avg_pool2d(image, 2)[:, channel : channel + 1].clamp(1e-4, 1 - 1e-4)
    size = image.shape[-2:]
    return torch.nn.functional.interpolate(small, size=size, mode="bilinear", align_corners=False)[0, 0]


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Uniform in [0, 1]."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape, dtype=np.float32))
