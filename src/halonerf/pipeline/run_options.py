"""Types of the options that belong to no component: those at the top of the config, and the trainer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import MinLen

from halonerf.config.option_types import NonNegativeInt, PositiveInt, Seed, Text
from halonerf.config.suggestions import unknown_option
from halonerf.errors import BadInput
from halonerf.pipeline.arguments import signature_of
from halonerf.pipeline.validation import checked_values

RUN_OPTIONS: Mapping[str, Any] = {
    "stage": Text | None,
    "plan": bool,
    "text": str | Sequence[str] | None,
    "path": Text | None,
    "seed": Seed,
    "artifacts": Text,
    "command": str,
    "publish": Text | None,
}
TRAINER = "lightning.pytorch.trainer.trainer.Trainer"
TRAINER_OPTIONS: Mapping[str, Any] = {  # narrower than Lightning's own annotations
    "accelerator": Literal["cpu", "gpu", "auto", "cuda", "mps", "tpu"],
    "devices": PositiveInt | Literal["auto", -1] | Annotated[Sequence[NonNegativeInt], MinLen(1)],
    "num_nodes": PositiveInt,
    "strategy": Text,
    "precision": Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"],
    "log_every_n_steps": NonNegativeInt,
}
PRECISIONS = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}  # Lightning's older names
GIVEN = (  # to the trainer by the stages
    "logger", "callbacks", "max_epochs", "default_root_dir", "enable_checkpointing", "enable_model_summary",
    "inference_mode", "num_sanity_val_steps",
)  # fmt: skip


def checked_trainer(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `lightning.Trainer` once they are of its types, the precision by its current name.

    Raises: BadInput for a value of another type, an argument that it does not have, or one that stages give.
    """
    arguments = signature_of(TRAINER).arguments
    for name in options:
        if name in GIVEN:
            raise BadInput(f"expected trainer options that choose hardware, got trainer.{name}, which stages set.")
        if name not in arguments:
            known = [*(known for known in arguments if known not in GIVEN)]
            raise BadInput(unknown_option(name, known, f"trainer.{name}"))
    types = {name: argument.type for name, argument in arguments.items()} | dict(TRAINER_OPTIONS)
    given = dict(options)
    if "precision" in given:
        given["precision"] = PRECISIONS.get(str(given["precision"]), given["precision"])
    return checked_values(given, types, lambda name: f"trainer.{name}")
