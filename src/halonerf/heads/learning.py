"""Meaning as a function of what a field knows of a place, learnt through the frozen field from windows of photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from halonerf.errors import BadInput
from halonerf.heads.aggregation import lifted_support
from halonerf.heads.elements import ElementHead, check_supervision
from halonerf.protocols import FeatureField, RadianceField
from halonerf.types import View

TARGETS = ("soft", "paper")
ROUND = 50  # steps between two states on disk
BLOCK = 2**14  # elements asked at once
LEAST = 1e-4  # what a probability is kept away from 0 and 1 by in the loss: by shrinking, so that gradients live on


@dataclass
class TrainingBatch:
    """A fit under way: what is learnt from, and what has been learnt so far."""

    field: FeatureField
    views: Sequence[View]
    maps: Sequence[Tensor]  # [H, W, P] a view
    weights: Sequence[Tensor]  # [H, W, P] a view
    support: Tensor  # [E, P]
    mean: Tensor  # [F], taken off features, which are then multiplied by
    scale: Tensor  # [F]
    network: nn.Module
    optimiser: Optimizer
    next: int = 0  # round

    def probability(self, features: Tensor) -> Tensor:
        """Of features [N, F]: [N, P]."""
        return torch.sigmoid(self.network((features - self.mean) * self.scale))


class LearnedElementHead(ElementHead):
    """A `halonerf.protocols.LearntHead`; subclasses say with `network` what function it is.

    A step shows a square window of one photo's view: the function's probabilities, composited by the frozen field and
    divided by its opacity, so that what the field leaves empty teaches nothing; the loss is their cross-entropy with
    the 2D probabilities, weighed by weight and opacity. At the end each element's own feature is asked. Elements that
    less than `min_confidence` pixels spoke of stay unknown whatever the function says of them.

    Args:
        min_confidence: fully opaque pixels that must have said something about an element; below, it is unknown.
        steps: of Adam.
        rays: pixels a step, a square window of one photo, or the photo where it is smaller.
        learning_rate: Adam's.
        final_lr_fraction: share of the rate that is left at the end, along half a cosine; 1: constant.
        targets: what is learnt of a 2D probability p: "soft" (p itself) or "paper" (0.01 where p < 0.2, else 1).
        normalise: whether features are given with mean 0 and standard deviation 1 over elements.
        seed: of first weights and windows.
    """

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
    ) -> None:
        super().__init__(min_confidence)
        if steps < 1 or rays < 1 or learning_rate <= 0 or not 0 <= final_lr_fraction <= 1:
            raise BadInput(
                "expected head.steps and head.rays of at least 1, head.learning_rate > 0 and head.final_lr_fraction in [0, 1], "
                f"got {steps}, {rays}, {learning_rate} and {final_lr_fraction}"
            )
        if targets not in TARGETS:
            raise BadInput(f"expected head.targets among {', '.join(TARGETS)}, got '{targets}'")
        self.steps, self.side, self.learning_rate, self.final_lr_fraction = (
            steps,
            math.isqrt(rays),
            learning_rate,
            final_lr_fraction,
        )
        self.targets, self.normalise, self.seed = targets, normalise, seed
        self.lesson: TrainingBatch | None = None

    def network(self, features: int, concepts: int, chance: torch.Generator) -> nn.Module:
        """A fresh module from features [N, F] to logits [N, P]; chance: the only source of it."""
        raise AssertionError(f"{type(self).__name__} must define network()")

    @property
    def rounds(self) -> int:
        """See `halonerf.protocols.LearntHead`: of at most `ROUND` steps each."""
        return -(-self.steps // ROUND)

    def fit(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """See `halonerf.protocols.SemanticHead`. The field is only read.

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
                f"expected a field with features to learn from (shade), got {type(field).__name__}.\nUse: head=lifted"
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
        speak = [i for i, weight in enumerate(weights) if weight.any()] or [0]
        self.lesson = TrainingBatch(
            field=field,
            views=[views[i] for i in speak],
            maps=[maps[i] for i in speak],
            weights=[weights[i] for i in speak],
            support=support,
            mean=mean,
            scale=scale,
            network=network,
            optimiser=torch.optim.Adam(network.parameters(), lr=self.learning_rate),
        )

    def fit_round(self, number: int) -> float:
        """See `halonerf.protocols.LearntHead`.

        Raises: BadInput for another round than the next.
        """
        lesson = self.lesson
        if lesson is None or number != lesson.next:
            expected = "begin() before a round" if lesson is None else f"round {lesson.next} to be next"
            raise BadInput(f"expected {expected}, got round {number}")
        steps = range(number * ROUND, min((number + 1) * ROUND, self.steps))
        with torch.enable_grad():
            losses = [self._step(lesson, step) for step in steps]
        lesson.next += 1
        self._finish(lesson)
        return sum(losses) / len(losses)

    def save_state(self, path: Path) -> None:
        """See `halonerf.protocols.LearntHead`."""
        assert self.lesson is not None
        tensors = {f"network.{name}": value.contiguous() for name, value in self.lesson.network.state_dict().items()}
        for i, state in self.lesson.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{name}": value.contiguous() for name, value in state.items()}
        save_file(tensors, path, metadata={"next": str(self.lesson.next)})

    def load_state(self, path: Path) -> None:
        """See `halonerf.protocols.LearntHead`.

        Raises: BadInput where the file is of other concepts, features or options.
        """
        assert self.lesson is not None
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
            self.lesson.network.load_state_dict(network)
        except RuntimeError as error:
            raise BadInput(
                f"expected the state of a fit with the same concepts and options in {path}, got another's: {error}.\n"
                f"Begin again: remove {path}"
            ) from error
        self.lesson.optimiser.load_state_dict({**self.lesson.optimiser.state_dict(), "state": moments})
        self.lesson.next = done
        self._finish(self.lesson)

    def _step(self, lesson: TrainingBatch, step: int) -> float:
        """One step of Adam; chance depends on seed and step alone."""
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        for group in lesson.optimiser.param_groups:
            group["lr"] = self.learning_rate * (self.final_lr_fraction + (1 - self.final_lr_fraction) * fall)
        i = int(torch.randint(len(lesson.views), (), generator=chance))
        view = lesson.views[i]
        width, height = min(self.side, view.width), min(self.side, view.height)
        left = int(torch.randint(view.width - width + 1, (), generator=chance))
        top = int(torch.randint(view.height - height + 1, (), generator=chance))
        window = (slice(top, top + height), slice(left, left + width))
        shown, opacity = lesson.field.shade(view.cropped(left, top, width, height), lesson.probability)
        truth, weight = lesson.maps[i][window].to(shown), lesson.weights[i][window].to(shown)
        if self.targets == "paper":
            truth = torch.where(truth < 0.2, 0.01, 1.0)
        solid = opacity.detach()[..., None]
        guess = LEAST + (1 - 2 * LEAST) * (shown / solid.clamp(min=1e-6)).clamp(0, 1)
        loss = (weight * solid * F.binary_cross_entropy(guess, truth, reduction="none")).mean()
        lesson.optimiser.zero_grad()
        loss.backward()
        lesson.optimiser.step()
        return loss.item()

    @torch.no_grad()
    def _finish(self, lesson: TrainingBatch) -> None:
        """After the last round, ask for every element."""
        if lesson.next == self.rounds:
            parts = lesson.field.element_features().split(BLOCK)
            self.hold(torch.cat([lesson.probability(part).cpu() for part in parts]), lesson.support)
