"""The command line: compose the config, plan, and run what is not there yet."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from halonerf.artifacts import ArtifactStore, storage_errors
from halonerf.config_sources import config_root, register_experiments
from halonerf.errors import BadInput, UserError
from halonerf.memory import keep_freed_memory
from halonerf.stages.build import build, locate

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from halonerf.stages.plan import Step

log = logging.getLogger("halonerf")


@hydra.main(version_base="1.3", config_path=str(config_root() / "conf"), config_name="config")
def _task(config: DictConfig) -> None:
    config.command = _command(HydraConfig.get().overrides.task)
    try:
        print(run(config), flush=True)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # the sweep reports it with the job's number
        print(f"halonerf: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("halonerf: stopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def main() -> None:
    """Entry point of `halonerf`."""
    # Threads that wait should soon sleep: else two runs on one machine slow each other many times over, and PyTorch's
    # threads those of numba. To sleep at once would cost a third of a fit's speed, so libgomp's may turn a thousand
    # times first. It must be said before PyTorch and numba load their OpenMP.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    keep_freed_memory()
    register_experiments()
    _task()


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
    """Do what `config` says: the artefact folder of its stage, or the plan as text where only that is asked for.

    Raises: UserError.
    """
    stages, scene = resolve_stages(config)

    # Imported late: they bring in Lightning, which takes seconds, and --help should not.
    from halonerf.stages.plan import describe, make_plan
    from halonerf.stages.run import run_step, serve_step

    store = ArtifactStore(Path(config.artifacts).expanduser().absolute())
    plan = make_plan(config.stage, stages, scene, config.seed, store)
    table = describe(plan, store)
    folder = store.folder(plan[-1].scene, plan[-1].stage, plan[-1].key)
    if config.plan:
        return f"{table}\n{folder}"
    print(f"scene {plan[-1].scene}\n{table}", file=sys.stderr)
    for step in plan:
        if step.kind.interactive:
            folder = serve_step(step, config.seed, store)
        elif not step.cached:
            log.info("%s %s %s", step.scene, step.stage, step.key)
            run_step(step, config.seed, store, _plain(config.trainer), _loggers(config, step))
    if config.publish:
        publish(folder, Path(config.publish).expanduser().absolute())
    return folder


def resolve_stages(config: DictConfig) -> tuple[dict[str, dict[str, Any]], str]:
    """Resolved config of every stage the goal needs, by name, and the name of the scene.

    Raises: BadInput for a missing or unknown stage, or for an option that must be given and is not.
    """
    goal = config.stage
    if goal not in config.road:
        got = "none" if goal is None else f"'{goal}'"
        raise BadInput(
            f"expected stage=NAME, got {got}.\nStages: {', '.join(config.road)}\n"
            "See what a stage would do with: halonerf stage=report plan=true"
        )
    from halonerf.stages.changes import changed, merged

    corpus = config.get("corpus")
    if corpus and hasattr(locate(corpus._target_), "collect"):  # it fetches photos: a scene like any other
        config = config.copy()
        config.scene, config.corpus = corpus, None
    stages: dict[str, dict[str, Any]] = {}
    seen: set[tuple[str, str]] = set()
    waiting: list[tuple[str, dict[str, Any]]] = [(goal, {})]
    while waiting:
        name, changes = waiting.pop()
        if (name, repr(changes)) not in seen:
            seen.add((name, repr(changes)))
            stages[name] = stages.get(name) or _resolved(config, name)
            kind, options = locate(stages[name]["_target_"]), changed(stages[name], name, changes)
            waiting += [(need, changes) for need in kind.requires(options)]
            waiting += [
                (need, merged(changes, read.changes)) for read in kind.sources(options).values() for need in read.stages
            ]
    return stages, build(stages["collect"]["scene"]).name if "collect" in stages else goal


def publish(folder: Path, target: Path) -> None:
    """Copy the files of an artefact to `target`, each whole or not at all; other files there are left alone."""
    with storage_errors(target):
        for source in sorted(p for p in folder.rglob("*") if p.is_file()):
            copy = target / source.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            temporary = copy.with_name(f".{copy.name}.new")
            shutil.copyfile(source, temporary)
            temporary.replace(copy)


def _resolved(config: DictConfig, name: str) -> dict[str, Any]:
    try:
        return _plain(config[name])
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        missing = sorted(_missing(OmegaConf.to_container(config)))
        raise BadInput(
            f"stage '{name}' needs options that were not given; these have no value: {', '.join(missing)}.\n"
            f"Give them as KEY=VALUE, for example: halonerf stage={config.stage} {missing[0]}=..."
        ) from error


def _missing(node: Any, place: str = "") -> Iterator[str]:
    """Dotted names of the options below `node`, an unresolved plain container, that have no value."""
    if node == "???":
        yield place
    elif isinstance(node, dict):
        for key, below in node.items():
            yield from _missing(below, f"{place}.{key}" if place else str(key))


def _plain(config: DictConfig) -> dict[str, Any]:
    """Resolved and turned into plain mappings; an option without a value is an error."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _loggers(config: DictConfig, step: Step) -> Callable[[Path], list[Logger]]:
    def make(folder: Path) -> list[Logger]:
        if not config.logger:
            return []
        logs = folder / "logs"
        earlier = len(list(logs.iterdir())) if logs.is_dir() else 0  # a resumed fit keeps its first log
        logger = build(_plain(config.logger), save_dir=str(logs / f"run{earlier}"))
        logger.log_hyperparams({"stage": step.stage, "fingerprint": step.key, "config": dict(step.config)})
        return [logger]

    return make


if __name__ == "__main__":
    main()
