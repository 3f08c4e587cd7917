"""The plan of a run: which stages its goal reads, in order, with the fingerprint of each and whether it is cached.

A fingerprint is the SHA-256 of what decides a stage's output: the name and version of the stage; its options, without
those that change no result; the contents of the files that options name; the identity of a scene's data; the seed,
where it is used; the trainer's options that change results; the fingerprints of what the stage reads; and the code: of
this package its version and the `version` of each class, of classes from elsewhere their source files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException

from halonerf import __version__
from halonerf.artifacts import ArtifactStore, fingerprint
from halonerf.errors import BadInput, first_line
from halonerf.factory import build
from halonerf.files import files_digest
from halonerf.pipeline.declarations import Declaration, declaration, declaration_in_source
from halonerf.pipeline.overrides import apply_overrides, merge_overrides
from halonerf.pipeline.run_options import RUN_OPTIONS, checked_trainer
from halonerf.pipeline.spec import StageSpec, spec_of
from halonerf.pipeline.validation import checked, checked_values

# Options of `lightning.Trainer` that choose hardware and logging. All others change what a fit learns.
HARDWARE_OPTIONS = frozenset(
    {"accelerator", "devices", "num_nodes", "strategy", "log_every_n_steps", "enable_progress_bar", "profiler"}
)


class ArtifactId(NamedTuple):
    """Names a folder of the store."""

    scene: str
    stage: str
    key: str


@dataclass(frozen=True)
class Step:
    """One stage of a plan."""

    scene: str  # the folder above its output
    stage: str
    config: Mapping[str, Any] = field(repr=False)
    key: str  # its fingerprint
    inputs: Mapping[str, ArtifactId]  # "<stage>" of its own scene, "<name>/<stage>" of another that it reads
    cached: bool

    @property
    def spec(self) -> type[StageSpec]:
        return spec_of(self.config["_target_"])

    @property
    def id(self) -> ArtifactId:
        return ArtifactId(self.scene, self.stage, self.key)


@dataclass(frozen=True)
class Plan:
    """The steps that a config requires, each after those it reads; the goal comes last.

    trainer: arguments of `lightning.Trainer`, plain values.
    """

    steps: Sequence[Step]
    seed: int
    trainer: Mapping[str, Any]
    store: ArtifactStore

    @property
    def goal(self) -> Step:
        return self.steps[-1]

    @property
    def folder(self) -> Path:
        """Where the goal's output is, or will be."""
        return self.store.folder(*self.goal.id)

    def describe(self) -> str:
        """The plan as a table: stage, fingerprint, and cached, to resume or to do; the scene too where several are."""
        return describe(self.steps, self.store)


