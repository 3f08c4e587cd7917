"""Checks of a plan before its steps run: the trainer's options on this machine, and what finished inputs hold."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from halonerf.artifacts import ArtifactStore
from halonerf.errors import BadInput, first_line
from halonerf.pipeline.plan import Step

FULL_PRECISION = "32-true"
log = logging.getLogger("halonerf")


def check_inputs(steps: Sequence[Step], store: ArtifactStore) -> None:
    """Let the steps to come check those of their inputs that are finished.

    Raises: BadInput where one of them cannot work with them.
    """
    for step in steps:
        if step.spec.interactive or not step.cached:
            finished = {need: artifact for need, artifact in step.inputs.items() if store.has(*artifact)}
            step.spec.check_inputs({need: store.folder(*artifact) for need, artifact in finished.items()})


def check_trainer(steps: Sequence[Step], options: Mapping[str, Any]) -> None:
    """Make a trainer as these steps will, without using it, and say which options have no effect on any of them.

    Raises: BadInput for options that Lightning refuses on this machine, such as a GPU where there is none.
    """
    if not steps:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lightning.Trainer(**options, logger=False, enable_checkpointing=False, enable_model_summary=False)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        given = ", ".join(f"trainer.{name}={value}" for name, value in options.items())
        raise BadInput(
            f"expected trainer options that work on this machine, got {given}.\nLightning: {first_line(error)}\n"
            "The defaults work on any machine: trainer.accelerator=cpu trainer.devices=1 trainer.strategy=auto"
        ) from error
    precision = options.get("precision", FULL_PRECISION)
    if precision != FULL_PRECISION and not any(step.spec.mixed_precision for step in steps):
        log.warning("trainer.precision=%s has no effect: all stages of this run work in %s", precision, FULL_PRECISION)
