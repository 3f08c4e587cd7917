"""A radiance field of 3D Gaussians, started from the points of structure from motion, in any photo's light."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.errors import BadInput
from halonerf.fields.field_file import read_field, write_field
from halonerf.fields.gaussians.appearance import AppearanceCodes, AppearanceModel
from halonerf.fields.gaussians.strategies.base import DensificationLimits, DensificationStrategy, GaussianRows
from halonerf.fields.gaussians.strategies.budget import BudgetStrategy
from halonerf.fields.gaussians.strategies.mcmc import McmcStrategy
from halonerf.fields.gaussians.strategies.threshold import ThresholdStrategy
from halonerf.fields.ha_nerf.network import frequencies
from halonerf.losses import photometric
from halonerf.rotations import matrices
from halonerf.splatting.constants import ALPHA_MIN, BLUR, NEAR, slope_limits
from halonerf.splatting.rasterise import lift, rasterise
from halonerf.types import Rendering, Splats, View

ROWS = ("means", "log_scales", "rotations", "opacity_logits", "colour_logits", "features", "harmonics")
STATISTICS = ("grad_norm", "seen")


class GaussianTable(nn.Module):
    """Parameters by name in `ROWS`, and the fit's running statistics.

    Args:
        feature_size: F, numbers in a Gaussian's feature.
        harmonics: K, spherical harmonics above the constant one.
    """

    means: Tensor  # [N, 3], world units
    log_scales: Tensor  # [N, 3], of the three standard deviations in world units
    rotations: Tensor  # [N, 4], wxyz
    opacity_logits: Tensor  # [N]
    colour_logits: Tensor  # [N, 3]
    features: Tensor  # [N, F]
    harmonics: Tensor  # [N, 3 K]
    grad_norm: Tensor  # [N], sum since the last growth of how hard each step pulled at the centre
    seen: Tensor  # [N], the steps that did

    def __init__(self, feature_size: int, harmonics: int) -> None:
        super().__init__()
        self._widths = {
            "means": 3, "log_scales": 3, "rotations": 4, "colour_logits": 3, "features": feature_size,
            "harmonics": 3 * harmonics,
        }  # fmt: skip
        self.resize(0)

    @property
    def elements(self) -> int:
        """Number of Gaussians, N."""
        return len(self.means)

    def resize(self, elements: int) -> None:
        """Give every tensor its size; values are zero."""
        for name in ROWS:
            shape = (elements, self._widths[name]) if name in self._widths else (elements,)
            setattr(self, name, nn.Parameter(torch.zeros(shape)))
        for name in STATISTICS:
            self.register_buffer(name, torch.zeros(elements))

    def shapes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means [N, 3], scales [N, 3], rotations [N, 4] and opacities [N], as the rasteriser takes them."""
        return self.means, self.log_scales.exp(), self.rotations, torch.sigmoid(self.opacity_logits)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The number of Gaussians is whatever the file says."""
        if f"{prefix}means" in state_dict:
            self.resize(len(state_dict[f"{prefix}means"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


DENSIFICATIONS = ("budget", "threshold", "mcmc")
LEARNING_RATES = {
    "means": 8e-4,
    "log_scales": 1e-2,
    "rotations": 2e-3,
    "opacity_logits": 5e-2,
    "colour_logits": 1e-2,
    "features": 1e-2,
    "harmonics": 5e-4,
    "networks": 2e-3,
    "codes": 1e-2,
    "encoder": 5e-4,
}


class Gaussians(GaussianTable):
    """An element is a Gaussian: centre, three axes, opacity, colour, and a feature that says how light changes it.

    Args:
        budget: Gaussians at most.
        codes: where a photo's appearance code comes from: "embedding" (learnt one by one) or "encoder" (read from the
            photo by a CNN, so that photos never seen have one, too).
        code_size: numbers in a code.
        tint: how light changes colours: "network", "affine" or "none"; see `halonerf.fields.gaussians.appearance`.
        feature_size: numbers in a Gaussian's feature.
        width: hidden units of the light's networks.
        sh_degree: of the spherical harmonics that let a colour change with the direction of sight, 0 to 3.
        grow_from, grow_until: shares of the fit between which Gaussians are added.
        grow_every: steps between two additions.
        densification: how Gaussians come and go: "budget" (to the budget by a schedule, where centres are pulled hardest),
            "threshold" (Kerbl et al. 2023) or "mcmc" (Kheradmand et al. 2024); see `gaussians_growth_*.py`.
        min_grad: of pull: pull of a centre (loss per image half-width) below which nothing is added.
        grad_threshold: of threshold: pull above which a Gaussian is split or doubled.
        reset_every: of threshold: share of the fit between two resets of all opacities; 0: none.
        noise: of mcmc: how far faint Gaussians wander, in units of the means' learning rate times their covariance.
        split_size: world units; a Gaussian larger than this is split, a smaller one doubled.
        max_scale: world units; no axis grows longer.
        prune_opacity: a Gaussian below it is removed.
        opacity_weight: weight of the mean opacity in the loss: what need not be there fades.
        scale_weight: weight of the mean scale in the loss: what need not be large shrinks.
        coarse_until: share of the fit at half the resolution.
        final_lr_fraction: share of their learning rates that all but the means keep at the end; they fall from `grow_until` on.
        ssim_share: of 1 - SSIM in the loss; the rest is L1.
        learning_rates: Adam's, for means (decaying to 2 %), scales, rotations, opacities, colours, features,
            harmonics, networks, codes and encoder.
    """

    antialiased = True

    def __init__(
        self,
        budget: int = 40000,
        codes: str = "embedding",
        code_size: int = 16,
        tint: str = "network",
        feature_size: int = 12,
        width: int = 32,
        sh_degree: int = 0,
        grow_from: float = 0.08,
        grow_until: float = 0.6,
        grow_every: int = 100,
        min_grad: float = 5e-5,
        split_size: float = 0.02,
        max_scale: float = 0.5,
        prune_opacity: float = 0.01,
        densification: str = "budget",
        grad_threshold: float = 2e-4,
        reset_every: float = 0.1,
        noise: float = 1e5,
        opacity_weight: float = 1e-3,
        scale_weight: float = 3e-2,
        coarse_until: float = 0.1,
        final_lr_fraction: float = 0.3,
        ssim_share: float = 0.2,
        learning_rates: Mapping[str, float] = LEARNING_RATES,
    ) -> None:
        if not 0 <= sh_degree <= DEGREES:
            raise BadInput(f"expected field.sh_degree between 0 and {DEGREES}, got {sh_degree}")
        super().__init__(feature_size, (sh_degree + 1) ** 2 - 1)
        self.budget, self.feature_size, self.sh_degree = budget, feature_size, sh_degree
        self.grow_from, self.grow_until, self.grow_every = grow_from, grow_until, grow_every
        self.min_grad, self.split_size, self.max_scale, self.prune_opacity = (
            min_grad, split_size, max_scale, prune_opacity,
        )  # fmt: skip
        if densification not in DENSIFICATIONS:
            raise BadInput(f"expected field.densification among {', '.join(DENSIFICATIONS)}, got '{densification}'")
        self.densification, self.grad_threshold, self.reset_every, self.noise = (
            densification,
            grad_threshold,
            reset_every,
            noise,
        )
        self.opacity_weight, self.scale_weight = opacity_weight, scale_weight
        self.coarse_until, self.final_lr_fraction, self.ssim_share = coarse_until, final_lr_fraction, ssim_share
        self.rates = {**LEARNING_RATES, **learning_rates}
        if unknown := set(self.rates) - set(LEARNING_RATES):
            raise BadInput(
                f"expected field.learning_rates for {', '.join(LEARNING_RATES)}, got {', '.join(sorted(unknown))}"
            )
        self.light = AppearanceModel(code_size, feature_size, width, tint)
        self.codes = AppearanceCodes(codes, code_size)
        self.first, self.seed = 0, 0
        self._offsets: Tensor | None = None  # px, zeros whose gradient says where the last picture pulled
        self._half = 1.0  # px, half the longer side of that picture

    @property
    def encodes(self) -> bool:
        """Whether codes are read from photos."""
        return self.codes.encodes

    def initialise(self, points: Tensor, colours: Tensor, names: Sequence[str], seed: int) -> None:
        """One Gaussian a point, as large as the mean distance to its three neighbours; one neutral code a photo.

        points: [N, 3], world units. colours: [N, 3] in [0, 1]. names: the photos that will be seen.

        Raises: BadInput for fewer than four points.
        """
        if len(points) < 4:
            raise BadInput(
                f"expected at least 4 scene points to start a field from, got {len(points)}.\n"
                "The photos were hardly registered: look at ingest's report, and add photos that overlap."
            )
        self.resize(len(points))
        self.first, self.seed = len(points), seed
        generator = torch.Generator().manual_seed(seed)
        distances = torch.from_numpy(cKDTree(points.numpy()).query(points.numpy(), k=4)[0][:, 1:]).float()
        size = distances.mean(dim=1).clamp(1e-4, self.max_scale)
        with torch.no_grad():
            self.means.copy_(points)
            self.log_scales.copy_(size.log()[:, None].expand(-1, 3))
            self.rotations.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
            self.opacity_logits.fill_(-2.0)
            self.colour_logits.copy_(torch.logit(colours.clamp(0.02, 0.98)))
            self.harmonics.zero_()
            self.features.copy_(0.1 * torch.randn(self.features.shape, generator=generator))
            for name, parameter in self.light.named_parameters():
                if "to_affine" not in name:
                    bound = 1 / math.sqrt(parameter.shape[-1])
                    parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
        self.codes.initialise(names, generator)

    def training_view(self, view: View, progress: float, generator: torch.Generator) -> View:
        """The whole photo, at first at half the resolution."""
        half = (max(1, view.width // 2), max(1, view.height // 2))
        return view.resized(*half) if progress < self.coarse_until else view

    def appearance(self, name: str) -> Tensor:
        """The code [A] of a photo seen in the fit; for any other, the mean."""
        return self.codes.of(name)

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of any photo [H, W, 3] in [0, 1]; raises BadInput unless `encodes`."""
        return self.codes.encode(photo)

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo that is being fitted."""
        return self.codes.training_appearance(name, photo)

    def mean_appearance(self) -> Tensor:
        """The mean code, [A]: neutral light."""
        return self.codes.mean()

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        """See `halonerf.protocols.RadianceField`. Differentiable in everything, the view's pose too."""
        logits = self.colour_logits
        if self.sh_degree:
            logits = logits + view_dependent_colours(self.means, self.harmonics, view.centre, self.sh_degree)
        parts = [self.light.tint(logits, self.features, appearance)]
        if channels is not None:
            parts.append(channels.to(parts[0]))
        if normals:
            parts.append(facing_normals(self.means, self.log_scales, self.rotations, view.centre))
        learning = self.training and torch.is_grad_enabled()
        self._offsets = (
            torch.zeros(self.elements, 2, device=self.means.device, requires_grad=True) if learning else None
        )
        left, top, right, bottom = view.bounds
        self._half = 0.5 * max(right - left, bottom - top)
        raster = rasterise(*self.shapes(), torch.cat(parts, dim=1), view, self._offsets)
        colour, *others = raster.features.split([part.shape[1] for part in parts], dim=-1)
        shown = colour + (1 - raster.opacity[..., None]) * self.light.background(view, appearance)
        depth = raster.depth / raster.opacity.clamp(min=1e-6)
        return Rendering(
            shown,
            depth,
            raster.opacity,
            channels=None if channels is None else others[0],
            normals=others[-1] if normals else None,
        )

    @torch.no_grad()
    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.RadianceField`: maps [H, W, P], weight [H, W]."""
        given = torch.cat([maps * weight[..., None], weight[..., None]], dim=-1)
        sums = lift(*self.shapes(), given, view)
        return sums[:, :-1], sums[:, -1]

    def element_centres(self) -> Tensor:
        """See `halonerf.protocols.PlacedField`."""
        return self.means.detach()

    @torch.no_grad()
    def splats(self) -> Splats:
        """See `halonerf.protocols.SplatField`."""
        means, scales, rotations, opacities = self.shapes()
        return Splats(means.detach(), scales, F.normalize(rotations, dim=1), opacities, torch.arange(self.elements))

    @torch.no_grad()
    def splat_colours(self, appearance: Tensor) -> Tensor:
        """See `halonerf.protocols.SplatField`; without the harmonics, which need a direction."""
        return self.light.tint(self.colour_logits, self.features, appearance)

    @property
    def feature_width(self) -> int:
        """See `halonerf.protocols.FeatureField`."""
        return feature_width(self.feature_size)

    @torch.no_grad()
    def element_features(self) -> Tensor:
        """See `halonerf.protocols.FeatureField` and `halonerf.fields.gaussians.field`."""
        return element_features(self.means, self.features, self.colour_logits)

    def shade(self, view: View, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.FeatureField`: `function` is asked once a Gaussian that the view may show."""
        means, scales, rotations, opacities = (tensor.detach() for tensor in self.shapes())
        shown = composite_features(means, scales, view)
        with torch.no_grad():
            features = element_features(means[shown], self.features[shown], self.colour_logits[shown])
        raster = rasterise(means[shown], scales[shown], rotations[shown], opacities[shown], function(features), view)
        return raster.features, raster.opacity.detach()

    def optimiser(self) -> Optimizer:
        """Adam with a learning rate for each kind of parameter; `after_step` lets it follow the changing field."""
        networks = list(self.light.parameters())
        groups: list[dict[str, Any]] = [
            {"name": name, "params": [getattr(self, name)], "lr": self.rates[name]} for name in ROWS
        ]
        groups.append({"name": "networks", "params": networks, "lr": self.rates["networks"]})
        if self.codes.encoder is None:
            groups.append({"name": "codes", "params": [self.codes.table], "lr": self.rates["codes"]})
        else:
            groups.append(
                {"name": "encoder", "params": list(self.codes.encoder.parameters()), "lr": self.rates["encoder"]}
            )
        return torch.optim.Adam(groups, eps=1e-15, fused=True)

    def loss(self, shown: Rendering, photo: Tensor, weight: Tensor) -> Tensor:
        """L1 and 1 - SSIM: see `halonerf.losses.photometric`."""
        return photometric(shown.colour, photo, weight, self.ssim_share)

    def regularisation(self) -> Tensor:
        """What the loss should hold against the field's own shape."""
        opacity = torch.sigmoid(self.opacity_logits).mean()
        return self.opacity_weight * opacity + self.scale_weight * self.log_scales.exp().mean()

    @torch.no_grad()
    def after_step(self, step: int, steps: int, optimiser: Optimizer) -> None:
        """After each of `steps` optimiser steps: note where centres are pulled, grow, prune, slow down.

        Chance depends on the seed and the step alone.
        """
        progress = (step + 1) / steps
        settled = max(0.0, progress - self.grow_until) / max(1 - self.grow_until, 1e-6)
        for group in optimiser.param_groups:
            rate = self.rates[group["name"]]
            group["lr"] = rate * (0.02**progress if group["name"] == "means" else self.final_lr_fraction**settled)
        if self._offsets is not None and self._offsets.grad is not None:
            strength = self._offsets.grad.norm(dim=1) * self._half
            self.grad_norm += strength
            self.seen += strength > 0
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        self._strategy()(GaussianRows(self, ROWS, STATISTICS, optimiser), step, progress, chance)

    def _strategy(self) -> DensificationStrategy:
        limits = DensificationLimits(
            self.budget, self.grow_from, self.grow_until, self.grow_every, self.split_size, self.max_scale,
            self.prune_opacity,
        )  # fmt: skip
        if self.densification == "threshold":
            return ThresholdStrategy(limits, self.grad_threshold, self.reset_every)
        if self.densification == "mcmc":
            return McmcStrategy(limits, self.noise)
        return BudgetStrategy(limits, self.first, self.min_grad)

    def save(self, path: Path) -> None:
        """Write everything that rendering needs, as safetensors; photos' names and sizes go in its header."""
        kept = {name: value for name, value in self.state_dict().items() if name not in STATISTICS}
        write_field(path, "gaussians", kept, self.codes.names)

    def load(self, path: Path) -> None:
        """Read what `save` wrote.

        Raises: BadInput where the file is of another kind of field, or of other sizes.
        """
        tensors, names = read_field(path, "gaussians")
        tensors |= {name: torch.zeros(len(tensors["means"])) for name in STATISTICS}
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            raise BadInput(
                f"expected a field with code_size={self.codes.size}, feature_size={self.feature_size} in {path}, got "
                f"others ({error}).\nPass the options it was fitted with: field.code_size=… field.feature_size=… "
                "field.codes=… field.tint=… field.sh_degree=…"
            ) from error
        self.codes.names = names


