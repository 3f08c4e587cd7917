"""Run the steps of a plan with Lightning: each leaves a finished folder, or a partial one that the next run resumes."""

from __future__ import annotations

import functools
import logging
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger

from halonerf import __version__
from halonerf.artifacts import MANIFEST, ArtifactStore
from halonerf.errors import require
from halonerf.factory import build
from halonerf.files import safe_name, storage_errors, write_json
from halonerf.pipeline.checkpoints import trainer_plugins
from halonerf.pipeline.checks import check_inputs, check_trainer
from halonerf.pipeline.logs import LogPictures, check_logger, finish_loggers, group_of, make_loggers, tell_how_to_send
from halonerf.pipeline.plan import Plan, Step
from halonerf.pipeline.stage import Stage

LIBRARIES = ("torch", "lightning", "transformers", "timm", "kornia", "pycolmap", "numba", "numpy", "mitsuba")
log = logging.getLogger("halonerf")


def run_plan(plan: Plan, logger: Mapping[str, Any] | None = None) -> Path:
    """Run the steps that are not cached; gives the folder of the goal.

    Args:
        logger: config of a Lightning logger for the stages that learn; None: no log.

    Raises: UserError.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # its lines on hardware and seeds are in the manifest
    group = group_of(plan.goal)
    if logger and any(step.spec.trainable and not step.cached for step in plan.steps):
        check_logger(logger, plan.store.root)
    for step in plan.steps:
        for package, extra in step.spec.extra_packages(step.config).items() if not step.cached else ():
            require(package, extra)
    waiting = [step for step in plan.steps if step.spec.interactive or not step.cached]
    check_trainer([step for step in waiting if not step.spec.interactive], plan.trainer)
    for step in waiting:
        build(step.config, nested=False)  # constructors check what options mean together
    folder = plan.folder
    for i, step in enumerate(plan.steps):
        if i == 0 or not step.cached:
            check_inputs(plan.steps[i:], plan.store)
        if step.spec.interactive:
            folder = serve_step(step, plan.seed, plan.store)
        elif not step.cached:
            log.info("%s %s %s", *step.id)
            run_step(
                step,
                plan.seed,
                plan.store,
                plan.trainer,
                lambda place, step=step: make_loggers(logger, step, place, group),  # type: ignore[misc]
            )
            tell_how_to_send(plan.store.folder(*step.id))
    return folder


def run_step(
    step: Step,
    seed: int,
    store: ArtifactStore,
    trainer: Mapping[str, Any],
    make_logger: Callable[[Path], list[Logger]],
) -> Path:
    """Run one step unless it is cached; gives its folder.

    Args:
        trainer: arguments of `lightning.Trainer` that choose the hardware.
        make_logger: loggers that write below the folder they are given.

    Raises: StorageError, and whatever the stage raises; what is finished by then is kept for the next run.
    """
    final = store.folder(step.scene, step.stage, step.key)
    with store.create(step.scene, step.stage, step.key) as folder:
        if folder is None:
            return final
        started, resumed = time.time(), any(folder.iterdir())
        seed = seed if step.spec.seeded else 0
        inputs = {need: store.folder(*artifact) for need, artifact in step.inputs.items()}
        stage: Stage = build(step.config, nested=False)
        stage.bind(folder, inputs, seed)
        lightning.seed_everything(seed, verbose=False)
        with storage_errors(store.root), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message="predict returned None")  # stages write files instead
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning's own, for PyTorch to come
            warnings.filterwarnings("ignore", message=".*in eval mode at the start.*")  # what is frozen is, on purpose
            with torch_threads(stage.threads):
                stage.prepare()
                _work(stage, folder, trainer, make_logger(folder) if stage.trainable else [])
                stage.finish()
            write_json(
                folder / MANIFEST,
                {
                    "stage": step.stage,
                    "scene": step.scene,
                    "fingerprint": step.key,
                    "version": stage.version,
                    "config": step.config,
                    "seed": seed,
                    "inputs": {need: artifact.key for need, artifact in step.inputs.items()},
                    "code": code_version(),
                    "libraries": library_versions(),
                    "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
                    "wall_s": round(time.time() - started, 2),
                    "resumed": resumed,
                    "peak_memory_mb": _peak_memory_mb(),
                    "summary": stage.summary(),
                },
            )
    return final


def serve_step(step: Step, seed: int, store: ArtifactStore) -> Path:
    """Run an interactive stage until the user quits; gives the folder of what was saved.

    That folder belongs to the scene, not to the options, and is never "finished": nothing in it is made twice.

    Raises: StorageError, and whatever the stage raises.
    """
    folder = store.root / safe_name(step.scene) / step.stage
    with storage_errors(store.root):
        folder.mkdir(parents=True, exist_ok=True)
        stage: Stage = build(step.config, nested=False)
        inputs = {need: store.folder(*artifact) for need, artifact in step.inputs.items()}
        stage.bind(folder, inputs, seed if step.spec.seeded else 0)
        stage.serve()
    return folder


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch with `count` threads inside, and as before after it; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _work(stage: Stage, folder: Path, options: Mapping[str, Any], loggers: list[Logger]) -> None:
    callbacks: list[Callback] = [RichProgressBar(console_kwargs={"stderr": True})]
    common: dict[str, Any] = {
        **options,
        "default_root_dir": folder,
        "callbacks": callbacks,
        "enable_model_summary": False,
        "inference_mode": False,  # a stage may optimise something small while it predicts
    }
    if not stage.mixed_precision:
        common.pop("precision", None)
    data = stage.datamodule()
    if not stage.trainable:
        if len(data.predict_dataloader()):
            trainer = lightning.Trainer(**common, logger=False, enable_checkpointing=False)
            trainer.predict(stage, datamodule=data, return_predictions=False)
        return
    checkpoints = folder / "checkpoints"
    callbacks += [
        # not save_last with save_top_k=0: that writes once, when the fit ends
        ModelCheckpoint(checkpoints, "last", enable_version_counter=False, save_on_train_epoch_end=True),
        LogPictures(),
    ]
    last = checkpoints / "last.ckpt"
    common["plugins"] = [*common.get("plugins", ()), *trainer_plugins(common.get("strategy"))]
    trainer = lightning.Trainer(**common, logger=loggers, max_epochs=stage.max_epochs, num_sanity_val_steps=0)
    trainer.fit(stage, datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    finish_loggers(loggers)


@functools.cache
def code_version() -> str:
    """The package's version, with the commit where the package runs from a checkout."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return __version__
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}+{commit.stdout.strip()}"


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape results; those of extras where they are installed."""
    found = {"python": sys.version.split()[0]}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB; of the accelerator besides where one is used."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    device = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return round(peak + device, 1)
