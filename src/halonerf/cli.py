"""The command line: compose the config, plan, and run what is not there yet."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from halonerf import __version__
from halonerf.config.explanations import COMPOSING_ERRORS, explain
from halonerf.config.sources import config_root, register_experiments
from halonerf.errors import UserError
from halonerf.files import atomic_path, output_folder, storage_errors
from halonerf.pipeline.plan import plain, resolve
from halonerf.process.memory import keep_freed_memory
from halonerf.process.signals import stopping


def stage_table() -> str:
    """The stages with what each makes, one a line, for `--help`."""
    from halonerf.stages.specs import SPECS

    return "\n".join(f"  {spec.name:<17} {spec.summary_line()}" for spec in SPECS.values())


def component_table() -> str:
    """The config groups with their options, one group a line, for `--help`; a file named _X is no option."""
    loader = GlobalHydra.instance().config_loader()
    groups = [group for group in loader.list_groups("") if group not in ("hydra", "stages")]
    options = {group: [name for name in loader.get_group_options(group) if name[0] != "_"] for group in groups}
    return "\n".join(f"  {group}: {', '.join(names)}" for group, names in options.items())


OmegaConf.register_new_resolver("stage_table", stage_table, replace=True)
OmegaConf.register_new_resolver("component_table", component_table, replace=True)


@hydra.main(version_base="1.3", config_path=str(config_root() / "conf"), config_name="config")
def _task(config: DictConfig) -> None:
    given = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False) or []  # may hold ${...}
    config.command = _command([str(override) for override in list(given)])
    try:
        print(run(config), flush=True)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # `FailedJobs` tells it with the job's number, and the others go on
        print(f"halonerf: {error}", file=sys.stderr)
        sys.exit(2)


def main() -> None:
    """Entry point of `halonerf`."""
    # Threads that wait should soon sleep: else two runs on one machine slow each other many times over, and PyTorch's
    # threads those of numba. To sleep at once would cost a third of a fit's speed, so libgomp's may turn a thousand
    # times first. It must be said before PyTorch and numba load their OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    arguments = sys.argv[1:]
    if "--version" in arguments:
        print(f"halonerf {__version__}")
        return
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors, instead of printing them
    try:
        with stopping():
            keep_freed_memory()
            register_experiments()
            _task()
    except COMPOSING_ERRORS as error:
        if traceback_wanted == "1" or _of_the_task(error):
            raise
        given = [argument for argument in arguments if not argument.startswith("-")]
        print(f"halonerf: {explain(error, given, _unresolved)}", file=sys.stderr)
        sys.exit(2)
    finally:
        if traceback_wanted is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = traceback_wanted


def _of_the_task(error: Exception) -> bool:
    """Whether an error arose in a run, here or in another process, and not in composing its config."""
    here = any(frame.f_code.co_name == "_task" for frame, _ in traceback.walk_tb(error.__traceback__))
    return here or type(error.__cause__).__name__ == "_RemoteTraceback"


def _unresolved(overrides: Sequence[str]) -> Mapping[str, Any]:
    """The config for these arguments as a plain container, with its references."""
    container = OmegaConf.to_container(composed(overrides), resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _command(overrides: Sequence[str]) -> str:
    """What to type for another stage with the same options."""
    kept = [given for given in overrides if given.split("=")[0] not in ("stage", "plan", "publish", "text", "path")]
    return shlex.join(["halonerf", *kept])


def composed(overrides: Sequence[str]) -> DictConfig:
    """The config that the command line has for these arguments, for callers in Python."""
    register_experiments()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_root() / "conf")):
        return hydra.compose("config", overrides=list(overrides))


def run(config: DictConfig) -> Path | str:
    """Do what `config` says: the artifact folder of its stage, or the plan as text where only that is asked for.

    Raises: UserError.
    """
    plan = resolve(config)
    if config.plan:
        return f"{plan.describe()}\n{plan.folder}"

    # Imported late: it brings in Lightning, which takes seconds that a plan and --help do not need.
    from halonerf.pipeline.run import run_plan

    print(f"scene {plan.goal.scene}\n{plan.describe()}", file=sys.stderr)
    output_folder(config.artifacts, "artifacts")
    target = output_folder(config.publish, "publish") if config.publish else None  # before hours of work
    folder = run_plan(plan, plain(config.logger) if config.logger else None)
    if target is not None:
        publish(folder, target)
    return folder


def publish(folder: Path, target: Path) -> None:
    """Copy the files of an artifact to `target`, each atomically; other files there are left alone."""
    with storage_errors(target):
        for source in sorted(p for p in folder.rglob("*") if p.is_file()):
            copy = target / source.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(copy) as temporary:
                shutil.copyfile(source, temporary)


if __name__ == "__main__":
    main()