OCTAVES = 7  # of the place: waves from 6 down to 0.1 world units long, a few of the Gaussians that a wall is made of


def feature_width(feature_size: int) -> int:
    """Numbers in `element_features`, where a Gaussian's learnt feature has `feature_size`."""
    return 3 * (1 + 2 * OCTAVES) + feature_size + 3


def element_features(means: Tensor, features: Tensor, colour_logits: Tensor) -> Tensor:
    """Means [N, 3], world units, encoded in octaves; learnt features [N, F]; colours in neutral light: side by side."""
    return torch.cat([frequencies(means, OCTAVES), features, torch.sigmoid(colour_logits)], dim=1)


@torch.no_grad()
def composite_features(means: Tensor, scales: Tensor, view: View) -> Tensor:
    """Indices, increasing, of Gaussians that may be drawn in a view: all that are, and few others.

    A Gaussian ends where it is fainter than an eighth bit shows, r = sqrt(2 ln 255) standard deviations away at
    most; on the picture, one is no longer than the largest of `scales` times the norm of the projection's Jacobian.

    means: [N, 3], scales: [N, 3], world units.
    """
    pose = view.world_to_camera.to(means)
    x, y, z = (means @ pose[:, :3].T + pose[:, 3]).unbind(dim=1)
    ahead = z > NEAR
    z = torch.where(ahead, z, torch.ones_like(z))
    left, right, top, bottom = slope_limits(view)
    slopes = (x / z).clamp(left, right) ** 2 + (y / z).clamp(top, bottom) ** 2
    long = max(view.fx, view.fy) / z * scales.amax(dim=1)
    reach = math.sqrt(-2 * math.log(ALPHA_MIN)) * torch.sqrt(long**2 * (1 + slopes) + BLUR) + 1
    u, v = view.fx * x / z + view.cx, view.fy * y / z + view.cy
    near = (u > -reach) & (u < view.width + reach) & (v > -reach) & (v < view.height + reach)
    return (ahead & near).nonzero()[:, 0]


