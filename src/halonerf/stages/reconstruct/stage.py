"""reconstruct: photos -> a radiance field, in each photo's light and without its passers-by.

Output:
    field.safetensors      the fitted field (its options are in manifest.json)
    cameras.npz            the cameras it was fitted to, where they were refined (see `halonerf.stages.reconstruct.camera_refinement`)
    metrics.json           psnr, ssim and lpips, _train and _heldout (null where none is held out), and every photo's
    pictures/<view>.png    photo | render | depth | error | what was masked as transient
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

from halonerf.data.formats.names import FIELD, METRICS
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import atomic_path, write_json
from halonerf.geometry import sample_picture
from halonerf.loading import write_cameras
from halonerf.losses import depth_at_points
from halonerf.pipeline.datamodule import WorkData
from halonerf.pipeline.stage import Stage
from halonerf.protocols import TrainableField, TransientMask
from halonerf.stages.reconstruct.camera_refinement import CameraCorrections
from halonerf.stages.reconstruct.image_metrics import means_of, perceptual, score_heldout_photos, score_training_photos
from halonerf.stages.specs import ReconstructSpec
from halonerf.types import Rendering, View
from halonerf.visualization.pictures import depth_colours, grid, heat, save_picture

LOG_EVERY = 20  # steps
SHOWN = 4  # views in the pictures
LIGHTS = 64  # of fitted photos, among which a held-out one's is looked for first
WORST = 0.5  # mean absolute error in [0, 1] that has the last colour in the pictures


class Reconstruct(ReconstructSpec, Stage):
    """Fit a field to the photos of the train split, one photo, or what the field wants of it, a step.

    Args:
        field: config of the field.
        transients: config of the mask of what passes by.
        steps: photos shown, rounded up to whole epochs.
        epoch_steps: steps between two checkpoints.
        depth_weight: of the relative depth error at the scene's points; what few photos leave open, they settle.
        refine_cameras: correct the fitted photos' cameras, too.
        refine_from: share of the fit from which they are corrected.
        refine_rate: Adam's learning rate of the corrections, radians and world units.
        heldout_steps: steps in which a held-out photo's light is found on its left half.
        max_scored_photos: fitted photos that are scored at the end, evenly spread; null scores all.
    """

    automatic_optimization = False

    def __init__(
        self,
        field: Mapping[str, Any],
        transients: Mapping[str, Any],
        steps: int = 2000,
        epoch_steps: int = 250,
        depth_weight: float = 0.1,
        refine_cameras: bool = False,
        refine_from: float = 0.1,
        refine_rate: float = 1e-4,
        heldout_steps: int = 60,
        max_scored_photos: int | None = None,
    ) -> None:
        super().__init__()
        if steps < 1 or epoch_steps < 1:
            raise BadInput(f"expected reconstruct.steps and epoch_steps of at least 1, got {steps} and {epoch_steps}")
        self.automatic_optimization = False
        self.field_config, self.transients_config = field, transients
        self.epoch_steps = min(epoch_steps, steps)
        self.max_epochs = -(-steps // self.epoch_steps)
        self.steps = self.max_epochs * self.epoch_steps
        self.depth_weight, self.heldout_steps, self.max_scored_photos = depth_weight, heldout_steps, max_scored_photos
        self.refine_cameras, self.refine_from, self.refine_rate = refine_cameras, refine_from, refine_rate
        self._pixels, self._since = 0, time.perf_counter()

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
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        view = self.field.training_view(self._camera(index, progress), progress, chance)
        photo, valid = self._seen(whole, view)
        shown = self.field.render(view, self.field.training_appearance(name, whole[..., :3]))
        weight, penalty = self.transients.pixel_weights(name, view, shown, photo, valid, step, progress)
        loss = self.field.loss(shown, photo, weight) + penalty + self.field.regularisation()
        if self.depth_weight > 0:
            loss = loss + self.depth_weight * self._depth_loss(index, view, shown)
        self._learn(loss, step, name, moving=view.camera_to_world.requires_grad)
        self._pixels += view.width * view.height
        if step % LOG_EVERY == 0:
            self._log(loss, shown.colour.detach() - photo, valid)

    def pictures(self) -> dict[str, np.ndarray]:
        """photo | render | depth | error | transients for a few views, by the photo's place in the scene."""
        held = self.scene.indices("test")
        chosen = _spread(held, 1) + _spread(self.train_views, SHOWN - 1)
        return {f"{i:05d}": self._picture(i) for i in chosen}

    def finish(self) -> None:
        self.train(False).requires_grad_(False)
        if self.field.encodes:  # what it remembers of a photo is as old as the step that last showed it
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

    def _seen(self, whole: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """What a view sees of a whole photo: [H, W, 3] in [0, 1], and the pixels that the photo covers, bool [H, W]."""
        part = sample_picture(whole, view, self.field.antialiased)
        return part[..., :3], part[..., 3] > 0.99

    def _matched(self, index: int) -> Tensor:
        """Where a photo shows the scene's points, [M, 2] in [0, 1]."""
        view = self.scene.views[index]
        return self.scene.observations(index)[0] / torch.tensor([view.width, view.height])

    def _camera(self, index: int, progress: float = 1.0) -> View:
        """The camera of a photo, corrected where it is fitted and that is asked for."""
        view = self.scene.views[index].to(self.device)
        if not self.refine_cameras or progress < self.refine_from or self.scene.split[index] != "train":
            return view
        return self.cameras.corrected(view, self.train_views.index(index))

    def _depth_loss(self, index: int, view: View, shown: Rendering) -> Tensor:
        """`depth_at_points` at what the photo saw; it wants mean depth times opacity."""
        truth = self.scene.observations(index)[1].to(shown.depth)
        left, top, right, bottom = view.bounds
        pixels = self._matched(index) * torch.tensor([right - left, bottom - top]) + torch.tensor([left, top])
        return depth_at_points(shown.depth * shown.opacity, shown.opacity, pixels.to(shown.depth), truth)

    def _learn(self, loss: Tensor, step: int, name: str, moving: bool) -> None:
        """One step of every optimiser down the gradient of `loss`, which and whose gradients must be finite."""
        if not torch.isfinite(loss):
            raise _not_finite(f"a finite loss, got {loss.item()}", step, name)
        given = self.optimizers()
        optimisers = given if isinstance(given, list) else [given]
        for optimiser in optimisers:
            optimiser.zero_grad()
        self.manual_backward(loss)
        for key, parameter in self.named_parameters():
            if parameter.grad is not None and not torch.isfinite(total := parameter.grad.sum()):
                raise _not_finite(f"finite gradients, got {total.item()} in {key}", step, name)
        if moving and self.cameras.raw.grad is None:
            raise BadInput(
                "expected a field whose pictures follow their camera, got one that has no gradient for it.\n"
                "Fit with the cameras as they are: reconstruct.refine_cameras=false"
            )
        for optimiser in optimisers:
            optimiser.step()
        self.field.after_step(step, self.steps, optimisers[0].optimizer)

    def _log(self, loss: Tensor, difference: Tensor, valid: Tensor) -> None:
        error = (difference**2).mean(dim=-1)[valid].mean()
        now = time.perf_counter()
        speed = self._pixels / (now - self._since) / 1e6
        self._pixels, self._since = 0, now
        self.log("loss", loss.detach(), prog_bar=True)
        self.log("psnr", -10 * error.clamp(min=1e-10).log10(), prog_bar=True)
        self.log("elements", float(self.field.elements), prog_bar=True)
        self.log("mpixel_per_s", speed, prog_bar=True)

    @torch.no_grad()
    def _picture(self, index: int) -> np.ndarray:
        view, name = self._camera(index), self.scene.names[index]
        photo, valid = self._seen(self._photo(index), view)
        shown = self.field.render(view, self.field.appearance(name))
        masked = self.transients.mask(name, view, shown, photo, valid)
        error = np.where(_numpy(valid), _numpy((shown.colour - photo).abs().mean(dim=-1)) / WORST, np.nan)
        cells = [_bytes(photo), _bytes(shown.colour), depth_colours(_numpy(shown.depth), _numpy(shown.opacity))]
        return grid([[*cells, heat(error), _bytes(masked[..., None].expand(-1, -1, 3))]])

    def _scores(self) -> dict[str, Any]:
        """Mean figures of fitted and of held-out photos (None where none has one), and each photo's."""
        measure = perceptual()
        photos: dict[str, dict[str, dict[str, float | None]]] = {"train": {}, "heldout": {}}
        for i in _spread(
            self.train_views, len(self.train_views) if self.max_scored_photos is None else self.max_scored_photos
        ):
            name, view = self.scene.names[i], self._camera(i)
            seen = self._seen(self._photo(i), view)
            photos["train"][name] = score_training_photos(self.field, view, *seen, self.field.appearance(name), measure)
        lights = [self.field.appearance(self.scene.names[i]) for i in _spread(self.train_views, LIGHTS)]
        for i in self.scene.indices("test"):
            name, view = self.scene.names[i], self._camera(i)
            seen = self._seen(self._photo(i), view)
            photos["heldout"][name] = score_heldout_photos(self.field, view, *seen, lights, self.heldout_steps, measure)
        means = {f"{key}_{part}": mean for part in photos for key, mean in means_of(photos[part].values()).items()}
        return {**means, **{f"photos_{part}": scores for part, scores in photos.items()}}


def _not_finite(what: str, step: int, name: str) -> BadInput:
    return BadInput(
        f"expected {what} at step {step} on photo '{name}'.\n"
        "Look at that photo and its camera in ingest's report, or fit more carefully with: "
        "field.learning_rates.means=1e-4"
    )


def _spread(views: list[int], count: int) -> list[int]:
    """At most `count` of the views, evenly spread."""
    picked = np.linspace(0, len(views) - 1, min(count, len(views))).round().astype(int)
    return [views[k] for k in picked]


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _bytes(image: Tensor) -> np.ndarray:
    return _numpy((image.clamp(0, 1) * 255).round().byte())