class StageConfigs(Mapping[str, Mapping[str, Any]]):
    """Resolved options of every stage in a composed config, by name and in the config's order; each resolved once.

    A stage is a top-level entry of the config whose `_target_` is a `StageSpec`.

    Args:
        moved: entries of the config that the user wrote under another name, to that name.
    """

    def __init__(self, config: DictConfig, moved: Mapping[str, str] = MappingProxyType({})) -> None:
        self.config, self.moved = config, moved
        self._resolved: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def names(self) -> list[str]:
        """Names of all stages."""
        parts = {str(name): self.config._get_node(name) for name in self.config}
        targets = {name: part.get("_target_") for name, part in parts.items() if isinstance(part, DictConfig) and part}
        return [name for name, target in targets.items() if target and is_stage(target)]

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        if name not in self._resolved:
            if name not in self.names:
                raise KeyError(name)
            self._resolved[name] = self._resolve(name)
        return self._resolved[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _resolve(self, name: str) -> Mapping[str, Any]:
        try:
            return checked(plain(self.config[name]), lambda option: self.written_at(f"{name}.{option}"))
        except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
            missing = sorted(missing_options(OmegaConf.to_container(self.config)))
            raise BadInput(
                f"stage '{name}' needs options that were not given; these have no value: {', '.join(missing)}.\n"
                f"Give them as KEY=VALUE, for example: halonerf stage={self.config.stage} {missing[0]}=..."
            ) from error
        except OmegaConfBaseException as error:
            raise BadInput(
                f"expected the options of stage '{name}' to have values: {first_line(error)}.\n"
                "Text with ${ is read as a reference to another option; write \\${ for the characters themselves."
            ) from error

    @cached_property
    def _written(self) -> Any:
        """The config as a plain container, with its references."""
        return OmegaConf.to_container(self.config, resolve=False)

    def written_at(self, option: str) -> str:
        """The dotted name of the option whose value another takes: `field` for `reconstruct.field`."""
        node = self._written
        for part in option.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        reference = re.fullmatch(r"\$\{(?:oc\.select:)?([\w.]+)(?:,\w+)?\}", node) if isinstance(node, str) else None
        return self.written_at(reference[1]) if reference else self.moved.get(option, option)


def missing_options(node: Any, place: str = "") -> Iterator[str]:
    """Dotted names of the options below `node`, an unresolved plain container, that have no value."""
    if node == "???":
        yield place
    elif isinstance(node, dict):
        for key, below in node.items():
            yield from missing_options(below, f"{place}.{key}" if place else str(key))


def resolve(config: DictConfig) -> Plan:
    """The plan of a composed config; nothing is run.

    Raises: BadInput for a missing or unknown stage, for an option that must be given and is not, and for whatever a
    stage can tell to be wrong before it runs.
    """
    top = {str(name): value for name in config if (value := config._get_node(name)) is not None}
    given = {name: value._value() for name, value in top.items() if name in RUN_OPTIONS}
    checked_values(given, RUN_OPTIONS, str)
    corpus, moved = config.get("corpus"), {}
    if corpus and "collect" in declaration(corpus._target_).names:  # it fetches photos: a scene like any other
        config = config.copy()
        config.scene, config.corpus, moved = corpus, None, {"scene": "corpus"}
    stages = StageConfigs(config, moved)
    if config.stage not in stages.names:
        got = "none" if config.stage is None else f"'{config.stage}'"
        raise BadInput(
            f"expected stage=NAME, got {got}.\nStages: {', '.join(stages)}\n"
            "See what a stage would do with: halonerf stage=report plan=true"
        )
    store = ArtifactStore(Path(config.artifacts).expanduser().absolute())
    trainer = checked_trainer(plain(config.trainer))
    steps = make_plan(config.stage, stages, lambda: build(stages["collect"]["scene"]).name, config.seed, store, trainer)
    return Plan(steps, config.seed, trainer, store)


def make_plan(
    goal: str,
    stages: Mapping[str, Mapping[str, Any]],
    scene: str | Callable[[], str],
    seed: int,
    store: ArtifactStore,
    trainer: Mapping[str, Any] | None = None,
) -> list[Step]:
    """Every stage that `goal` reads, directly or not, each after those it reads; `goal` comes last.

    Args:
        stages: resolved config of every stage, by name.
        scene: name of the scene, or what gives it: called once, where a stage belongs to the scene. Stages may read
            others besides (`StageSpec.sources`), with the same options.
        seed: enters the fingerprints of seeded stages and of what follows them.
        trainer: arguments of `lightning.Trainer`.

    Raises: BadInput for an unknown stage.
    """
    steps: dict[ArtifactId, Step] = {}
    visited: dict[tuple[str, str, str], ArtifactId] = {}
    names: dict[str, str] = {}  # of scenes, by config

    def name_of(source: Mapping[str, Any] | None) -> str:
        if repr(source) not in names:
            own = scene if isinstance(scene, str) else None
            found = (own or scene()) if source is None else build(source).name  # type: ignore[operator]
            names[repr(source)] = found
        return names[repr(source)]

    def visit(
        name: str, source: Mapping[str, Any] | None, overrides: Mapping[str, Any], trail: tuple[str, ...]
    ) -> ArtifactId:
        place = (name, repr(source), repr(overrides))
        if place in visited:
            return visited[place]
        if name not in stages:
            raise BadInput(f"expected a stage, got '{name}'.\nStages: {', '.join(sorted(stages))}")
        if name in trail:
            raise BadInput(f"stages read each other in a circle: {' -> '.join((*trail, name))}")
        config = apply_overrides(stages[name], name, overrides)
        if source is not None:  # another scene: its own photos, and its own records
            config |= {key: value for key, value in (("scene", source), ("corpus", None)) if key in config}
        if overrides or source is not None:
            config = checked(config, lambda option: f"{name}.{option}")
        spec = spec_of(config["_target_"])
        needs = spec.requires(config)
        inputs = {need: visit(need, source, overrides, (*trail, name)) for need in needs}
        for other, read in spec.sources(config).items():
            theirs = source if read.scene is None else read.scene
            for need in read.stages:
                changed = merge_overrides(overrides, read.overrides)
                inputs[f"{other}/{need}"] = visit(need, theirs, changed, (*trail, name))
        key = fingerprint(
            {
                "stage": name,
                "config": identity_of(config),
                "seed": seed if spec.seeded else None,
                "trainer": trainer_identity(spec, trainer or {}),
                "inputs": {need: artifact.key for need, artifact in inputs.items()},
            }
        )
        folder = spec.owner(config) or (name_of(source) if needs or "scene" in config else name)
        made = ArtifactId(folder, name, key)
        steps.setdefault(made, Step(folder, name, config, key, inputs, store.has(*made)))
        visited[place] = made
        return made

    visit(goal, None, {}, ())
    return list(steps.values())


def trainer_identity(spec: type[StageSpec], trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's options that change the output of a stage.

    Of a stage that learns all but hardware and logging; of others the limit on the items that are done. Precision
    counts for stages that work in it.
    """
    kept = {key: value for key, value in trainer.items() if key not in HARDWARE_OPTIONS}
    precision = kept.pop("precision", None)
    if not spec.trainable:
        kept = {key: value for key, value in kept.items() if key in ("limit_predict_batches", "fast_dev_run")}
    return {**kept, "precision": precision} if spec.mixed_precision else kept


def identity_of(value: Any, declared: Declaration | None = None, option: str = "") -> Any:
    """`value` as it enters a fingerprint: runtime options left out, data replaced by the digest of its contents.

    Args:
        declared: of the class whose options these are; a mapping with a `_target_` is another component.
    """
    if isinstance(value, Mapping):
        if "_target_" not in value:
            kept = value if declared is None else _kept(value, declared)
            return {key: identity_of(entry, declared, key) for key, entry in kept.items()}
        declared = declaration(value["_target_"])
        if "identity" in declared.names:  # a source of data
            options: Any = build(value).identity()
        else:
            kept = _kept(value, declared)
            options = {key: identity_of(entry, declared, key) for key, entry in kept.items() if key != "_target_"}
        return {"class": value["_target_"], "code": _code(declared), "options": options}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [identity_of(entry, declared, option) for entry in value]
    if isinstance(value, str) and declared is not None:
        return _contents_of(value, declared, option) or value
    return value


def _kept(options: Mapping[str, Any], declared: Declaration) -> dict[str, Any]:
    """The options that can change a result."""
    later, nothing = declared.compatible_defaults, object()
    return {
        key: value
        for key, value in options.items()
        if key not in declared.runtime_options and value != later.get(key, nothing)
    }


def _code(declared: Declaration) -> dict[str, Any]:
    """Identity of a class's code: of this package by version, of others by the contents of their source files."""
    if declared.own:
        return {"halonerf": __version__, "version": declared.version}
    outside = [path for path in declared.files if not path.is_relative_to(Path(__file__).parents[1])]
    return {"sources": [files_digest(path.parent, [path]) for path in outside]}


def _contents_of(value: str, declared: Declaration, option: str) -> dict[str, str] | None:
    """Digest of the file or folder that an option names, None where it names none.

    The weights that come with a component, `weights/<name>.safetensors` beside its class, go by their contents, too.
    """
    path = Path(value).expanduser()
    if option in declared.file_options:
        return _contents(path) if path.is_file() else None
    if option not in declared.data_options:
        return None
    packaged = [file.parent / "weights" / f"{value}.safetensors" for file in declared.files[:1]]
    for place in (*packaged, path):
        if place.exists():
            return _contents(place)
    return None


def _contents(path: Path) -> dict[str, str]:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return {"contents": files_digest(path if path.is_dir() else path.parent, files)}


def is_stage(target: str) -> bool:
    """Whether a `_target_` names a stage: a class with a spec, or one whose bases are stages."""
    declared = declaration_in_source(target)
    return declared is not None and {"requires", "needs"} <= declared.names


def describe(plan: Sequence[Step], store: ArtifactStore) -> str:
    """A plan as a table: stage, fingerprint, and cached, to resume or to do; the scene too where several are."""
    several = len({step.scene for step in plan}) > 1
    width = max(len(step.scene) for step in plan) + 1
    lines = [f"{'scene':<{width}}" * several + f"{'stage':<16} {'fingerprint':<16} state"]
    for step in plan:
        partial = store.folder(step.scene, step.stage, step.key).with_name(f"{step.key}.partial")
        state = "cached" if step.cached else "to resume" if partial.is_dir() else "to do"
        lines.append(f"{step.scene:<{width}}" * several + f"{step.stage:<16} {step.key:<16} {state}")
    return "\n".join(lines)


def plain(config: DictConfig) -> dict[str, Any]:
    """A config as plain mappings, resolved; an option without a value is an error."""
    values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
