"""The plan: which stages a goal needs, in order, with the fingerprint of each and whether it is there already."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from halonerf.artifacts import ArtifactStore, fingerprint
from halonerf.errors import BadInput
from halonerf.factory import build, locate
from halonerf.files import files_digest
from halonerf.pipeline.overrides import apply_overrides, merge_overrides
from halonerf.pipeline.stage import Stage

# Options that change where or how fast the work is done, never what comes out.
RUNTIME_OPTIONS = frozenset(
    {"workers", "threads", "device", "memory_mb", "command"}
    | {"cache", "timeout_s", "retries", "backoff_s", "patience_s", "per_minute", "key_variable"}  # of a server
    | {"engine", "address", "worker_gpus"}  # of a cluster
)
# Options that may name a file or a folder: its contents count, not its place.
DATA_OPTIONS = frozenset(
    {"path", "masks", "metadata", "weights", "matcher", "vocabulary", "light", "video", "text"}
    | {"original", "original_table", "prompt", "same_as"}
)


class ArtifactId(NamedTuple):
    """Names a folder of the store."""

    scene: str
    stage: str
    key: str


@dataclass(frozen=True)
class Step:
    """One stage of a plan."""

    scene: str  # under which its output is kept
    stage: str
    config: Mapping[str, Any] = field(repr=False)
    key: str  # its fingerprint
    inputs: Mapping[str, ArtifactId]  # "<stage>" of its own scene, "<name>/<stage>" of another that it reads
    cached: bool

    @property
    def kind(self) -> type[Stage]:
        return locate(self.config["_target_"])


def make_plan(
    goal: str, stages: Mapping[str, Mapping[str, Any]], scene: str, seed: int, store: ArtifactStore
) -> list[Step]:
    """Every stage that `goal` reads, directly or not, each after those it reads; `goal` comes last.

    Args:
        stages: resolved config of every stage, by name.
        scene: name of the scene; stages may read others besides (`Stage.sources`), with the same options.
        seed: enters the fingerprints of the stages that use chance (`Stage.seeded`) and of what follows them.

    Raises: BadInput for an unknown stage.
    """
    steps: dict[ArtifactId, Step] = {}
    visited: dict[tuple[str, str, str], ArtifactId] = {}

    def visit(
        name: str, scene: str, source: Mapping[str, Any] | None, changes: Mapping[str, Any], trail: tuple[str, ...]
    ) -> ArtifactId:
        place = (name, repr(source), repr(changes))
        if place in visited:
            return visited[place]
        if name not in stages:
            raise BadInput(f"expected a stage, got '{name}'.\nStages: {', '.join(sorted(stages))}")
        config = apply_overrides(stages[name], name, changes)
        if source is not None:  # another scene: its own photos, and its own records
            config |= {key: value for key, value in (("scene", source), ("corpus", None)) if key in config}
        kind: type[Stage] = locate(config["_target_"])
        needs = kind.requires(config)
        if name in trail:
            raise BadInput(f"stages read each other in a circle: {' -> '.join((*trail, name))}")
        inputs = {need: visit(need, scene, source, changes, (*trail, name)) for need in needs}
        for other, read in kind.sources(config).items():
            where = scene if read.scene is None else build(read.scene).name
            theirs = source if read.scene is None else read.scene
            for need in read.stages:
                ways = merge_overrides(changes, read.overrides)
                inputs[f"{other}/{need}"] = visit(need, where, theirs, ways, (*trail, name))
        chosen = {
            key: value
            for key, value in config.items()
            if key not in kind.compatible_defaults or value != kind.compatible_defaults[key]
        }
        key = fingerprint(
            {
                "stage": name,
                "version": kind.version,
                "config": identity_of(chosen),
                "seed": seed if kind.seeded else None,
                "inputs": {need: artifact.key for need, artifact in inputs.items()},
            }
        )
        made = ArtifactId(kind.owner(config) or (scene if needs or "scene" in config else name), name, key)
        steps.setdefault(made, Step(*made[:2], config, key, inputs, store.has(*made)))
        visited[place] = made
        return made

    visit(goal, scene, None, {}, ())
    return list(steps.values())


def identity_of(value: Any, option: str = "") -> Any:
    """`value` as it enters a fingerprint: runtime options left out, data replaced by the digest of its contents."""
    if isinstance(value, Mapping):
        if "_target_" in value and hasattr(locate(value["_target_"]), "identity"):
            return {"_target_": value["_target_"], "identity": build(value).identity()}
        kept = {key: entry for key, entry in value.items() if key not in RUNTIME_OPTIONS}
        return {
            key: _packaged(value, entry) if key == "weights" else identity_of(entry, key) for key, entry in kept.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [identity_of(entry, option) for entry in value]
    if isinstance(value, str) and option in DATA_OPTIONS and Path(value).expanduser().exists():
        return _contents(Path(value).expanduser())
    return value


def _contents(path: Path) -> dict[str, str]:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return {"contents": files_digest(path if path.is_dir() else path.parent, files)}


def _packaged(component: Mapping[str, Any], name: Any) -> Any:
    """The identity of `name` as weights of a component: of the file that comes with its package, if there is one."""
    if isinstance(name, str) and "_target_" in component:
        shipped = Path(inspect.getfile(locate(component["_target_"]))).parent / "weights" / f"{name}.safetensors"
        if shipped.is_file():
            return _contents(shipped)
    return identity_of(name, "weights")


def describe(plan: Sequence[Step], store: ArtifactStore) -> str:
    """The plan as a table for people: stage, fingerprint, cached or to do; the scenes, too, where there are several."""
    several = len({step.scene for step in plan}) > 1
    width = max(len(step.scene) for step in plan) + 1
    lines = [f"{'scene':<{width}}" * several + f"{'stage':<16} {'fingerprint':<16} state"]
    for step in plan:
        partial = store.folder(step.scene, step.stage, step.key).with_name(f"{step.key}.partial")
        state = "cached" if step.cached else "to resume" if partial.is_dir() else "to do"
        lines.append(f"{step.scene:<{width}}" * several + f"{step.stage:<16} {step.key:<16} {state}")
    return "\n".join(lines)
