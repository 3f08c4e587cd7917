"""Every option of every config group composes, and its YAML lists its class's arguments: all, and no others."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest
from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

from halonerf.cli import composed, resolve_stages
from halonerf.config_sources import ExperimentSource, config_root
from halonerf.errors import BadInput
from halonerf.stages.base import Stage
from halonerf.stages.build import build, locate

CONF = config_root() / "conf"
COMPONENTS = sorted(path for path in CONF.glob("*/*.yaml") if path.parent.name not in ("hydra", "logger", "trainer"))
EXPERIMENTS = sorted((config_root() / "experiments").glob("*.yaml"))
MUST_BE_GIVEN = {"holyscenes": ["landmark=milan"]}
LANDMARKS = ("badshahi", "blue_mosque", "hurba", "milan", "notre_dame", "st_paul")


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_yaml_lists_the_constructors_arguments(path: Path):
    keys = set(OmegaConf.load(path).keys())
    arguments = inspect.signature(locate(str(OmegaConf.load(path)._target_))).parameters
    assert all(p.kind is not p.VAR_KEYWORD for p in arguments.values()), "arguments must be spelt out"
    assert keys - {"_target_"} == set(arguments)


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_yaml_and_signature_agree_on_defaults(path: Path):
    written = OmegaConf.load(path)
    for name, parameter in inspect.signature(locate(str(written._target_))).parameters.items():
        value = OmegaConf.to_container(written)[name]
        if parameter.default is parameter.empty or (isinstance(value, str) and value.startswith("${")):
            continue
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        default = dict(default) if isinstance(default, Mapping) else default
        assert value in (default, "???"), name


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_every_option_is_explained(path: Path):
    for line in path.read_text().splitlines():
        if line and not line[0].isspace() and not line.startswith(("_target_", "#", "-")) and "${" not in line:
            assert "#" in line, f"say what it is, in which unit, and why: {line}"


@pytest.mark.parametrize("group", sorted({p.parent.name for p in COMPONENTS} - {"stages"}))
def test_every_option_composes_with_the_rest(group: str):
    for path in sorted((CONF / group).glob("*.yaml")):
        config = composed([f"{group}={path.stem}"])
        assert config[group]._target_ == OmegaConf.load(path)._target_


def test_the_road_lists_every_stage():
    config = composed([])
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
    config = composed([f"+experiments={path.stem}", *MUST_BE_GIVEN.get(path.stem, [])])
    stages, name = resolve_stages(config)
    assert config.stage in stages
    assert name
    assert path.with_suffix(".md").is_file(), "an experiment's question, command and result belong beside it"


def test_holyscenes_are_one_experiment_that_wants_a_landmark(tmp_path: Path):
    data = f"holyscenes={tmp_path}"
    for landmark in LANDMARKS:
        (tmp_path / "masks" / "type" / landmark).mkdir(parents=True)
        scene = composed(["+experiments=holyscenes", f"landmark={landmark}", data]).scene
        assert (scene.path, scene.masks) == (f"{tmp_path}/scenes/{landmark}", f"{tmp_path}/masks")
        assert scene.landmark == landmark
    with pytest.raises(BadInput, match=r"no value: landmark\.\n.*landmark=\.\.\."):
        resolve_stages(composed(["+experiments=holyscenes", data]))
    stages, _ = resolve_stages(composed(["+experiments=holyscenes", "landmark=milano", data]))
    with pytest.raises(BadInput, match=r"'milano'.*type/badshahi, .*type/milan, .*type/st_paul"):
        build(stages["collect"]["scene"]).identity()


def test_folders_beside_the_config_are_no_groups(tmp_path: Path):
    """A checkout in which `artifacts/` was made must still take artifacts=DIR."""
    for name in ("artifacts", "publish", "seed"):
        assert not (CONF / name).exists()
    assert composed([f"artifacts={tmp_path}", "seed=3"]).artifacts == str(tmp_path)


def test_experiments_are_the_yaml_files_of_one_folder_and_no_other_group(tmp_path: Path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "one.yaml").write_text("# @package _global_\n# A question.\nseed: 5\n")
    (tmp_path / "one.md").write_text("Its answer.")
    source = ExperimentSource("test", f"experiments://{tmp_path}")
    assert source.available()
    assert source.list("", None) == source.list("", ObjectType.GROUP) == ["experiments"]
    assert source.list("experiments", None) == source.list("experiments/", ObjectType.CONFIG) == ["one"]
    assert source.list("", ObjectType.CONFIG) == source.list("experiments", ObjectType.GROUP) == []
    assert not source.is_group("artifacts")
    assert [source.is_config(name) for name in ("experiments/one", "one", "experiments", "experiments/two")] == [
        True,
        False,
        False,
        False,
    ]
    found = source.load_config("experiments/one.yaml")
    assert (found.config, found.header) == ({"seed": 5}, {"package": "_global_"})
    with pytest.raises(ConfigLoadError, match=r"one of one in .*got 'experiments/two'"):
        source.load_config("experiments/two")
    assert not ExperimentSource("test", f"experiments://{tmp_path}/none").available()


def test_an_unknown_experiment_lists_the_valid_ones():
    with pytest.raises(MissingConfigException, match=r"experiments/dem'[\s\S]*\tdemo\n"):
        composed(["+experiments=dem"])


def test_the_default_scene_needs_no_data():
    """--help promises that stage=report alone runs on a procedural cathedral."""
    assert resolve_stages(composed(["stage=report"]))[1] == "cathedral_seed0"


def test_a_missing_option_is_named():
    with pytest.raises(BadInput, match=r"scene\.path"):
        resolve_stages(composed(["stage=ingest", "scene=photos"]))


def test_an_unknown_stage_lists_the_valid_ones():
    with pytest.raises(BadInput, match=r"ingest.*reconstruct.*report"):
        resolve_stages(composed(["stage=ingset"]))
