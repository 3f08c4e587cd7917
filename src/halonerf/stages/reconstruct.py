"""reconstruct: photos -> a radiance field, in each photo's light and without its passers-by.

Output:
    field.safetensors      the fitted field (its options are in manifest.json)
    metrics.json           psnr and ssim, _train and _heldout (null where none is held out), and every photo's
    pictures/<view>.png    photo | render | depth | what was masked as transient
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning import LightningDataModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer

from halonerf.artifacts import write_json
from halonerf.data.datamodule import WorkData
from halonerf.data.scenes import Scene
from halonerf.errors import BadInput
from halonerf.losses import depth_at_points, photometric, transient_mask
from halonerf.pictures import depth_colours, grid, save_picture
from halonerf.protocols import TrainableField
from halonerf.stages.base import Stage
from halonerf.stages.build import build
from halonerf.stages.heldout import score_view
from halonerf.types import View

LOG_EVERY = 20  # steps
SHOWN = 4  # views in the pictures


class Reconstruct(Stage):
    """Fit a field to the photos of the train split, one whole photo a step.

    Args:
        field: config of the field.
        steps: photos shown, rounded up to whole epochs.
        epoch_steps: steps between two checkpoints.
        ssim_share: of 1 - SSIM in the loss; the rest is L1.
        depth_weight: of the relative depth error at the scene's points; what few photos leave open, they settle.
        coarse_until: share of the fit at half the resolution.
        masked_from: share of the fit from which transients are left out.
        masked_quantile: at most 1 minus this share of a photo is left out.
        masked_floor: mean absolute error in [0, 1] below which nothing is left out.
        heldout_steps: steps in which a held-out photo's light is found on its left half.
    """

    name = "reconstruct"
    needs = ("ingest",)
    learns = True
    automatic_optimization = False

    def __init__(
        self,
        field: Mapping[str, Any],
        steps: int = 2000,
        epoch_steps: int = 250,
        ssim_share: float = 0.2,
        depth_weight: float = 0.1,
        coarse_until: float = 0.4,
        masked_from: float = 0.2,
        masked_quantile: float = 0.88,
        masked_floor: float = 0.12,
        heldout_steps: int = 60,
    ) -> None:
        super().__init__()
        if steps < 1 or epoch_steps < 1:
            raise BadInput(f"expected reconstruct.steps and epoch_steps of at least 1, got {steps} and {epoch_steps}")
        self.automatic_optimization = False
        self.field_config = field
        self.epoch_steps = min(epoch_steps, steps)
        self.max_epochs = -(-steps // self.epoch_steps)
        self.steps = self.max_epochs * self.epoch_steps
        self.ssim_share, self.depth_weight, self.coarse_until = ssim_share, depth_weight, coarse_until
        self.masked_from, self.masked_quantile, self.masked_floor = masked_from, masked_quantile, masked_floor
        self.heldout_steps = heldout_steps
        self._pixels, self._since = 0, time.perf_counter()

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.train_views = self.scene.indices("train")
        if not self.train_views:
            raise BadInput(
                f"expected at least one photo to fit in scene '{self.scene.name}', got none: all are held out"
            )
        self.field: TrainableField = build(self.field_config)
        names = [self.scene.names[i] for i in self.train_views]
        self.field.initialise(self.scene.points, self.scene.colours, names, self.seed)

    def datamodule(self) -> LightningDataModule:
        return WorkData(self.train_views, epoch_steps=self.epoch_steps, seed=self.seed)

    def configure_optimizers(self) -> Optimizer:
        return self.field.optimiser()

    def training_step(self, index: int, batch_index: int) -> None:
        step = self.global_step
        progress = step / self.steps
        view, photo, valid = self._target(index, coarse=progress < self.coarse_until)
        shown = self.field.render(view, self.field.appearance(self.scene.names[index]))
        weight = valid
        if progress >= self.masked_from:
            residual = (shown.colour.detach() - photo).abs().mean(dim=-1)
            weight = valid & ~transient_mask(residual, valid, self.masked_quantile, self.masked_floor)
        loss = photometric(shown.colour, photo, weight.float(), self.ssim_share) + self.field.regularisation()
        if self.depth_weight > 0:
            loss = loss + self.depth_weight * self._depth_loss(index, view, shown.depth, shown.opacity)
        if not torch.isfinite(loss):
            raise BadInput(
                f"expected a finite loss, got {loss.item()} at step {step} on photo '{self.scene.names[index]}'.\n"
                "Look at that photo and its camera in ingest's report, or fit more carefully with: "
                "field.learning_rates.means=1e-4"
            )
        optimiser = self.optimizers()
        assert isinstance(optimiser, LightningOptimizer)
        optimiser.zero_grad()
        self.manual_backward(loss)
        optimiser.step()
        self.field.adapt(step, self.steps, optimiser.optimizer)
        self._pixels += view.width * view.height
        if step % LOG_EVERY == 0:
            self._log(loss, shown.colour, photo, valid)

    def pictures(self) -> dict[str, np.ndarray]:
        """photo | render | depth | transients for a few views, by the photo's place in the scene."""
        held = self.scene.indices("test")
        chosen = _spread(held, 1) + _spread(self.train_views, SHOWN - 1)
        return {f"{i:05d}": self._picture(i) for i in chosen}

    def finish(self) -> None:
        self.train(False).requires_grad_(False)
        for name, picture in self.pictures().items():
            (self.folder / "pictures").mkdir(exist_ok=True)
            save_picture(self.folder / "pictures" / f"{name}.png", picture)
        self.metrics: dict[str, Any] = {
            "elements": self.field.elements,
            **self._scores("train", self.train_views, light_steps=0),
            **self._scores("heldout", self.scene.indices("test"), light_steps=self.heldout_steps),
        }
        write_json(self.folder / "metrics.json", self.metrics)
        partial = self.folder / "field.new"
        self.field.save(partial)
        partial.replace(self.folder / "field.safetensors")

    def summary(self) -> dict[str, Any]:
        figures = {key: self.metrics[key] for key in ("psnr_train", "psnr_heldout", "ssim_heldout")}
        return {"steps": self.steps, "elements": self.field.elements, **figures}

    def _target(self, index: int, coarse: bool) -> tuple[View, Tensor, Tensor]:
        """Camera, photo [H, W, 3] in [0, 1] and valid pixels [H, W]; at half the resolution if `coarse`."""
        view, photo, valid = self.scene.views[index], self.scene.photo(index), self.scene.valid(index)
        photo = photo.to(self.device).float() / 255
        valid = valid.to(self.device)
        if coarse:
            view = view.resized(max(1, view.width // 2), max(1, view.height // 2))
            stack = torch.cat([photo, valid[..., None].float()], dim=-1).permute(2, 0, 1)[None]
            small = F.interpolate(stack, (view.height, view.width), mode="area")[0].permute(1, 2, 0)
            photo, valid = small[..., :3], small[..., 3] > 0.99
        return view.to(self.device), photo, valid

    def _depth_loss(self, index: int, view: View, depth: Tensor, opacity: Tensor) -> Tensor:
        """depth: [H, W], the rendering's mean depth; `depth_at_points` wants it times opacity."""
        pixels, truth, _ = self.scene.observations(index)
        full = self.scene.views[index]
        scale = torch.tensor([view.width / full.width, view.height / full.height])
        pixels = (pixels * scale).to(depth)
        return depth_at_points(depth * opacity, opacity, pixels, truth.to(depth))

    def _log(self, loss: Tensor, colour: Tensor, photo: Tensor, valid: Tensor) -> None:
        error = ((colour.detach() - photo) ** 2).mean(dim=-1)[valid].mean()
        now = time.perf_counter()
        speed = self._pixels / (now - self._since) / 1e6
        self._pixels, self._since = 0, now
        self.log("loss", loss.detach(), prog_bar=True)
        self.log("psnr", -10 * error.clamp(min=1e-10).log10(), prog_bar=True)
        self.log("elements", float(self.field.elements), prog_bar=True)
        self.log("mpixel_per_s", speed, prog_bar=True)

    @torch.no_grad()
    def _picture(self, index: int) -> np.ndarray:
        view, photo, valid = self._target(index, coarse=False)
        shown = self.field.render(view, self.field.appearance(self.scene.names[index]))
        residual = (shown.colour - photo).abs().mean(dim=-1)
        masked = transient_mask(residual, valid, self.masked_quantile, self.masked_floor)
        cells = [_bytes(photo), _bytes(shown.colour), depth_colours(_numpy(shown.depth), _numpy(shown.opacity))]
        return grid([[*cells, _bytes(masked[..., None].float().expand(-1, -1, 3))]])

    def _scores(self, part: str, views: list[int], light_steps: int) -> dict[str, Any]:
        """Mean PSNR and SSIM over the photos that have one (None where none has), and each photo's."""
        photos = {}
        for i in views:
            view, photo, valid = self._target(i, coarse=False)
            code = self.field.appearance(self.scene.names[i])
            photos[self.scene.names[i]] = score_view(self.field, view, photo, valid, code, light_steps)
        means = {}
        for key in ("psnr", "ssim"):
            defined = [value for scores in photos.values() if (value := scores[key]) is not None]
            means[f"{key}_{part}"] = float(np.mean(defined)) if defined else None
        return {**means, f"photos_{part}": photos}


def _spread(views: list[int], count: int) -> list[int]:
    """At most `count` of the views, evenly spread."""
    picked = np.linspace(0, len(views) - 1, min(count, len(views))).round().astype(int)
    return [views[k] for k in picked]


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _bytes(image: Tensor) -> np.ndarray:
    return _numpy((image.clamp(0, 1) * 255).round().byte())
