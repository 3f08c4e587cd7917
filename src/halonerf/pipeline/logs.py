"""Logs of the stages that learn: what each of Lightning's loggers is told, and how pictures reach it."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from halonerf.errors import BadInput, UserError, first_line, require
from halonerf.factory import build
from halonerf.pipeline.plan import Step
from halonerf.pipeline.stage import Stage

PACKAGES = {"WandbLogger": "wandb", "TensorBoardLogger": "tensorboard"}  # that loggers need
TAG_CHARS = 64  # W&B's limit
WAIT_S = 30  # for W&B's server when a run begins; W&B's own limit is 90
OFFLINE = "Write the log to disk and send it later with: logger.offline=true\nor log elsewhere with: logger=csv"
log = logging.getLogger("halonerf")


def check_logger(config: Mapping[str, Any], folder: Path) -> None:
    """Check that a logger can be made and reached with what its config says, before hours of work.

    Raises: MissingExtra, BadInput.
    """
    for ending, package in PACKAGES.items():
        if str(config["_target_"]).endswith(ending):
            require(package, package)
    with _logger_errors():
        build(config, save_dir=str(folder))  # writes nothing until it logs
    if _is_wandb(config) and not config.get("offline"):
        import wandb

        with _logger_errors():
            ready = os.environ.get("WANDB_MODE", "online") != "online" or wandb.login(prompt=False)
        if not ready:
            raise BadInput(
                "expected to be logged in to Weights & Biases for logger=wandb, found no API key.\n"
                f"Log in with: wandb login, or set WANDB_API_KEY.\n{OFFLINE}"
            )


def make_loggers(config: Mapping[str, Any] | None, step: Step, folder: Path, group: str) -> list[Logger]:
    """The logger of a step, writing below `<folder>/logs`; none without a config.

    Args:
        group: W&B shows the runs of a group together; a group that the config names goes first.

    Raises: UserError where W&B cannot begin a run.
    """
    if not config:
        return []
    logs = folder / "logs"
    earlier = len(list(logs.iterdir())) if logs.is_dir() else 0  # a resumed fit keeps its first log
    place = logs / f"run{earlier}"
    options = _wandb_options(config, step, group) if _is_wandb(config) else {}
    with _logger_errors():
        logger: Logger = build(config, save_dir=str(place), **options)
        about = {"scene": step.scene, "stage": step.stage, "fingerprint": step.key, "config": dict(step.config)}
        logger.log_hyperparams({**about, "inputs": {name: artifact.key for name, artifact in step.inputs.items()}})
    return [logger]


def finish_loggers(loggers: Sequence[Logger]) -> None:
    """Close the logs of a fit that has ended well."""
    for logger in loggers:
        logger.finalize("success")
        finish = getattr(_experiment(logger), "finish", None)
        if callable(finish):  # one run a stage, for loggers that keep a run open
            finish()


def tell_how_to_send(folder: Path) -> None:
    """Name the commands that send what W&B has written without a network, below the folder of a finished stage."""
    for run in sorted(folder.glob("logs/*/wandb/offline-run-*")):
        log.info("send this log to Weights & Biases with: wandb sync %s", run)


def group_of(goal: Step) -> str:
    """Name under which logs of one command belong together; all jobs of a sweep have that of the sweep."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return f"sweep {Path(str(HydraConfig.get().sweep.dir)).name}"
    return f"{goal.scene} {goal.stage} {goal.key}"


def component_names(config: Any) -> Iterator[str]:
    """Class names of the components in a stage's options, such as `Gaussians`, in their order."""
    if isinstance(config, Mapping):
        parts = list(config.values())
    else:
        parts = list(config) if isinstance(config, Sequence) and not isinstance(config, str) else []
    for part in parts:
        if isinstance(part, Mapping) and "_target_" in part:
            yield str(part["_target_"]).rpartition(".")[2]
        yield from component_names(part)


class LogPictures(Callback):
    """Gives a stage's pictures to every logger that can show them."""

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        shown = [logger for logger in trainer.loggers if picture_sink(logger)]
        if not shown:
            return
        assert isinstance(pl_module, Stage)
        for name, picture in pl_module.pictures().items():
            for logger in shown:
                sink = picture_sink(logger)
                assert sink is not None
                sink(f"{pl_module.name}/{name}", picture, trainer.global_step)


def picture_sink(logger: Logger) -> Callable[[str, np.ndarray, int], None] | None:
    """How `logger` takes a picture [H, W, 3] uint8 under a name and a step, or None where it takes none."""
    log_image = getattr(logger, "log_image", None)  # W&B
    if callable(log_image):
        return lambda name, picture, step: log_image(key=name, images=[picture], step=step)
    add_image = getattr(_experiment(logger), "add_image", None)  # TensorBoard
    if callable(add_image):
        return functools.partial(add_image, dataformats="HWC")
    return None


def _wandb_options(config: Mapping[str, Any], step: Step, group: str) -> dict[str, Any]:
    tags = [step.scene, step.stage, *component_names(step.config), *(config.get("tags") or ())]
    # offline, W&B would name folders that are renamed when the stage is finished
    settings = {"init_timeout": WAIT_S, "silent": bool(config.get("offline")), **(config.get("settings") or {})}
    return {
        "name": config.get("name") or f"{step.scene} {step.stage}",
        "group": config.get("group") or group,
        "job_type": config.get("job_type") or step.stage,
        "tags": list(dict.fromkeys(str(tag)[:TAG_CHARS] for tag in tags)),
        "settings": settings,
    }


@contextmanager
def _logger_errors() -> Iterator[None]:
    """Turn what loggers raise for wrong options, and W&B for a server that does not answer, into errors of ours."""
    try:
        yield
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise BadInput(
            f"expected options of the logger that it takes, but: {first_line(error)}\n"
            "See what is set with: halonerf --cfg job --package logger"
        ) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] != "wandb":
            raise
        raise UserError(f"Weights & Biases could not begin its log: {first_line(error)}\n{OFFLINE}") from error


def _is_wandb(config: Mapping[str, Any]) -> bool:
    return str(config["_target_"]).endswith("WandbLogger")


def _experiment(logger: Logger) -> Any:
    """What a logger writes to: W&B's run, TensorBoard's writer."""
    return getattr(logger, "experiment", None)
