"""The paper's field: a NeRF in the wild with appearance codes from a CNN (Chen et al., Ha-NeRF, 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint

from halonerf.config.option_types import (
    Fraction,
    NonNegativeFloat,
    Pixels,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
)
from halonerf.errors import BadInput
from halonerf.fields.encoder import initialise_layers
from halonerf.fields.field_file import read_field, write_field
from halonerf.fields.ha_nerf.appearance import EncodedAppearance, RelitPair
from halonerf.fields.ha_nerf.rays import Draws, Rays, SamplerPair, rays_of, with_normals
from halonerf.fields.ha_nerf.voxels import VoxelGrid
from halonerf.geometry import random_grid
from halonerf.losses import cosine_by_epoch
from halonerf.types import Rendering, View
from halonerf.volume import composite

MAX_DEPTH = 5.0  # units of the networks: the scene is scaled so that its largest depth is about this (paper)
MAX_POINTS = 5000  # of the scene, kept for the near and far of views
MIN_LEARNING_RATE = 1e-8  # that the cosine falls to (paper)
UNSAVED = ("voxels.hits", "step")  # of the state: needed while fitting only


class HaNerf(nn.Module):
    """An element is a voxel that rays of the fitted views hit or, as the last one, all other space.

    Args:
        code_size: A, numbers in a photo's appearance code.
        width, depth: units and layers of the networks.
        position_frequencies, direction_frequencies: octaves of the encodings.
        samples: per ray of the coarse network, and as many more of the fine one, while fitting.
        render_samples: the same when rendering.
        rays: pixels per step, on a square grid.
        window_from: smallest side of a step's window, in sides of the photo; the largest is 1.
        photo_size: px; longer photos are shrunk to it before they are encoded.
        density_noise: standard deviation of the noise on the densities of a step, per unit of the networks.
        learning_rate: Adam's; falls along half a cosine.
        epochs: equal parts of the fit, in each of which the learning rate is constant.
        code_weight: of a code's mean squared entry in the loss.
        relit_weight: of the error of the code encoded from a rendering under another photo's code.
        spread_weight: of the penalty on different codes that give the same rendering.
        grid_side: voxels along each side of the grid.
        min_hit_weight: weight that one sample of a ray must have had in a voxel for the voxel to be kept, in [0, 1].
        memory_mb: approximate memory of a chunk of rays, MB.
    """

    version = 2  # of the file's header
    antialiased = False
    encodes = True

    points: Tensor  # [M, 3], world units
    step: Tensor  # number of steps done; seeds the samples' positions together with `seed`

    runtime_options = ("memory_mb",)
    version = 2

    def __init__(
        self,
        code_size: PositiveInt = 48,
        width: PositiveInt = 256,
        depth: PositiveInt = 8,
        position_frequencies: PositiveInt = 15,
        direction_frequencies: PositiveInt = 4,
        samples: PositiveInt = 64,
        render_samples: PositiveInt = 256,
        rays: PositiveInt = 1024,
        window_from: PositiveFraction = 0.5,
        photo_size: Pixels = 128,
        density_noise: NonNegativeFloat = 1.0,
        learning_rate: PositiveFloat = 5e-4,
        epochs: PositiveInt = 20,
        code_weight: NonNegativeFloat = 1e-5,
        relit_weight: NonNegativeFloat = 1e-3,
        spread_weight: NonNegativeFloat = 1e-6,
        grid_side: PositiveInt = 128,
        min_hit_weight: Fraction = 0.05,
        memory_mb: PositiveInt = 64,
    ) -> None:
        super().__init__()
        if math.isqrt(rays) ** 2 != rays:
            raise BadInput(f"expected field.rays to be a square (a grid of pixels), such as 1024, got {rays}")
        self.width, self.code_size = width, code_size
        self.samples, self.render_samples, self.rays, self.window_from = samples, render_samples, rays, window_from
        self.learning_rate, self.epochs, self.memory_mb = learning_rate, epochs, memory_mb
        self.density_noise = density_noise
        self.networks = SamplerPair(width, depth, position_frequencies, direction_frequencies, code_size)
        self.codes = EncodedAppearance(code_size, photo_size, code_weight, relit_weight, spread_weight)
        self.voxels = VoxelGrid(grid_side, min_hit_weight)
        self.seed = 0
        self._pair: RelitPair | None = None  # of the last rendering while fitting
        self.register_buffer("points", torch.zeros(0, 3))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @property
    def elements(self) -> int:
        """Number of kept voxels, and one for all other space, E."""
        return self.voxels.elements

    @torch.no_grad()
    def initialise(self, points: Tensor, colours: Tensor, names: Sequence[str], seed: int) -> None:
        """Start with random networks; the points set the scale and the grid.

        The largest depth is not known without cameras; the diameter of the points stands for it.

        points: [N, 3], world units. colours: [N, 3], not used. names: the photos that will be fitted.

        Raises: BadInput for fewer than four points.
        """
        if len(points) < 4:
            raise BadInput(
                f"expected at least 4 scene points to start a field from, got {len(points)}.\n"
                "Too few photos were registered: see the report of ingest, and add photos that overlap."
            )
        generator = torch.Generator().manual_seed(seed)
        self.points = points[torch.randperm(len(points), generator=generator)[:MAX_POINTS]].to(self.points)
        self.seed = seed
        distance = (self.points - self.points.median(dim=0).values).norm(dim=1)
        self.networks.scale.copy_(MAX_DEPTH / (2 * torch.quantile(distance, 0.999).clamp(min=1e-6)))
        self.voxels.initialise(self.points)
        self.codes.initialise(names)
        self.step.zero_()
        initialise_layers(self, generator)

    def training_view(self, view: View, progress: float, generator: torch.Generator) -> View:
        """A grid of pixels over a random window of the photo (Schwarz et al., GRAF, 2020, section 3.2)."""
        return random_grid(view, math.isqrt(self.rays), self.window_from, generator)

    def mean_appearance(self) -> Tensor:
        """The mean code, [A]: neutral appearance."""
        return self.codes.mean()

    def appearance(self, name: str) -> Tensor:
        """The code [A] of a fitted photo as of the last step that showed it; the mean code for any other."""
        return self.codes.of(name)

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of any photo [H, W, 3] in [0, 1], whole or a part."""
        return self.codes.encoder(photo)

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1] that is being fitted; stored for `appearance`."""
        return self.codes.training_appearance(name, photo)

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        """See `halonerf.protocols.RadianceField`. Differentiable in the view's pose, too.

        A ray's last sample reaches to infinity, so that whatever is far counts as hit. Normals are those of the
        rendered depth. While fitting, the coarse network's colour is given as well, and the view is rendered under
        another photo's code for `regularisation`.
        """
        fitting = self.training and torch.is_grad_enabled()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.step)) if fitting else None
        other = self.codes.another(generator) if generator is not None else None
        parts: dict[str, list[Tensor]] = {}
        pixels = view.height * view.width  # numbers are drawn for all at once, so that chunks change no result
        draws = None if generator is None else Draws.drawn(pixels, self.samples, self.density_noise, generator)
        for rows, rays in rays_of(view, self.points, self._chunk(0 if channels is None else channels.shape[1])):
            drawn = None if draws is None else draws.of(rows)
            for name, values in self._render_rays(rays, appearance, other, channels, drawn).items():
                parts.setdefault(name, []).append(values)
        whole = {name: torch.cat(values).unflatten(0, (view.height, view.width)) for name, values in parts.items()}
        self._pair = RelitPair(whole["colour"], appearance, other, whole.get("relit")) if fitting else None
        rendering = Rendering(
            whole["colour"], whole["depth"], whole["opacity"], whole.get("channels"), coarse=whole.get("coarse")
        )
        return with_normals(rendering, view) if normals else rendering

    @torch.no_grad()
    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.RadianceField`: maps [H, W, P], weight [H, W]."""
        weighted = torch.cat([maps * weight[..., None], weight[..., None]], dim=-1).flatten(0, 1).to(self.points)
        sums = weighted.new_zeros(self.elements, weighted.shape[1])
        chunk = self._chunk(weighted.shape[1])
        for rows, rays in rays_of(view, self.points, chunk, chosen=(weighted != 0).any(dim=1)):
            samples = self.networks.march(rays, self.render_samples, colour=False)
            shares = samples.weights[..., None] * weighted[rows][:, None]
            sums.index_add_(0, self.voxels.elements_at(samples.points).flatten(), shares.flatten(0, 1))
        return sums[:, :-1], sums[:, -1]

    def element_centres(self) -> Tensor:
        """See `halonerf.protocols.PlacedField`: the centre of each voxel, NaN for all other space."""
        return self.voxels.centres()

    @property
    def feature_width(self) -> int:
        """See `halonerf.protocols.FeatureField`."""
        return self.width

    def element_features(self) -> Tensor:
        """The last layer of the fine network at the centre of each voxel, [E, width]; zero for all other space."""
        return features_at(self.networks, self.element_centres(), self._chunk(0) * self.samples)

    def shade(self, view: View, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.FeatureField`: `function` is evaluated at each sample of the fine network (paper).

        A ray has `samples` samples while `function` is being fitted, and `render_samples` otherwise.
        """
        samples = self.samples if torch.is_grad_enabled() else self.render_samples
        chunk = max(1, int(self.memory_mb * 2**20 / (4 * 2 * samples * LAYERS_IN_MEMORY * self.width)))
        chunks = (rays for _, rays in rays_of(view, self.points, chunk))
        values, opacity = shade_rays(self.networks, chunks, samples, function)
        size = (view.height, view.width)
        return values.unflatten(0, size), opacity.unflatten(0, size)

    def regularisation(self) -> Tensor:
        """Ha-NeRF's losses on the codes of the last rendering (`EncodedAppearance.penalty`), a scalar."""
        return self.codes.penalty(self._pair) if self._pair is not None else self.points.new_zeros(())

    def optimiser(self) -> Optimizer:
        """Adam over all parameters; `after_step` lowers its learning rate."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)

    @torch.no_grad()
    def after_step(self, step: int, steps: int, optimiser: Optimizer) -> None:
        """Lower the learning rate after each epoch; at the end, keep the voxels hit in the fit's second half."""
        for group in optimiser.param_groups:
            epoch = (step + 1) * self.epochs // steps
            group["lr"] = cosine_by_epoch(self.learning_rate, epoch, self.epochs, MIN_LEARNING_RATE)
        self.step.fill_(step + 1)
        if step + 1 == steps // 2:
            self.voxels.hits.zero_()
        if step + 1 == steps:
            self.voxels.finalise()

    def save(self, path: Path) -> None:
        """Write all that rendering needs as safetensors, with the names of the photos in the header."""
        tensors = {name: value for name, value in self.state_dict().items() if name not in UNSAVED}
        write_field(path, "ha_nerf", tensors, self.codes.names)

    def load(self, path: Path) -> None:
        """Read what `save` wrote.

        Raises: BadInput where the file is of another kind of field, or of other sizes.
        """
        tensors, names = read_field(path, "ha_nerf")
        try:
            self.load_state_dict({**{name: self.state_dict()[name] for name in UNSAVED}, **tensors})
        except RuntimeError as error:
            raise BadInput(
                f"expected a field with the sizes of field=ha_nerf in {path}, got others: "
                f"{str(error).splitlines()[1].strip()}\n"
                "Pass the options it was fitted with: field.width=… field.code_size=… (they are in manifest.json)"
            ) from error
        self.codes.names = names

    def _render_rays(
        self,
        rays: Rays,
        code: Tensor,
        other: Tensor | None,
        channels: Tensor | None,
        draws: Draws | None,
    ) -> dict[str, Tensor]:
        """The composited values of R rays by name, [R, ...] each; "coarse" and "relit" only while fitting."""
        samples = self.networks.march(rays, self.render_samples if draws is None else self.samples, draws)
        weights, opacity = samples.weights, samples.weights.sum(dim=1)
        assert samples.base is not None
        values = {
            "colour": composite(weights, self.networks.fine_colour(samples.base, code)),
            "depth": rays.cosines * (weights * samples.t).sum(dim=1) / opacity.clamp(min=1e-6),
            "opacity": opacity.clamp(max=1),
        }
        if samples.coarse is not None:
            values["coarse"] = samples.coarse
            self.voxels.note(samples.points.detach(), weights.detach())
        if other is not None:
            base = self.networks.fine_colour.base(samples.feature, rays.directions, relit=True)
            values["relit"] = composite(weights, self.networks.fine_colour(base, other))
        if channels is not None:
            element = self.voxels.elements_at(samples.points.detach())
            values["channels"] = F.embedding_bag(element, channels.to(weights), mode="sum", per_sample_weights=weights)
        return values

    def _chunk(self, channels: int) -> int:
        """Number of rays that `memory_mb` allows at once."""
        samples = 2 * (self.samples if self.training and torch.is_grad_enabled() else self.render_samples)
        return max(1, int(self.memory_mb * 2**20 / (4 * samples * (4 * self.width + channels))))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the number of points from the state."""
        if f"{prefix}points" in state_dict:
            self.points = torch.zeros_like(state_dict[f"{prefix}points"], device=self.step.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


LAYERS_IN_MEMORY = 8  # of the trunk's width, about, per sample while a function of its features is fitted


@torch.no_grad()
def features_at(networks: SamplerPair, points: Tensor, chunk: int) -> Tensor:
    """The fine network's last layer at points [N, 3], world frame: [N, width]; zero where a point is NaN.

    chunk: points evaluated at once.
    """
    features = []
    for part in points.split(chunk):
        known = part.isfinite().all(dim=1)
        feature = networks.fine(networks.scale * part.nan_to_num(0.0))[1]
        features.append(torch.where(known[:, None], feature, 0.0))
    return torch.cat(features)


def shade_rays(
    networks: SamplerPair, chunks: Iterable[Rays], samples: int, function: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """`function` of features, [N, width] to [N, P], at each sample, composited along rays: [R, P], and opacity [R].

    With gradients, each chunk of rays is computed again in the backward pass, so that memory stays that of one chunk.

    samples: per ray, of the coarse network, and as many more of the fine one.
    """

    def chunk(rays: Rays) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            marched = networks.march(rays, samples, colour=False)
        values = function(marched.feature).view(*marched.weights.shape, -1)
        return composite(marched.weights, values), marched.weights.sum(dim=1).clamp(max=1)

    if torch.is_grad_enabled():
        parts = [checkpoint(chunk, rays, use_reentrant=False) for rays in chunks]
    else:
        parts = [chunk(rays) for rays in chunks]
    return torch.cat([values for values, _ in parts]), torch.cat([opacity for _, opacity in parts])
