"""The paper's field: a NeRF in the wild whose light comes from a photo through a CNN (Chen et al., Ha-NeRF, 2022)."""

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

from halonerf.errors import BadInput
from halonerf.fields.encoder import initialise_layers
from halonerf.fields.field_file import read_field, write_field
from halonerf.fields.ha_nerf.appearance import AppearanceLosses, RelitPair
from halonerf.fields.ha_nerf.rays import Rays, SamplerPair, rays_of, with_normals
from halonerf.fields.ha_nerf.voxels import VoxelGrid
from halonerf.types import Rendering, View
from halonerf.volume import composite

FARTHEST = 5.0  # the networks see a scene whose largest depth is about this (paper)
POINTS = 5000  # scene points kept, to know each view's near and far
UNSAVED = ("support.hits", "step")


class HaNerf(nn.Module):
    """An element is a voxel of the support that rays of the fitted views hit, or, the last one, all other space.

    Args:
        code_size: numbers in a photo's appearance code.
        width, depth: units and layers of the networks.
        position_frequencies, direction_frequencies: octaves of the encodings.
        samples: on a ray of the coarse network, and as many more for the fine one, while learning.
        render_samples: the same when rendering.
        rays: pixels a step, on a square grid.
        window_from: smallest side of a step's window, in sides of the photo; the largest is 1.
        photo_size: px; longer photos are shrunk to it before the encoder sees them.
        learning_rate: Adam's; falls to zero along a half cosine.
        code_weight: of a code's squared length in the loss.
        relit_weight: of the error with which the encoder reads the light of a picture shown in another photo's.
        spread_weight: of the penalty on different codes that look the same.
        support_side: voxels along each side of the support.
        support_hit: share of a ray's light that one sample must have stopped in a voxel for it to be kept.
        memory_mb: MB that a chunk of rays may take, about.
    """

    antialiased = False
    encodes = True

    points: Tensor  # [M, 3], world units
    step: Tensor  # steps done; with the seed, it decides where samples lie

    runtime_options = ("memory_mb",)

    def __init__(
        self,
        code_size: int = 48,
        width: int = 256,
        depth: int = 8,
        position_frequencies: int = 15,
        direction_frequencies: int = 4,
        samples: int = 64,
        render_samples: int = 256,
        rays: int = 1024,
        window_from: float = 0.5,
        photo_size: int = 64,
        learning_rate: float = 5e-4,
        code_weight: float = 1e-5,
        relit_weight: float = 1e-3,
        spread_weight: float = 1e-6,
        support_side: int = 128,
        support_hit: float = 0.05,
        memory_mb: int = 64,
    ) -> None:
        super().__init__()
        if math.isqrt(rays) ** 2 != rays:
            raise BadInput(f"expected field.rays to be a square (a grid of pixels), such as 1024, got {rays}")
        self.width, self.code_size = width, code_size
        self.samples, self.render_samples, self.rays, self.window_from = samples, render_samples, rays, window_from
        self.learning_rate, self.memory_mb = learning_rate, memory_mb
        self.networks = SamplerPair(width, depth, position_frequencies, direction_frequencies, code_size)
        self.lights = AppearanceLosses(code_size, photo_size, code_weight, relit_weight, spread_weight)
        self.support = VoxelGrid(support_side, support_hit)
        self.seed = 0
        self._lesson: RelitPair | None = None
        self.register_buffer("points", torch.zeros(0, 3))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @property
    def elements(self) -> int:
        return self.support.elements

    @torch.no_grad()
    def initialise(self, points: Tensor, colours: Tensor, names: Sequence[str], seed: int) -> None:
        """Random networks; the points say only where the scene is.

        The largest depth is not known without the cameras; the diameter of the points stands for it.

        Raises: BadInput for fewer than four points.
        """
        if len(points) < 4:
            raise BadInput(
                f"expected at least 4 scene points to start a field from, got {len(points)}.\n"
                "The photos were hardly registered: look at ingest's report, and add photos that overlap."
            )
        generator = torch.Generator().manual_seed(seed)
        self.points = points[torch.randperm(len(points), generator=generator)[:POINTS]].to(self.points)
        self.seed = seed
        distance = (self.points - self.points.median(dim=0).values).norm(dim=1)
        self.networks.scale.copy_(FARTHEST / (2 * torch.quantile(distance, 0.999).clamp(min=1e-6)))
        self.support.initialise(self.points)
        self.lights.initialise(names)
        self.step.zero_()
        initialise_layers(self, generator)

    def training_view(self, view: View, progress: float, generator: torch.Generator) -> View:
        """A grid of pixels over a random window of the photo (Schwarz et al., GRAF, 2020, section 3.2)."""
        share, x, y = torch.rand(3, generator=generator).tolist()
        share = self.window_from + (1 - self.window_from) * share
        width, height = max(1, round(share * view.width)), max(1, round(share * view.height))
        part = view.cropped(x * (view.width - width), y * (view.height - height), width, height)
        return part.resized(math.isqrt(self.rays), math.isqrt(self.rays))

    def mean_appearance(self) -> Tensor:
        """The mean code, [A]: neutral light."""
        return self.lights.mean()

    def appearance(self, name: str) -> Tensor:
        """The code [A] of a photo as it was last seen in the fit; for any other, the mean."""
        return self.lights.of(name)

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of any photo [H, W, 3] in [0, 1], whole or a part."""
        return self.lights.encoder(photo)

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo [H, W, 3] in [0, 1] that is being fitted; remembered for `appearance`."""
        return self.lights.training_appearance(name, photo)

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        """See `halonerf.protocols.RadianceField`. Differentiable in the view's pose, too.

        A ray's last sample reaches to infinity, so that what is far counts as hit. Normals are those of the
        rendered depth.
        """
        learning = self.training and torch.is_grad_enabled()
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + int(self.step)) if learning else None
        other = self.lights.another(chance) if chance is not None else None
        parts: dict[str, list[Tensor]] = {}
        for _, rays in rays_of(view, self.points, self._chunk(0 if channels is None else channels.shape[1])):
            for name, values in self._shown(rays, appearance, other, channels, chance).items():
                parts.setdefault(name, []).append(values)
        whole = {name: torch.cat(values).unflatten(0, (view.height, view.width)) for name, values in parts.items()}
        self._lesson = None
        if learning:
            self._lesson = RelitPair(whole["coarse"], whole["colour"], appearance, other, whole.get("relit"))
        shown = Rendering(whole["colour"], whole["depth"], whole["opacity"], whole.get("channels"))
        return with_normals(shown, view) if normals else shown

    @torch.no_grad()
    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.RadianceField`: maps [H, W, P], weight [H, W]."""
        given = torch.cat([maps * weight[..., None], weight[..., None]], dim=-1).flatten(0, 1).to(self.points)
        sums = given.new_zeros(self.elements, given.shape[1])
        for rows, rays in rays_of(view, self.points, self._chunk(given.shape[1]), wanted=(given != 0).any(dim=1)):
            found = self.networks.march(rays, self.render_samples, chance=None, colour=False)
            shares = found.weights[..., None] * given[rows][:, None]
            sums.index_add_(0, self.support.elements_at(found.points).flatten(), shares.flatten(0, 1))
        return sums[:, :-1], sums[:, -1]

    def element_centres(self) -> Tensor:
        """See `halonerf.protocols.PlacedField`: the middle of each voxel, NaN for all other space."""
        return self.support.centres()

    @property
    def feature_width(self) -> int:
        """See `halonerf.protocols.FeatureField`."""
        return self.width

    def element_features(self) -> Tensor:
        """The last layer of the fine network in the middle of each voxel, [E, width]; zero for all other space."""
        return features_at(self.networks, self.element_centres(), self._chunk(0) * self.samples)

    def shade(self, view: View, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """See `halonerf.protocols.FeatureField`: `function` is asked at each sample of the fine network (paper).

        The samples of a ray are as many as in a fit while `function` learns, and as in a picture otherwise.
        """
        samples = self.samples if torch.is_grad_enabled() else self.render_samples
        number = max(1, int(self.memory_mb * 2**20 / (4 * 2 * samples * LAYERS * self.width)))
        chunks = (rays for _, rays in rays_of(view, self.points, number))
        shown, opacity = shaded(self.networks, chunks, samples, function)
        size = (view.height, view.width)
        return shown.unflatten(0, size), opacity.unflatten(0, size)

    def loss(self, shown: Rendering, photo: Tensor, weight: Tensor) -> Tensor:
        """Half the mean squared error of both networks' pictures; the coarse one does not move the weight (paper)."""
        loss = 0.5 * (weight * ((shown.colour - photo) ** 2).mean(dim=-1)).mean()
        if self._lesson is not None:
            coarse = ((self._lesson.coarse - photo) ** 2).mean(dim=-1)
            loss = loss + 0.5 * (weight.detach() * coarse).mean()
        return loss

    def regularisation(self) -> Tensor:
        """What keeps codes small, readable from pictures, and different where pictures differ (paper)."""
        return self.lights.penalty(self._lesson) if self._lesson is not None else self.points.new_zeros(())

    def optimiser(self) -> Optimizer:
        """Adam; `after_step` lowers its rate."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)

    @torch.no_grad()
    def after_step(self, step: int, steps: int, optimiser: Optimizer) -> None:
        """Slow down along a half cosine; at the end, keep the voxels that rays hit since half-time."""
        for group in optimiser.param_groups:
            group["lr"] = 0.5 * self.learning_rate * (1 + math.cos(math.pi * (step + 1) / steps))
        self.step.fill_(step + 1)
        if step + 1 == steps // 2:
            self.support.hits.zero_()
        if step + 1 == steps:
            self.support.finalise()

    def save(self, path: Path) -> None:
        """Write everything that rendering needs, as safetensors; photos' names go in its header."""
        kept = {name: value for name, value in self.state_dict().items() if name not in UNSAVED}
        write_field(path, "ha_nerf", kept, self.lights.names)

    def load(self, path: Path) -> None:
        """Read what `save` wrote.

        Raises: BadInput where the file is of another kind of field, or of other sizes.
        """
        tensors, names = read_field(path, "ha_nerf")
        try:
            self.load_state_dict({**{name: self.state_dict()[name] for name in UNSAVED}, **tensors})
        except RuntimeError as error:
            raise BadInput(
                f"expected a field with the sizes that field=ha_nerf was given in {path}, got others: "
                f"{str(error).splitlines()[1].strip()}\n"
                "Pass the options it was fitted with: field.width=… field.code_size=… (they are in manifest.json)"
            ) from error
        self.lights.names = names

    def _shown(
        self,
        rays: Rays,
        code: Tensor,
        other: Tensor | None,
        channels: Tensor | None,
        chance: torch.Generator | None,
    ) -> dict[str, Tensor]:
        """What rays [R] show, each [R, ...], by name."""
        found = self.networks.march(rays, self.render_samples if chance is None else self.samples, chance)
        weights, opacity = found.weights, found.weights.sum(dim=1)
        assert found.seen is not None
        shown = {
            "colour": composite(weights, self.networks.fine_colour(found.seen, code)),
            "depth": (weights * found.t).sum(dim=1) / opacity.clamp(min=1e-6),
            "opacity": opacity.clamp(max=1),
        }
        if found.coarse is not None:
            shown["coarse"] = found.coarse
            self.support.note(found.points.detach(), weights.detach())
        if other is not None:
            shown["relit"] = composite(weights, self.networks.fine_colour(found.seen.detach(), other))
        if channels is not None:
            element = self.support.elements_at(found.points.detach())
            shown["channels"] = F.embedding_bag(element, channels.to(weights), mode="sum", per_sample_weights=weights)
        return shown

    def _chunk(self, channels: int) -> int:
        """How many rays memory allows at once."""
        samples = 2 * (self.samples if self.training and torch.is_grad_enabled() else self.render_samples)
        return max(1, int(self.memory_mb * 2**20 / (4 * samples * (4 * self.width + channels))))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The number of points is whatever the file says."""
        if f"{prefix}points" in state_dict:
            self.points = torch.zeros_like(state_dict[f"{prefix}points"], device=self.step.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


LAYERS = 8  # of the trunk's width that are in memory while a sample is asked and learnt from, about


@torch.no_grad()
def features_at(networks: SamplerPair, points: Tensor, together: int) -> Tensor:
    """The feature at points [N, 3], world frame: [N, width]; zero where a point is NaN. together: points at once."""
    features = []
    for place in points.split(together):
        known = place.isfinite().all(dim=1)
        found = networks.fine(networks.scale * place.nan_to_num(0.0))[1]
        features.append(torch.where(known[:, None], found, 0.0))
    return torch.cat(features)


def shaded(
    networks: SamplerPair, chunks: Iterable[Rays], samples: int, function: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """`function` of the feature [N, width] to [N, P] at each sample, composited: [R, P], and opacity [R].

    Where gradients are kept, a chunk of rays is worked out again for its own, so that memory stays that of one chunk.
    """

    def chunk(rays: Rays) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            found = networks.march(rays, samples, chance=None, colour=False)
        values = function(found.feature).view(*found.weights.shape, -1)
        return composite(found.weights, values), found.weights.sum(dim=1).clamp(max=1)

    if torch.is_grad_enabled():
        shown = [checkpoint(chunk, rays, use_reentrant=False) for rays in chunks]
    else:
        shown = [chunk(rays) for rays in chunks]
    return torch.cat([values for values, _ in shown]), torch.cat([opacity for _, opacity in shown])
