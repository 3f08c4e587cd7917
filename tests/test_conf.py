"""Every option of every config group composes, and its YAML lists its class's arguments: all, and no others."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from halonerf.cli import config_root, resolve_stages
from halonerf.errors import BadInput
from halonerf.factory import locate
from halonerf.pipeline.stage import Stage
from helpers.configs import load_option, option_files

CONF = config_root() / "conf"
COMPONENTS = sorted(
    path
    for group in CONF.iterdir()
    if group.is_dir() and group.name not in ("experiments", "hydra", "logger", "trainer")
    for path in option_files(group)
)
EXPERIMENTS = sorted((CONF / "experiments").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("config", overrides=list(overrides))


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_yaml_lists_the_constructors_arguments(path: Path):
    written = load_option(path)
    keys = set(written.keys())
    arguments = inspect.signature(locate(str(written._target_))).parameters
    assert all(p.kind is not p.VAR_KEYWORD for p in arguments.values()), "arguments must be spelt out"
    assert keys - {"_target_"} == set(arguments)


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_yaml_and_signature_agree_on_defaults(path: Path):
    written = load_option(path)
    for name, parameter in inspect.signature(locate(str(written._target_))).parameters.items():
        value = OmegaConf.to_container(written)[name]
        if parameter.default is parameter.empty or (isinstance(value, str) and value.startswith("${")):
            continue
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        default = dict(default) if isinstance(default, Mapping) else default
        assert value in (default, "???"), name


@pytest.mark.parametrize("path", [*COMPONENTS, *CONF.glob("*/_*.yaml")], ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_option_is_explained(path: Path):
    for line in path.read_text().splitlines():
        if line and not line[0].isspace() and not line.startswith(("_target_", "#", "-")) and "${" not in line:
            assert "#" in line, f"say what it is, in which unit, and why: {line}"


@pytest.mark.parametrize("group", sorted({p.parent.name for p in COMPONENTS} - {"stages"}))
def test_every_option_composes_with_the_rest(group: str):
    for path in option_files(CONF / group):
        config = composed(f"{group}={path.stem}")
        assert set(config[group].keys()) == set(load_option(path).keys())
        assert config[group]._target_ == load_option(path)._target_


def test_the_road_lists_every_stage():
    config = composed()
    stages = {path.stem for path in (CONF / "stages").glob("*.yaml")}
    assert set(config.road) == stages
    for name in config.road:
        kind = locate(config[name]._target_)
        assert issubclass(kind, Stage)
        assert kind.name == name
        assert set(kind.needs) <= stages
        assert kind.needs == tuple(need for need in config.road if need in kind.needs) or set(kind.needs) < set(
            config.road[: list(config.road).index(name)]
        ), "the road lists a stage after those it reads"


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_experiments_compose_and_are_described(path: Path):
    config = composed(f"+experiments={path.stem}")
    stages, name = resolve_stages(config)
    assert config.stage in stages
    assert name
    assert path.with_suffix(".md").is_file(), "an experiment's question, command and result belong beside it"


def test_folders_beside_the_config_are_no_groups(tmp_path: Path):
    """A checkout in which `artifacts/` was made must still take artifacts=DIR."""
    for name in ("artifacts", "publish", "seed"):
        assert not (CONF / name).exists()
    assert composed(f"artifacts={tmp_path}", "seed=3").artifacts == str(tmp_path)
    assert EXPERIMENTS


def test_the_default_scene_needs_no_data():
    """--help promises that stage=report alone runs on a procedural cathedral."""
    assert resolve_stages(composed("stage=report"))[1] == "cathedral_seed0"


def test_a_missing_option_is_named():
    with pytest.raises(BadInput, match=r"scene\.path"):
        resolve_stages(composed("stage=ingest", "scene=photos"))


def test_an_unknown_stage_lists_the_valid_ones():
    with pytest.raises(BadInput, match=r"ingest.*reconstruct.*report"):
        resolve_stages(composed("stage=ingset"))
