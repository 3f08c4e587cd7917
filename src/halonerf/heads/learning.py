"""Heads that are functions of a field's features, fitted by gradient descent through the frozen field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.errors import BadInput
from halonerf.geometry import image_coordinates, random_grid
from halonerf.heads.aggregation import lifted_support
from halonerf.heads.elements import ElementHead, check_supervision
from halonerf.losses import cosine_by_epoch
from halonerf.protocols import FeatureField, RadianceField
from halonerf.types import View

ROUND_STEPS = 50  # between two states on disk
CHUNK_ELEMENTS = 2**14  # evaluated at once
MARGIN = 1e-4  # of probabilities in the loss to 0 and 1; by scaling, which unlike clipping keeps gradients


@dataclass
class RunningFit:
    """A running fit: its data, and the network and optimiser as they stand."""

    field: FeatureField
    views: Sequence[View]
    maps: Sequence[Tensor]  # [H, W, P] per view
    weights: Sequence[Tensor]  # [H, W, P] per view
    support: Tensor  # [E, P]
    mean: Tensor  # [F], subtracted from features
    scale: Tensor  # [F], factor of the difference
    network: nn.Module
    optimiser: Optimizer
    next: int = 0  # number of the next round
    loss: float = 0.0  # mean of the last round

    def probability(self, features: Tensor) -> Tensor:
        """Probabilities [N, P] of features [N, F]."""
        return torch.sigmoid(self.network((features - self.mean) * self.scale))


class LearnedElementHead(ElementHead):
    """A `halonerf.protocols.LearntHead` whose function is defined by subclasses in `network`.

    A step renders a square window of one photo's view, or a square grid of pixels spread over a larger window: the
    function's probabilities, composited by the frozen field and divided by its opacity, so that empty space has no
    influence. The loss is their cross-entropy with the 2D probabilities, weighted by weight and opacity. At the end the
    function is evaluated at each element's feature. Elements of support below `min_confidence` stay unknown whatever
    the function's value.

    Args:
        min_confidence: support of an element, in fully opaque pixels, below which it is unknown.
        steps: of Adam.
        rays: pixels per step, a square window of one photo, or the whole photo where it is smaller.
        learning_rate: Adam's.
        final_lr_fraction: share of the rate that is left at the end, along half a cosine; 1: constant.
        epochs: passes over all pixels of the photos: the rate is constant within a pass, the cosine ends with the last
            one, and so does the fit where `steps` are more; None: the rate falls from step to step, over all `steps`.
        window_from: smallest side of a window, in sides of the photo (the largest is 1), over which a step's pixels are
            a grid, as in `halonerf.geometry.random_grid`; None: adjacent pixels.
        targets: for a 2D probability p: "soft" (p itself) or "paper" (0.01 where p < 0.2, else 1).
        normalise: whether features are scaled to mean 0 and standard deviation 1 over elements.
        seed: of initial weights and windows.
    """

    compatible_defaults: ClassVar[Mapping[str, Any]] = {"epochs": None, "window_from": None}

    def __init__(
        self,
        min_confidence: float,
        steps: int,
        rays: int,
        learning_rate: float,
        final_lr_fraction: float,
        targets: str,
        normalise: bool,
        seed: int,
        epochs: int | None = None,
        window_from: float | None = None,
    ) -> None:
        super().__init__(min_confidence)
        self.steps, self.window = steps, math.isqrt(rays)  # px, the window's side
        self.learning_rate, self.final_lr_fraction = learning_rate, final_lr_fraction
        self.targets, self.normalise, self.seed = targets, normalise, seed
        self.epochs, self.window_from = epochs, window_from
        self.running: RunningFit | None = None

    def network(self, features: int, concepts: int, generator: torch.Generator) -> nn.Module:
        """A new module from features [N, F] to logits [N, P]. generator: the only source of random numbers."""
        raise AssertionError(f"{type(self).__name__} must define network()")

    @property
    def rounds(self) -> int:
        """See `halonerf.protocols.LearntHead`: of at most `ROUND_STEPS` steps each, none after the last epoch."""
        return -(-self.steps // ROUND_STEPS)

    def fit(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """See `halonerf.protocols.SemanticHead`. The field is not changed.

        Raises: BadInput where there is no view, or views, maps and weights are not as many; where the field has no
            features.
        """
        self.start(field, views, maps, weights)
        for number in range(self.rounds):
            self.fit_round(number)

    def start(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """See `halonerf.protocols.LearntHead`; raises what `fit` does."""
        check_supervision(views, maps, weights)
        if not isinstance(field, FeatureField):
            raise BadInput(
                f"expected a field with features (halonerf.protocols.FeatureField), got {type(field).__name__}.\n"
                "Use a head that needs none: head=lifted"
            )
        with torch.no_grad():
            support = lifted_support(field, views, weights)
            features = field.element_features()
        known = features[(support > 0).any(dim=1).to(features.device)]
        mean, scale = features.new_zeros(features.shape[1]), features.new_ones(features.shape[1])
        if self.normalise and len(known) > 1:
            mean, scale = known.mean(dim=0), 1 / known.std(dim=0).clamp(min=1e-6)
        network = self.network(features.shape[1], support.shape[1], torch.Generator().manual_seed(self.seed))
        network.to(features.device)
        weighted = [i for i, weight in enumerate(weights) if weight.any()] or [0]
        self.running = RunningFit(
            field=field,
            views=[views[i] for i in weighted],
            maps=[maps[i] for i in weighted],
            weights=[weights[i] for i in weighted],
            support=support,
            mean=mean,
            scale=scale,
            network=network,
            optimiser=torch.optim.Adam(network.parameters(), lr=self.learning_rate),
        )

    def fit_round(self, number: int) -> float:
        """See `halonerf.protocols.LearntHead`.

        Raises: BadInput where `number` is not that of the next round.
        """
        running = self.running
        if running is None or number != running.next:
            expected = "start() before a round" if running is None else f"round {running.next} to be next"
            raise BadInput(f"expected {expected}, got round {number}")
        last = self.steps if self.epochs is None else min(self.steps, self.epochs * self._epoch_steps(running))
        steps = range(number * ROUND_STEPS, min((number + 1) * ROUND_STEPS, last))
        with torch.enable_grad():
            losses = [self._step(running, step) for step in steps]
        running.next += 1
        running.loss = sum(losses) / len(losses) if losses else running.loss
        self._finish(running)
        return running.loss

    def save_state(self, path: Path) -> None:
        """See `halonerf.protocols.LearntHead`."""
        assert self.running is not None
        tensors = {f"network.{name}": value.contiguous() for name, value in self.running.network.state_dict().items()}
        for i, state in self.running.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{name}": value.contiguous() for name, value in state.items()}
        save_file(tensors, path, metadata={"next": str(self.running.next)})

    def load_state(self, path: Path) -> None:
        """See `halonerf.protocols.LearntHead`.

        Raises: BadInput where the file has other concepts, features or options.
        """
        assert self.running is not None
        with safe_open(path, "pt") as file:
            done = int((file.metadata() or {}).get("next", 0))
        network: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in load_file(path).items():
            kind, _, name = key.partition(".")
            if kind == "network":
                network[name] = value
            else:
                i, _, name = name.partition(".")
                moments.setdefault(int(i), {})[name] = value
        try:
            self.running.network.load_state_dict(network)
        except RuntimeError as error:
            raise BadInput(
                f"expected the state of a fit with the same concepts and options in {path}, got another: {error}.\n"
                f"Start again without it: remove {path}"
            ) from error
        self.running.optimiser.load_state_dict({**self.running.optimiser.state_dict(), "state": moments})
        self.running.next = done
        self._finish(self.running)

    def _step(self, running: RunningFit, step: int) -> float:
        """Take one step of Adam and return its loss; random numbers depend on the seed and the step alone."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        for group in running.optimiser.param_groups:
            group["lr"] = self._learning_rate(running, step)
        i = int(torch.randint(len(running.views), (), generator=generator))
        view, pixels = self._window(running.views[i], generator)
        rendered, opacity = running.field.shade(view, running.probability)
        target, weight = running.maps[i][pixels].to(rendered), running.weights[i][pixels].to(rendered)
        if self.targets == "paper":
            target = torch.where(target < 0.2, 0.01, 1.0)
        solid = opacity.detach()[..., None]
        probability = MARGIN + (1 - 2 * MARGIN) * (rendered / solid.clamp(min=1e-6)).clamp(0, 1)
        loss = (weight * solid * F.binary_cross_entropy(probability, target, reduction="none")).mean()
        running.optimiser.zero_grad()
        loss.backward()
        running.optimiser.step()
        return loss.item()

    def _epoch_steps(self, running: RunningFit) -> int:
        """Steps of a pass over as many pixels as the photos have."""
        return max(1, sum(view.width * view.height for view in running.views) // self.window**2)

    def _learning_rate(self, running: RunningFit, step: int) -> float:
        last = self.final_lr_fraction * self.learning_rate
        if self.epochs is None:
            return cosine_by_epoch(self.learning_rate, step, self.steps, last)
        return cosine_by_epoch(self.learning_rate, step // self._epoch_steps(running), self.epochs, last)

    def _window(self, view: View, generator: torch.Generator) -> tuple[View, tuple[Any, Any]]:
        """The part of a view that a step renders, and the rows and columns of its pixels in the photo's maps."""
        if self.window_from is not None:
            grid = random_grid(view, self.window, self.window_from, generator)
            place = image_coordinates(grid)  # a pixel of the grid is compared with the pixel of the photo that it is in
            rows, columns = (place[..., 1] * view.height).long(), (place[..., 0] * view.width).long()
            return grid, (rows.clamp(0, view.height - 1), columns.clamp(0, view.width - 1))
        width, height = min(self.window, view.width), min(self.window, view.height)
        left = int(torch.randint(view.width - width + 1, (), generator=generator))
        top = int(torch.randint(view.height - height + 1, (), generator=generator))
        return view.cropped(left, top, width, height), (slice(top, top + height), slice(left, left + width))

    @torch.no_grad()
    def _finish(self, running: RunningFit) -> None:
        """After the last round, evaluate the function at every element."""
        if running.next == self.rounds:
            chunks = running.field.element_features().split(CHUNK_ELEMENTS)
            self.hold(torch.cat([running.probability(chunk).cpu() for chunk in chunks]), running.support)
