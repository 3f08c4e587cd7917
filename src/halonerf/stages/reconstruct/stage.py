"""reconstruct: fits a radiance field, with a code for each photo's appearance and without transients.

Output:
    field.safetensors      the fitted field (its options are in manifest.json)
    cameras.npz            all cameras as fitted, where they are refined (see `camera_refinement`)
    metrics.json           psnr, ssim and lpips: means, _train and _heldout (null where undefined), and each photo's
    pictures/<view>.png    photo | rendering | depth | error | transient mask
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.optim import Optimizer

from halonerf.config.option_types import Component, Fraction, NonNegativeInt, PositiveFloat, PositiveInt
from halonerf.data.formats.names import FIELD, METRICS
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import atomic_path, write_json
from halonerf.geometry import sample_image
from halonerf.loading import write_cameras
from halonerf.pipeline.datamodule import WorkData
from halonerf.pipeline.stage import Stage
from halonerf.protocols import Loss, LossContext, TrainableField, TransientMask
from halonerf.stages.reconstruct.camera_refinement import CameraCorrections
from halonerf.stages.reconstruct.image_metrics import (
    mean_metrics,
    open_lpips,
    score_heldout_photo,
    score_training_photo,
)
from halonerf.stages.specs import ReconstructSpec
from halonerf.types import View
from halonerf.visualization.pictures import depth_colours, grid, heat, save_picture, to_uint8

LOG_EVERY = 20  # steps
PICTURED_VIEWS = 4
MAX_START_CODES = 64  # of fitted photos, among which the optimisation of a held-out photo's code starts
MAX_PICTURED_ERROR = 0.5  # mean absolute error in [0, 1] at the end of the colour scale


class Reconstruct(ReconstructSpec, Stage):
    """Fit a field to the photos of the train split, one photo or a part of it per step.

    Args:
        field: config of the field.
        loss: config of the loss (`halonerf.protocols.Loss`).
        transients: config of the mask of transients.
        steps: of the fit, one photo each, rounded up to whole epochs.
        epoch_steps: steps between two checkpoints.
        refine_cameras: whether the cameras of the fitted photos are optimised, too.
        refine_from: share of the fit from which they are optimised.
        refine_rate: Adam's learning rate of the corrections, radians and world units.
        heldout_steps: steps in which a held-out photo's appearance code is optimised on its left half.
        max_scored_photos: fitted photos that are scored at the end, evenly spread; null: all.
    """

    automatic_optimization = False

    def __init__(
        self,
        field: Component,
        loss: Component,
        transients: Component,
        steps: PositiveInt = 2000,
        epoch_steps: PositiveInt = 250,
        refine_cameras: bool = False,
        refine_from: Fraction = 0.1,
        refine_rate: PositiveFloat = 1e-4,
        heldout_steps: NonNegativeInt = 60,
        max_scored_photos: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.field_config, self.loss_config, self.transients_config = field, loss, transients
        self.epoch_steps = min(epoch_steps, steps)
        self.max_epochs = -(-steps // self.epoch_steps)
        self.steps = self.max_epochs * self.epoch_steps
        self.heldout_steps, self.max_scored_photos = heldout_steps, max_scored_photos
        self.refine_cameras, self.refine_from, self.refine_rate = refine_cameras, refine_from, refine_rate
        self._pixels, self._logged_at = 0, time.perf_counter()

    def prepare(self) -> None:
        self.scene = Scene(self.inputs["ingest"])
        self.train_views = self.scene.indices("train")
        if not self.train_views:
            raise BadInput(
                f"expected at least one photo to fit in scene '{self.scene.name}', got none: all are held out"
            )
        names = [self.scene.names[i] for i in self.train_views]
        self.field: TrainableField = build(self.field_config)
        self.field.initialise(*self.scene.points_seen("train"), names, self.seed)
        self.loss: Loss = build(self.loss_config)
        self.transients: TransientMask = build(self.transients_config)
        self.transients.initialise({self.scene.names[i]: self._matched(i) for i in self.train_views}, self.seed)
        if self.refine_cameras:
            self.cameras = CameraCorrections([self.scene.views[i] for i in self.train_views])

    def datamodule(self) -> LightningDataModule:
        return WorkData(self.train_views, epoch_steps=self.epoch_steps, seed=self.seed)

    def configure_optimizers(self) -> list[Optimizer]:
        cameras = torch.optim.Adam(self.cameras.parameters(), lr=self.refine_rate) if self.refine_cameras else None
        return [o for o in (self.field.optimiser(), self.transients.optimiser(), cameras) if o is not None]

    def training_step(self, index: int, batch_index: int) -> None:
        step = self.current_epoch * self.epoch_steps + batch_index
        progress = step / self.steps
        name, whole = self.scene.names[index], self._photo(index)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        view = self.field.training_view(self._camera(index, progress), progress, generator)
        photo, valid = self._sampled(whole, view)
        appearance = self.field.training_appearance(name, whole[..., :3])
        rendering = self.field.render(view, appearance, normals=self.loss.needs_normals)
        weight, penalty = self.transients.pixel_weights(name, view, rendering, photo, valid, step, progress)
        context = LossContext(self.field, view, rendering, photo, weight, *self._points(index, view), progress)
        terms = {**self.loss(context), "transients": penalty}
        loss = torch.stack(list(terms.values())).sum()
        self._optimise(loss, step, name, refining=view.camera_to_world.requires_grad)
        self._pixels += view.width * view.height
        if step % LOG_EVERY == 0:
            self._log(loss, terms, rendering.colour.detach() - photo, valid)

    def pictures(self) -> dict[str, np.ndarray]:
        """photo | rendering | depth | error | transients of a few views, uint8 [H, 5 W, 3], by the view's number."""
        held = self.scene.indices("test")
        chosen = _spread(held, 1) + _spread(self.train_views, PICTURED_VIEWS - 1)
        return {f"{i:05d}": self._picture(i) for i in chosen}

    def finish(self) -> None:
        self.train(False).requires_grad_(False)
        if self.field.encodes:  # its stored code of a photo is that of the last step that showed it
            for i in self.train_views:
                self.field.training_appearance(self.scene.names[i], self._photo(i)[..., :3])
        for name, picture in self.pictures().items():
            (self.folder / "pictures").mkdir(exist_ok=True)
            save_picture(self.folder / "pictures" / f"{name}.png", picture)
        if self.refine_cameras:
            write_cameras(self.folder, [self._camera(i) for i in range(len(self.scene))])
        self.metrics: dict[str, Any] = {"elements": self.field.elements, **self._scores()}
        write_json(self.folder / METRICS, self.metrics)
        with atomic_path(self.folder / FIELD) as temporary:
            self.field.save(temporary)

    def summary(self) -> dict[str, Any]:
        figures = {key: self.metrics[key] for key in ("psnr_train", "psnr_heldout", "ssim_heldout")}
        return {"steps": self.steps, "elements": self.field.elements, **figures}

    def _photo(self, index: int) -> Tensor:
        """A whole photo in [0, 1] and its valid pixels, [H, W, 4]."""
        photo, valid = self.scene.photo(index).float() / 255, self.scene.valid(index).float()
        return torch.cat([photo, valid[..., None]], dim=-1).to(self.device)

    def _sampled(self, whole: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """A whole photo [h, w, 4] at a view's pixels: [H, W, 3] in [0, 1], and where it is valid, bool [H, W]."""
        part = sample_image(whole, view, self.field.antialiased)
        return part[..., :3], part[..., 3] > 0.99

    def _matched(self, index: int) -> Tensor:
        """Positions of the scene's points in a photo, [M, 2] in [0, 1]."""
        view = self.scene.views[index]
        return self.scene.observations(index)[0] / torch.tensor([view.width, view.height])

    def _camera(self, index: int, progress: float = 1.0) -> View:
        """The camera of a photo, with its correction where cameras are refined and the photo is fitted."""
        view = self.scene.views[index].to(self.device)
        if not self.refine_cameras or progress < self.refine_from or self.scene.split[index] != "train":
            return view
        return self.cameras.corrected(view, self.train_views.index(index))

    def _points(self, index: int, view: View) -> tuple[Tensor, Tensor]:
        """The scene's points that a photo sees: pixels of the view [M, 2] and depths [M], world units."""
        left, top, right, bottom = view.bounds
        pixels = self._matched(index) * torch.tensor([right - left, bottom - top]) + torch.tensor([left, top])
        return pixels.float().to(self.device), self.scene.observations(index)[1].float().to(self.device)

    def _optimise(self, loss: Tensor, step: int, name: str, refining: bool) -> None:
        """Take one step of every optimiser; raises BadInput where the loss, a gradient or a result is not finite.

        refining: whether the loss must have a gradient for the cameras.
        """
        if not torch.isfinite(loss):
            raise _not_finite(f"a finite loss, got {loss.item()}", step, name)
        wrapped = self.optimizers()
        optimisers = wrapped if isinstance(wrapped, list) else [wrapped]
        for optimiser in optimisers:
            optimiser.zero_grad()
        self.manual_backward(loss)
        for key, parameter in self.named_parameters():
            if parameter.grad is not None and not torch.isfinite(total := parameter.grad.sum()):
                raise _not_finite(f"finite gradients, got {total.item()} in {key}", step, name)
        if refining and self.cameras.raw.grad is None:
            raise BadInput(
                "expected a field that is differentiable in the camera's pose, got one without a gradient for it.\n"
                "Fit with the cameras of structure from motion: reconstruct.refine_cameras=false"
            )
        for optimiser in optimisers:
            optimiser.step()
        self.field.after_step(step, self.steps, optimisers[0].optimizer)
        for key, parameter in self.named_parameters():
            if not torch.isfinite(parameter.detach().sum()) and (count := int((~parameter.isfinite()).sum())):
                found = f"{count} of {parameter.numel()} numbers of {key}"
                raise _not_finite(f"finite parameters, got NaN or infinity in {found}", step, name)

    def _log(self, loss: Tensor, terms: Mapping[str, Tensor], difference: Tensor, valid: Tensor) -> None:
        error = (difference**2).mean(dim=-1)[valid].mean()
        now = time.perf_counter()
        speed = self._pixels / (now - self._logged_at) / 1e6
        self._pixels, self._logged_at = 0, now
        self.log("loss", loss.detach(), prog_bar=True)
        self.log_dict({f"loss/{name}": value.detach() for name, value in terms.items()})
        self.log("psnr", -10 * error.clamp(min=1e-10).log10(), prog_bar=True)
        self.log("elements", float(self.field.elements), prog_bar=True)
        self.log("mpixel_per_s", speed, prog_bar=True)

    @torch.no_grad()
    def _picture(self, index: int) -> np.ndarray:
        view, name = self._camera(index), self.scene.names[index]
        photo, valid = self._sampled(self._photo(index), view)
        rendering = self.field.render(view, self.field.appearance(name))
        masked = self.transients.mask(name, view, rendering, photo, valid)
        error = _numpy((rendering.colour - photo).abs().mean(dim=-1)) / MAX_PICTURED_ERROR
        depth = depth_colours(_numpy(rendering.depth), _numpy(rendering.opacity))
        cells = [to_uint8(photo), to_uint8(rendering.colour), depth, heat(np.where(_numpy(valid), error, np.nan))]
        return grid([[*cells, to_uint8(masked[..., None].expand(-1, -1, 3))]])

    def _scores(self) -> dict[str, Any]:
        """Mean metrics of fitted and of held-out photos (None where none is defined), and each photo's."""
        lpips = open_lpips()
        photos: dict[str, dict[str, dict[str, float | None]]] = {"train": {}, "heldout": {}}
        count = len(self.train_views) if self.max_scored_photos is None else self.max_scored_photos
        for i in _spread(self.train_views, count):
            name, view = self.scene.names[i], self._camera(i)
            target = self._sampled(self._photo(i), view)
            photos["train"][name] = score_training_photo(self.field, view, *target, self.field.appearance(name), lpips)
        codes = [self.field.appearance(self.scene.names[i]) for i in _spread(self.train_views, MAX_START_CODES)]
        for i in self.scene.indices("test"):
            name, view = self.scene.names[i], self._camera(i)
            target = self._sampled(self._photo(i), view)
            photos["heldout"][name] = score_heldout_photo(self.field, view, *target, codes, self.heldout_steps, lpips)
        means = {f"{key}_{part}": mean for part in photos for key, mean in mean_metrics(photos[part].values()).items()}
        return {**means, **{f"photos_{part}": scores for part, scores in photos.items()}}


def _not_finite(what: str, step: int, name: str) -> BadInput:
    return BadInput(
        f"expected {what} at step {step} on photo '{name}'.\n"
        "Check that photo and its camera in the report of ingest, or lower the learning rate: "
        "field.learning_rates.means=1e-4 and others of gaussians, field.learning_rate=1e-4 of ha_nerf"
    )


def _spread(views: list[int], count: int) -> list[int]:
    """At most `count` of the views, evenly spread."""
    picked = np.linspace(0, len(views) - 1, min(count, len(views))).round().astype(int)
    return [views[k] for k in picked]


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
