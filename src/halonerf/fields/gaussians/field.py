"""A radiance field of 3D Gaussians with appearance codes, started from structure-from-motion points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor
from torch.optim import Optimizer

from halonerf.config.option_types import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from halonerf.errors import BadInput
from halonerf.fields.field_file import read_field, write_field
from halonerf.fields.gaussians.appearance import AppearanceCodes, AppearanceModel
from halonerf.fields.gaussians.features import element_features, feature_width, visible_gaussians
from halonerf.fields.gaussians.harmonics import view_dependent_colours
from halonerf.fields.gaussians.strategies.base import DensificationLimits, ParameterRows
from halonerf.fields.gaussians.strategies.budget import BudgetStrategy
from halonerf.fields.gaussians.strategies.mcmc import McmcStrategy
from halonerf.fields.gaussians.strategies.threshold import ThresholdStrategy
from halonerf.fields.gaussians.table import PARAMETERS, STATISTICS, GaussianTable, facing_normals
from halonerf.protocols import DensificationStrategy
from halonerf.splatting.rasterise import lift, rasterise
from halonerf.types import Rendering, Splats, View

RateName = Literal[
    "means",
    "log_scales",
    "rotations",
    "opacity_logits",
    "colour_logits",
    "features",
    "harmonics",
    "networks",
    "codes",
    "encoder",
]
LEARNING_RATES: Mapping[RateName, float] = {
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
    """3D Gaussian splatting (Kerbl et al. 2023) in the wild.

    An element is a Gaussian: mean, three axes, opacity, colour, and a feature that sets how its appearance varies.

    Args:
        budget: Gaussians at most.
        codes: source of a photo's appearance code: "embedding" (one learnt vector per photo) or "encoder" (a CNN
            computes it from the photo, also from photos that were not fitted).
        code_size: A, numbers in an appearance code.
        tint: how codes change colours: "network", "affine" or "none"; see `halonerf.fields.gaussians.appearance`.
        feature_size: F, numbers in a Gaussian's feature.
        width: hidden units of the appearance networks.
        sh_degree: degree of the spherical harmonics of view-dependent colour, 0 to 3; 0: colours are the same from
            every direction.
        grow_from, grow_until: shares of the fit between which Gaussians are added.
        grow_every: steps between two densifications.
        densification: "budget" (splits Gaussians of the largest gradient norm, to the budget by a schedule),
            "threshold" (Kerbl et al. 2023) or "mcmc" (Kheradmand et al. 2024); see
            `halonerf.fields.gaussians.strategies`.
        min_grad: of "budget": screen-space gradient norm (loss per image half-width) below which nothing is split.
        grad_threshold: of "threshold": gradient norm above which a Gaussian is split or cloned.
        reset_every: of "threshold": share of the fit between two resets of all opacities; 0: none.
        noise: of "mcmc": noise on the means of faint Gaussians, in units of the means' learning rate times their
            covariance.
        split_size: world units; a Gaussian with a longer axis is split, others are cloned.
        max_scale: world units; upper limit of every standard deviation.
        prune_opacity: opacity below which a Gaussian is pruned.
        coarse_until: share of the fit at half the resolution.
        final_lr_fraction: share of their learning rates that all parameters but the means keep at the end; the rates
            fall from `grow_until` on.
        learning_rates: Adam's, for means (decaying to 2 %), log_scales, rotations, opacity_logits, colour_logits,
            features, harmonics, networks, codes and encoder.
    """

    version = 2  # of the file's header
    antialiased = True

    def __init__(
        self,
        budget: PositiveInt = 40000,
        codes: Literal["embedding", "encoder"] = "embedding",
        code_size: PositiveInt = 16,
        tint: Literal["network", "affine", "none"] = "network",
        feature_size: PositiveInt = 12,
        width: PositiveInt = 32,
        sh_degree: Literal[0, 1, 2, 3] = 0,
        grow_from: Fraction = 0.08,
        grow_until: Fraction = 0.6,
        grow_every: PositiveInt = 100,
        min_grad: NonNegativeFloat = 5e-5,
        split_size: PositiveFloat = 0.02,
        max_scale: PositiveFloat = 0.5,
        prune_opacity: Fraction = 0.01,
        densification: Literal["budget", "threshold", "mcmc"] = "budget",
        grad_threshold: NonNegativeFloat = 2e-4,
        reset_every: Fraction = 0.1,
        noise: NonNegativeFloat = 1e5,
        coarse_until: Fraction = 0.1,
        final_lr_fraction: Fraction = 0.3,
        learning_rates: Mapping[RateName, NonNegativeFloat] = LEARNING_RATES,
    ) -> None:
        super().__init__(feature_size, (sh_degree + 1) ** 2 - 1)
        self.budget, self.feature_size, self.sh_degree = budget, feature_size, sh_degree
        self.grow_from, self.grow_until, self.grow_every = grow_from, grow_until, grow_every
        self.split_size, self.max_scale, self.prune_opacity = split_size, max_scale, prune_opacity
        self.densification, self.min_grad, self.grad_threshold = densification, min_grad, grad_threshold
        self.reset_every, self.noise = reset_every, noise
        self.coarse_until, self.final_lr_fraction = coarse_until, final_lr_fraction
        self.rates: dict[str, float] = {
            name: learning_rates.get(name, default) for name, default in LEARNING_RATES.items()
        }
        self.appearance_model = AppearanceModel(code_size, feature_size, width, tint)
        self.codes = AppearanceCodes(codes, code_size)
        self.initial_elements, self.seed = 0, 0
        self._offsets: Tensor | None = (
            None  # [N, 2] px, zeros; their gradient is the last rendering's screen-space gradient
        )
        self._half_width = 1.0  # px, half the longer side of that rendering's whole image

    @property
    def encodes(self) -> bool:
        """Whether appearance codes are computed from photos."""
        return self.codes.encodes

    def initialise(self, points: Tensor, colours: Tensor, names: Sequence[str], seed: int) -> None:
        """Start with one Gaussian per point, as large as the mean distance to its three neighbours, and neutral codes.

        points: [N, 3], world units. colours: [N, 3] in [0, 1]. names: the photos that will be fitted.

        Raises: BadInput for fewer than four points.
        """
        if len(points) < 4:
            raise BadInput(
                f"expected at least 4 scene points to start a field from, got {len(points)}.\n"
                "Too few photos were registered: see the report of ingest, and add photos that overlap."
            )
        self.resize(len(points))
        self.initial_elements, self.seed = len(points), seed
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
            for name, parameter in self.appearance_model.named_parameters():
                if "to_affine" not in name:
                    bound = 1 / math.sqrt(parameter.shape[-1])
                    parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)
        self.codes.initialise(names, generator)

    def training_view(self, view: View, progress: float, generator: torch.Generator) -> View:
        """The whole view, at half the resolution while `progress` is below `coarse_until`."""
        half = (max(1, view.width // 2), max(1, view.height // 2))
        return view.resized(*half) if progress < self.coarse_until else view

    def appearance(self, name: str) -> Tensor:
        """The code [A] of a fitted photo; the mean code for any other."""
        return self.codes.of(name)

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of any photo [H, W, 3] in [0, 1]; raises BadInput unless `encodes`."""
        return self.codes.encode(photo)

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1] that is being fitted; differentiable."""
        return self.codes.training_appearance(name, photo)

    def mean_appearance(self) -> Tensor:
        """The mean code, [A]: neutral appearance."""
        return self.codes.mean()

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        """See `halonerf.protocols.RadianceField`. Differentiable in all parameters, the code and the view's pose."""
        logits = self.colour_logits
        if self.sh_degree:
            logits = logits + view_dependent_colours(self.means, self.harmonics, view.centre, self.sh_degree)
        values = [self.appearance_model.tint(logits, self.features, appearance)]
        if channels is not None:
            values.append(channels.to(values[0]))
        if normals:
            values.append(facing_normals(self.means, self.log_scales, self.rotations, view.centre))
        learning = self.training and torch.is_grad_enabled()
        self._offsets = (
            torch.zeros(self.elements, 2, device=self.means.device, requires_grad=True) if learning else None
        )
        left, top, right, bottom = view.bounds
        self._half_width = 0.5 * max(right - left, bottom - top)
        raster = rasterise(*self.shapes(), torch.cat(values, dim=1), view, self._offsets)
        colour, *others = raster.features.split([value.shape[1] for value in values], dim=-1)
        sky = self.appearance_model.background(view, appearance)
        depth = raster.depth / raster.opacity.clamp(min=1e-6)
        return Rendering(
            colour + (1 - raster.opacity[..., None]) * sky,
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
        return self.appearance_model.tint(self.colour_logits, self.features, appearance)

    @property
    def feature_width(self) -> int:
        """See `halonerf.protocols.FeatureField`."""
        return feature_width(self.feature_size)

    @torch.no_grad()
    def element_features(self) -> Tensor:
        """See `halonerf.protocols.FeatureField` and `halonerf.fields.gaussians.features`."""
        return element_features(self.means, self.features, self.colour_logits)

    def shade(self, view: View, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.FeatureField`: `function` is evaluated once per Gaussian that the view may show."""
        means, scales, rotations, opacities = (tensor.detach() for tensor in self.shapes())
        rows = visible_gaussians(means, scales, view)
        with torch.no_grad():
            features = element_features(means[rows], self.features[rows], self.colour_logits[rows])
        raster = rasterise(means[rows], scales[rows], rotations[rows], opacities[rows], function(features), view)
        return raster.features, raster.opacity.detach()

    def optimiser(self) -> Optimizer:
        """Adam with a learning rate per kind of parameter; `after_step` replaces its parameters with the field's."""
        networks = list(self.appearance_model.parameters())
        groups: list[dict[str, Any]] = [
            {"name": name, "params": [getattr(self, name)], "lr": self.rates[name]} for name in PARAMETERS
        ]
        groups.append({"name": "networks", "params": networks, "lr": self.rates["networks"]})
        if self.codes.encoder is None:
            groups.append({"name": "codes", "params": [self.codes.table], "lr": self.rates["codes"]})
        else:
            groups.append(
                {"name": "encoder", "params": list(self.codes.encoder.parameters()), "lr": self.rates["encoder"]}
            )
        return torch.optim.Adam(groups, eps=1e-15, fused=True)

    @torch.no_grad()
    def after_step(self, step: int, steps: int, optimiser: Optimizer) -> None:
        """Accumulate gradient norms, densify and prune, and set the learning rates after each of `steps` steps.

        Random numbers depend on the seed and the step alone.
        """
        progress = (step + 1) / steps
        late = max(0.0, progress - self.grow_until) / max(1 - self.grow_until, 1e-6)
        for group in optimiser.param_groups:
            rate = self.rates[group["name"]]
            group["lr"] = rate * (0.02**progress if group["name"] == "means" else self.final_lr_fraction**late)
        if self._offsets is not None and self._offsets.grad is not None:
            norm = self._offsets.grad.norm(dim=1) * self._half_width
            self.grad_norm += norm
            self.seen += norm > 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        self._strategy()(ParameterRows(self, PARAMETERS, STATISTICS, optimiser), step, progress, generator)

    def _strategy(self) -> DensificationStrategy:
        limits = DensificationLimits(
            self.budget, self.grow_from, self.grow_until, self.grow_every, self.split_size, self.max_scale,
            self.prune_opacity,
        )  # fmt: skip
        if self.densification == "threshold":
            return ThresholdStrategy(limits, self.grad_threshold, self.reset_every)
        if self.densification == "mcmc":
            return McmcStrategy(limits, self.noise)
        return BudgetStrategy(limits, self.initial_elements, self.min_grad)

    def save(self, path: Path) -> None:
        """Write all that rendering needs as safetensors, with the names of the photos in the header."""
        tensors = {name: value for name, value in self.state_dict().items() if name not in STATISTICS}
        write_field(path, "gaussians", tensors, self.codes.names)

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
                f"other sizes ({error}).\nPass the options it was fitted with: field.code_size=… field.feature_size=… "
                "field.codes=… field.tint=… field.sh_degree=…"
            ) from error
        self.codes.names = names
