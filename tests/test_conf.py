"""Every option of every config group composes, and its YAML lists its class's arguments: all, and no others."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest
from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

from halonerf.cli import composed
from halonerf.config.sources import ExperimentSource, config_root
from halonerf.errors import BadInput
from halonerf.factory import locate
from halonerf.pipeline.declarations import declaration
from halonerf.pipeline.plan import StageConfigs, resolve
from halonerf.pipeline.spec import spec_of
from halonerf.pipeline.stage import Stage
from halonerf.stages.specs import SPECS
from helpers.configs import load_option, option_files

CONF = config_root() / "conf"
COMPONENTS = sorted(
    path
    for group in CONF.iterdir()
    if group.is_dir() and group.name not in ("hydra", "logger", "trainer")
    for path in option_files(group)
)
EXPERIMENTS = sorted((config_root() / "experiments").glob("*.yaml"))
MUST_BE_GIVEN = {"holyscenes": ["landmark=milan"]}
LANDMARKS = ("badshahi", "blue_mosque", "hurba", "milan", "notre_dame", "st_paul")


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
        config = composed([f"{group}={path.stem}"])
        assert set(config[group].keys()) == set(load_option(path).keys())
        assert config[group]._target_ == load_option(path)._target_


def test_the_defaults_list_every_stage_in_the_order_of_the_pipeline():
    config = composed([])
    order = list(StageConfigs(config))
    assert set(order) == {path.stem for path in (CONF / "stages").glob("*.yaml")}
    assert order == [spec.name for spec in SPECS.values()]
    for name in order:
        needs = spec_of(config[name]._target_).needs
        assert set(needs) <= set(order[: order.index(name)]), "a stage is listed after those it reads"


@pytest.mark.parametrize("name", SPECS)
def test_every_stage_class_has_its_spec(name: str):
    kind = locate(f"halonerf.stages.{name}")
    assert issubclass(kind, Stage)
    assert issubclass(kind, SPECS[name])
    assert spec_of(f"halonerf.stages.{name}") is SPECS[name]
    assert SPECS[name].summary_line()


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_declared_options_are_arguments(path: Path):
    target = str(load_option(path)._target_)
    declared = declaration(target)
    options = declared.runtime_options | declared.data_options | declared.file_options
    arguments = {name for kind in locate(target).__mro__ for name in inspect.signature(kind).parameters}
    nested = {"weights"} if arguments & {"teacher", "close_up"} else set()  # options of a segmenter, in a mapping
    assert options | set(declared.compatible_defaults) <= arguments | nested


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_what_is_read_from_source_is_what_the_class_has(path: Path):
    target = str(load_option(path)._target_)
    declared, kind = declaration(target), locate(target)
    assert declared.version == getattr(kind, "version", 1)
    assert dict(declared.compatible_defaults) == dict(getattr(kind, "compatible_defaults", {}))
    assert Path(inspect.getfile(kind)) == declared.files[0]
    for name in ("runtime_options", "data_options", "file_options"):
        assert getattr(declared, name) == {option for base in kind.__mro__ for option in vars(base).get(name, ())}


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda p: f"{p.parent.name}={p.stem}")
def test_targets_are_exports_of_packages(path: Path):
    package, _, name = str(load_option(path)._target_).rpartition(".")
    module = importlib.import_module(package)
    assert Path(str(module.__file__)).name == "__init__.py"
    assert name in module.__all__


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_experiments_compose_and_are_described(path: Path):
    config = composed([f"+experiments={path.stem}"])
    stages = StageConfigs(config)
    assert stages[config.stage], "its options have values"
    assert path.with_suffix(".md").is_file(), "an experiment's question, command and result belong beside it"


def test_holyscenes_are_one_experiment_that_wants_a_landmark(tmp_path: Path):
    data = f"holyscenes={tmp_path}"
    for landmark in LANDMARKS:
        (tmp_path / "masks" / "type" / landmark).mkdir(parents=True)
        scene = composed(["+experiments=holyscenes", f"landmark={landmark}", data]).scene
        assert (scene.path, scene.masks) == (f"{tmp_path}/scenes/{landmark}", f"{tmp_path}/masks")
        assert scene.landmark == landmark
    with pytest.raises(BadInput, match=r"no value: landmark\.\n.*landmark=\.\.\."):
        resolve(composed(["+experiments=holyscenes", data]))
    with pytest.raises(BadInput, match=r"'milano'.*type/badshahi, .*type/milan, .*type/st_paul"):
        resolve(composed(["+experiments=holyscenes", "landmark=milano", data]))


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
    assert resolve(composed(["stage=report"])).goal.scene == "cathedral_seed0"


def test_a_missing_option_is_named():
    with pytest.raises(BadInput, match=r"scene\.path"):
        resolve(composed(["stage=ingest", "scene=photos"]))


def test_an_unknown_stage_lists_the_valid_ones():
    with pytest.raises(BadInput, match=r"ingest.*reconstruct.*report"):
        resolve(composed(["stage=ingset"]))