DEGREES = 3


def harmonics_basis(directions: Tensor, degree: int) -> Tensor:
    """Values of the (degree + 1)^2 - 1 harmonics above the constant one at unit directions [N, 3]: [N, K].

    Orthonormal on the sphere (Ramamoorthi and Hanrahan 2001, eq. 2, continued to degree 3).
    """
    x, y, z = directions.unbind(dim=-1)
    values: list[Tensor] = []
    if degree >= 1:
        values += [0.48860251 * y, 0.48860251 * z, 0.48860251 * x]
    if degree >= 2:
        values += [
            1.09254843 * x * y, 1.09254843 * y * z, 0.31539157 * (3 * z * z - 1), 1.09254843 * x * z,
            0.54627421 * (x * x - y * y),
        ]  # fmt: skip
    if degree >= 3:
        values += [
            0.59004359 * y * (3 * x * x - y * y), 2.89061144 * x * y * z, 0.45704580 * y * (5 * z * z - 1),
            0.37317633 * z * (5 * z * z - 3), 0.45704580 * x * (5 * z * z - 1), 1.44530572 * z * (x * x - y * y),
            0.59004359 * x * (x * x - 3 * y * y),
        ]  # fmt: skip
    return torch.stack(values, dim=-1) if values else directions.new_zeros(len(directions), 0)


def view_dependent_colours(means: Tensor, weights: Tensor, centre: Tensor, degree: int) -> Tensor:
    """What harmonics add to each colour logit of Gaussians seen from `centre` [3]: [N, 3].

    means: [N, 3]. weights: [N, 3 K], the K weights of the first colour first. Directions are held fixed.
    """
    directions = torch.nn.functional.normalize((means - centre.to(means)).detach(), dim=-1)
    return torch.einsum("nk,nck->nc", harmonics_basis(directions, degree), weights.view(len(means), 3, -1))


def facing_normals(means: Tensor, log_scales: Tensor, rotations: Tensor, eye: Tensor) -> Tensor:
    """Shortest axes [N, 3], unit length, world frame, turned towards the camera's centre `eye` [3].

    means, log_scales: [N, 3], world units. rotations: [N, 4], wxyz. (As in Chen et al., NeuSG, 2023.)
    Differentiable in rotations; which axis is shortest and which side faces the camera are choices.
    """
    shortest = log_scales.argmin(dim=1)
    axes = matrices(rotations).gather(2, shortest[:, None, None].expand(-1, 3, 1))[..., 0]
    away = (axes * (means - eye.to(means))).sum(dim=1, keepdim=True) > 0
    return torch.where(away, -axes, axes)
