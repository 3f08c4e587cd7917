"""What enters a fingerprint, and what a plan of the whole pipeline imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from halonerf.artifacts import ArtifactStore
from halonerf.cli import composed
from halonerf.errors import BadInput
from halonerf.pipeline import declarations, source_code
from halonerf.pipeline.declarations import declaration
from halonerf.pipeline.plan import identity_of, is_stage, make_plan, resolve

HEAD = '''
"""A component from outside the package."""
from halonerf.heads import Lifted

class Base:
    data_options = ("table",)

class Mine(Base):
    runtime_options = ("workers",)
    compatible_defaults = {"later": 0}
    version = 3

    def __init__(self, table=None, workers=1, later=0, power=1.0):
        self.power = power
'''
STAGE = '''
"""A stage from outside the package."""
from halonerf.files import write_json
from halonerf.pipeline.stage import Stage

class DepthPrior(Stage):
    """Depth of every photo by a rule of thumb."""

    name = "depth_prior"
    needs = ("collect",)

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def items(self):
        return ["all"]

    def predict_step(self, item, index):
        write_json(self.folder / "depth.json", {"scale": self.scale, "read": sorted(self.inputs)})
'''


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with a package of somebody's own, `elsewhere`."""
    _forget()
    package = tmp_path / "elsewhere"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "heads.py").write_text(HEAD)
    (package / "stages.py").write_text(STAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    _forget()


def _forget() -> None:
    """As in a new process: nothing of `elsewhere` is imported or parsed."""
    declarations.declaration_in_source.cache_clear()
    declarations._imported_files.cache_clear()
    source_code.parsed.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "elsewhere"]:
        del sys.modules[name]


def keys(*overrides: str) -> dict[str, str]:
    return {step.stage: step.key for step in resolve(composed(list(overrides))).steps}


def test_editing_an_outside_components_source_makes_its_stage_stale(outside: Path):
    component = {"_target_": "elsewhere.heads.Mine", "power": 2.0}
    before = identity_of(component)
    (outside / "heads.py").write_text(HEAD + "\n# another line\n")
    assert identity_of(component) != before
    (outside / "heads.py").write_text(HEAD)
    assert identity_of(component) == before


@pytest.mark.parametrize("edited", ["heads.py", "parts/network.py", "parts/deeper.py"])
def test_editing_what_an_outside_component_inherits_or_imports_makes_it_stale(outside: Path, edited: str):
    (outside / "parts").mkdir()
    (outside / "parts" / "__init__.py").write_text("")
    (outside / "parts" / "network.py").write_text("from .. import heads\nfrom . import deeper\n")
    (outside / "parts" / "deeper.py").write_text("WIDTH = 3\n")
    (outside / "others.py").write_text(
        "from .heads import Mine\n\n\n"
        "class Derived(Mine):\n    def start(self):\n        from .parts.network import deeper\n"
    )
    component = {"_target_": "elsewhere.others.Derived", "power": 2.0}
    before = identity_of(component)
    assert declaration("elsewhere.others.Derived").data_options == {"table"}, (
        "those of a base that is imported relatively"
    )
    (outside / edited).write_text((outside / edited).read_text() + "\n# another line\n")
    _forget()
    assert identity_of(component) != before


def test_a_stage_may_inherit_from_a_module_beside_it_and_its_package_have_specs_of_its_own(
    outside: Path, tmp_path: Path
):
    (outside / "specs.py").write_text("WIDTH = 3\n")
    (outside / "more.py").write_text(
        "from .stages import DepthPrior\n\n\nclass Prior(DepthPrior):\n    name = 'prior'\n"
    )
    (outside / "__init__.py").write_text("from .more import Prior\n")
    assert is_stage("elsewhere.more.Prior")
    stages = {
        "collect": {"_target_": "halonerf.stages.Collect", "scene": None},
        "prior": {"_target_": "elsewhere.Prior", "scale": 1.0},
    }
    assert [step.stage for step in make_plan("prior", stages, "s", 0, ArtifactStore(tmp_path))] == ["collect", "prior"]


def test_editing_an_outside_stages_source_makes_it_stale_and_nothing_upstream(outside: Path, tmp_path: Path):
    stages = {
        "collect": {"_target_": "halonerf.stages.Collect", "scene": None},
        "depth_prior": {"_target_": "elsewhere.stages.DepthPrior", "scale": 1.0},
    }
    before = make_plan("depth_prior", stages, "s", 0, ArtifactStore(tmp_path))
    (outside / "stages.py").write_text(STAGE.replace('"depth.json"', '"depths.json"'))
    after = make_plan("depth_prior", stages, "s", 0, ArtifactStore(tmp_path))
    assert before[0].key == after[0].key
    assert before[1].key != after[1].key


def test_a_component_declares_what_its_options_are(outside: Path, tmp_path: Path):
    component: dict[str, Any] = {"_target_": "elsewhere.heads.Mine", "power": 2.0}
    before = identity_of(component)
    assert identity_of({**component, "workers": 7}) == before
    assert identity_of({**component, "later": 0}) == before
    assert identity_of({**component, "later": 1}) != before
    (tmp_path / "table.csv").write_text("a")
    read = identity_of({**component, "table": str(tmp_path / "table.csv")})
    (tmp_path / "table.csv").write_text("b")
    assert identity_of({**component, "table": str(tmp_path / "table.csv")}) != read
    declared = declaration("elsewhere.heads.Mine")
    assert declared.data_options == {"table"}, "those of bases count"
    assert declared.version == 3


def test_a_class_made_at_run_time_is_imported_instead():
    made = type("Made", (), {"runtime_options": ("speed",), "__module__": __name__})
    globals()["Made"] = made
    assert declaration(f"{__name__}.Made").runtime_options == {"speed"}


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(BadInput, match=r"halonerf\.heads\.Lifetd"):
        declaration("halonerf.heads.Lifetd")


@pytest.mark.parametrize("change", ["+trainer.limit_train_batches=3", "+trainer.gradient_clip_val=0.5"])
def test_trainer_options_that_change_a_fit_change_its_fingerprint(change: str):
    before, after = keys("stage=localize"), keys("stage=localize", change)
    assert before["reconstruct"] != after["reconstruct"]
    assert before["ingest"] == after["ingest"], "it learns nothing"


def test_precision_counts_for_the_stages_that_work_in_it():
    before, after = keys("stage=targets"), keys("stage=targets", "trainer.precision=bf16-mixed")
    assert before["targets"] != after["targets"]
    assert {name for name in before if before[name] != after[name]} == {"targets"}
    trained = keys("stage=train_segmenter"), keys("stage=train_segmenter", "trainer.precision=bf16-mixed")
    assert trained[0] != trained[1]


@pytest.mark.parametrize(
    "change",
    [
        "trainer.accelerator=gpu", "trainer.devices=4", "trainer.log_every_n_steps=1", "mine.workers=3",
        "mine.memory_mb=7", "head.memory_mb=9", "scene.workers=5", "distill.engine=ray", "logger=tensorboard",
    ],
)  # fmt: skip
def test_hardware_memory_and_logging_change_no_fingerprint(change: str):
    assert keys("stage=report", change) == keys("stage=report")


def test_a_light_named_like_a_folder_is_a_light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Only a file is read for `render.light`; a folder `night/` in the working folder means nothing."""
    monkeypatch.chdir(tmp_path)
    before = keys("stage=render", "render.light=night")["render"]
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.txt").write_text("anything")
    assert keys("stage=render", "render.light=night")["render"] == before


def test_each_source_is_built_once_a_plan(monkeypatch: pytest.MonkeyPatch):
    from halonerf.data.procedural.landmark import ProceduralLandmark

    built = []
    original = ProceduralLandmark.__init__

    def counted(self: ProceduralLandmark, *args: Any, **options: Any) -> None:
        built.append(options)
        original(self, *args, **options)

    monkeypatch.setattr(ProceduralLandmark, "__init__", counted)
    resolve(composed(["stage=report"]))
    assert len(built) <= 2, "once for its name, once for its identity"


def test_a_stage_from_outside_is_a_module_and_a_yaml(outside: Path, halonerf: Callable[..., Any], tmp_path: Path):
    """Two places: the class, and its YAML in a folder `stages/` on Hydra's search path."""
    conf = tmp_path / "conf" / "stages"
    conf.mkdir(parents=True)
    (conf / "depth_prior.yaml").write_text("_target_: elsewhere.stages.DepthPrior\nscale: 2.0\n")
    photos = tmp_path / "photos"
    photos.mkdir()
    from PIL import Image

    Image.new("RGB", (64, 48), "red").save(photos / "a.jpg")
    command = [
        f"hydra.searchpath=[file://{conf.parent}]", "+stages@depth_prior=depth_prior", "stage=depth_prior",
        "scene=photos", f"scene.path={photos}", "depth_prior.scale=3.5",
    ]  # fmt: skip
    made = halonerf(*command, environment={"PYTHONPATH": str(tmp_path)})
    assert made.returncode == 0, made.stderr
    folder = Path(tmp_path / made.stdout.splitlines()[-1])
    assert json.loads((folder / "depth.json").read_text()) == {"scale": 3.5, "read": ["collect"]}


def imported(code: str) -> set[str]:
    """Top-level libraries in memory after a piece of Python."""
    tail = "\nimport sys\nprint('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    ran = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(ran.stdout.split("LOADED", 1)[1].split())


def test_a_plan_needs_none_of_the_heavy_libraries(tmp_path: Path):
    code = (
        "from halonerf.cli import composed, run\n"
        f"print(run(composed(['stage=report', 'plan=true', 'artifacts={tmp_path}'])))"
    )
    heavy = {"torch", "lightning", "transformers", "torchvision", "timm", "kornia", "pycolmap", "mitsuba", "numba"}
    assert not imported(code) & heavy


def test_scene_needs_neither_lightning_nor_transformers_nor_torchvision():
    assert not imported("from halonerf import Scene") & {"lightning", "transformers", "torchvision", "timm"}
