"""The pipeline on two tiny stages: plans, caching, resuming, loggers."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from halonerf.artifacts import ArtifactStore
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_atomic, write_json
from halonerf.pipeline.datamodule import EpochSampler, WorkData
from halonerf.pipeline.declarations import Declaration
from halonerf.pipeline.overrides import apply_overrides, merge_overrides
from halonerf.pipeline.plan import describe, identity_of, make_plan
from halonerf.pipeline.run import library_versions, run_step, torch_threads
from halonerf.pipeline.spec import StageSource
from halonerf.pipeline.stage import Stage

TRAINER = {"accelerator": "cpu", "enable_progress_bar": True, "log_every_n_steps": 1}


class Squares(Stage):
    """Writes the squares of 0 .. count - 1, one file each; `fail_at` breaks off before that one."""

    name = "squares"
    runtime_options = ("workers",)
    calls: ClassVar[list[int]] = []
    fail_at: ClassVar[int | None] = None

    def __init__(self, count: int = 4, workers: int = 1) -> None:
        super().__init__()
        self.count, self.workers = count, workers

    def items(self) -> Sequence[int]:
        return range(self.count)

    def done(self, item: int) -> bool:
        return (self.folder / f"{item}.txt").is_file()

    def predict_step(self, item: int, index: int) -> None:
        if item == self.fail_at:
            raise RuntimeError("pulled the plug")
        self.calls.append(item)
        write_atomic(self.folder / f"{item}.txt", str(item**2))

    def finish(self) -> None:
        write_json(self.folder / "sum.json", sum(int((self.folder / f"{i}.txt").read_text()) for i in self.items()))

    def summary(self) -> dict[str, Any]:
        return {"count": self.count}


class Slope(Stage):
    """Fits the line through zero whose slope is a seventh of the squares' sum; breaks off before epoch `fail_at`."""

    name = "slope"
    needs = ("squares",)
    trainable = True
    max_epochs = 4
    fail_at: ClassVar[int | None] = None

    def __init__(self, rate: float = 0.05) -> None:
        super().__init__()
        self.rate = rate
        self.w = torch.nn.Parameter(torch.zeros(1))

    def datamodule(self) -> WorkData:
        slope = float(json.loads((self.inputs["squares"] / "sum.json").read_text())) / 7
        return WorkData([torch.tensor([x, slope * x]) for x in (0.5, 1.0, 2.0)], epoch_steps=5, seed=self.seed)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([self.w], lr=self.rate)

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == self.fail_at:
            raise RuntimeError("pulled the plug")

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        loss = ((self.w * batch[0] - batch[1]) ** 2).sum()
        self.log("loss", loss)
        return loss

    def pictures(self) -> dict[str, np.ndarray]:
        return {"slope": np.full((4, 4, 3), 7, np.uint8)}

    def finish(self) -> None:
        write_json(self.folder / "slope.json", self.w.item())


STAGES = {
    "squares": {"_target_": f"{__name__}.Squares", "count": 4, "workers": 1},
    "slope": {"_target_": f"{__name__}.Slope", "rate": 0.05},
}


@pytest.fixture(autouse=True)
def _calm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Squares, "calls", [])


def run(
    store: ArtifactStore, goal: str = "slope", seed: int = 0, logger: type[Logger] = CSVLogger, **change: Any
) -> Path:
    stages = {name: {**config, **change.get(name, {})} for name, config in STAGES.items()}
    folder = Path()
    for step in make_plan(goal, stages, "s", seed, store):
        folder = run_step(step, seed, store, TRAINER, lambda f: [logger(save_dir=str(f / "logs"), name="", version="")])
    return folder


class Plumb(Stage):
    """Adds up what other scenes' stages wrote."""

    name = "plumb"

    def __init__(self, landmarks: Mapping[str, Any]) -> None:
        super().__init__()
        self.landmarks = landmarks

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        return {name: StageSource(scene, ("gather",)) for name, scene in config["landmarks"].items()}

    def items(self) -> Sequence[int]:
        return []

    def finish(self) -> None:
        texts = [(self.inputs[f"{name}/gather"] / "name.txt").read_text() for name in self.landmarks]
        write_json(self.folder / "names.json", texts)


class Gather(Stage):
    """Writes the name of its scene."""

    name = "gather"

    def __init__(self, scene: Mapping[str, Any]) -> None:
        super().__init__()
        self.scene = scene

    def items(self) -> Sequence[int]:
        return []

    def finish(self) -> None:
        (self.folder / "name.txt").write_text(build(self.scene).name)


class Place:
    """A scene of a name."""

    def __init__(self, name: str, photos: int = 3) -> None:
        self.name = name

    def identity(self) -> str:
        return self.name


def place(name: str, **options: Any) -> dict[str, Any]:
    return {"_target_": f"{__name__}.Place", "name": name, **options}


def test_threads_are_the_stages_own_while_it_works():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="halfway"), torch_threads(before + 1):
        raise RuntimeError("halfway")
    with torch_threads(0):
        assert torch.get_num_threads() == before


def test_a_stage_may_read_other_scenes_and_then_belongs_to_none(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    stages = {
        "gather": {"_target_": f"{__name__}.Gather", "scene": place("here")},
        "plumb": {"_target_": f"{__name__}.Plumb", "landmarks": {"a": place("there"), "b": place("beyond")}},
    }
    plan = make_plan("plumb", stages, "here", 0, store)
    assert [(step.scene, step.stage) for step in plan] == [
        ("there", "gather"),
        ("beyond", "gather"),
        ("plumb", "plumb"),
    ]
    table = describe(plan, store)
    assert "beyond" in table
    assert "here " not in table.replace("there ", "")
    for step in plan:
        folder = run_step(step, 0, store, TRAINER, lambda f: [])
    assert json.loads((folder / "names.json").read_text()) == ["there", "beyond"]
    assert all(step.cached for step in make_plan("plumb", stages, "elsewhere", 0, store))
    other = {**stages, "plumb": {**stages["plumb"], "landmarks": {"a": place("there")}}}
    assert make_plan("plumb", other, "here", 0, store)[-1].key != plan[-1].key


class Contest(Stage):
    """Gathers slopes that were fitted in other ways."""

    name = "contest"

    def __init__(self, ways: Mapping[str, Any]) -> None:
        super().__init__()
        self.ways = ways

    @classmethod
    def sources(cls, config: Mapping[str, Any]) -> dict[str, StageSource]:
        return {name: StageSource(None, ("slope",), changes) for name, changes in config["ways"].items()}

    def items(self) -> Sequence[int]:
        return []

    def finish(self) -> None:
        slopes = {name: json.loads((self.inputs[f"{name}/slope"] / "slope.json").read_text()) for name in self.ways}
        write_json(self.folder / "slopes.json", slopes)


def test_a_stage_may_read_its_scene_made_in_other_ways(tmp_path: Path):
    """As it is, slower, and on more squares: what the ways share is made once."""
    store = ArtifactStore(tmp_path)
    ways = {"as it is": {}, "slower": {"slope": {"rate": 0.01}}, "longer": {"squares": {"count": 5}}}
    stages = {**STAGES, "contest": {"_target_": f"{__name__}.Contest", "ways": ways}}
    plan = make_plan("contest", stages, "s", 0, store)
    assert [step.stage for step in plan] == ["squares", "slope", "slope", "squares", "slope", "contest"]
    for step in plan:
        folder = run_step(step, 0, store, TRAINER, lambda f: [])
    slopes = json.loads((folder / "slopes.json").read_text())
    assert len(set(slopes.values())) == 3
    assert slopes["as it is"] == json.loads((run(store) / "slope.json").read_text())


class Exact(Stage):
    """Notes the precision of a product."""

    name = "exact"

    def items(self) -> Sequence[int]:
        return [0]

    def predict_step(self, item: int, index: int) -> None:
        self.kind = str((torch.ones(2, 2) @ torch.ones(2, 2)).dtype)

    def finish(self) -> None:
        write_json(self.folder / "kind.json", self.kind)


class Rough(Exact):
    """The same where the trainer's precision counts."""

    name = "rough"
    mixed_precision = True


@pytest.mark.parametrize(("kind", "precision"), [("exact", "float32"), ("rough", "bfloat16")])
def test_only_stages_that_bear_it_work_in_mixed_precision(tmp_path: Path, kind: str, precision: str):
    store = ArtifactStore(tmp_path)
    stages = {kind: {"_target_": f"{__name__}.{kind.title()}"}}
    (step,) = make_plan(kind, stages, "s", 0, store)
    folder = run_step(step, 0, store, {**TRAINER, "precision": "bf16-mixed"}, lambda f: [])
    assert json.loads((folder / "kind.json").read_text()) == f"torch.{precision}"


def test_changes_reach_components_everywhere_and_options_of_one_stage():
    config = {"_target_": "x", "head": {"_target_": "a", "k": 1}, "views": "all", "masks": None}
    changes = {"head": {"_target_": "b"}, "localize": {"views": "train"}}
    assert apply_overrides(config, "localize", changes) == {**config, "head": {"_target_": "b"}, "views": "train"}
    assert apply_overrides(config, "render", changes) == {**config, "head": {"_target_": "b"}}
    assert apply_overrides({"views": "all"}, "evaluate", changes) == {"views": "all"}
    with pytest.raises(BadInput, match=r"options of stage 'localize' among .*got view"):
        apply_overrides(config, "localize", {"localize": {"view": "train"}})


def test_later_changes_count_and_options_of_a_stage_are_put_together():
    first = {"head": {"_target_": "a", "k": 1}, "localize": {"views": "train"}}
    second = {"head": {"_target_": "b"}, "localize": {"weights": "score"}, "evaluate": {"protocol": "heldout"}}
    assert merge_overrides(first, second) == {
        "head": {"_target_": "b"},
        "localize": {"views": "train", "weights": "score"},
        "evaluate": {"protocol": "heldout"},
    }


def test_a_goal_brings_what_it_needs_and_a_second_run_nothing(tmp_path: Path):
    store = ArtifactStore(tmp_path)
    folder = run(store)
    assert (folder / "slope.json").is_file()
    assert Squares.calls == [0, 1, 2, 3]
    assert run(store) == folder
    assert Squares.calls == [0, 1, 2, 3]


def test_the_manifest_tells_how_it_was_made(tmp_path: Path):
    folder = run(ArtifactStore(tmp_path), "squares")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["summary"] == {"count": 4}
    assert manifest["config"]["count"] == 4
    assert manifest["wall_s"] >= 0
    assert manifest["peak_memory_mb"] > 10
    assert torch.__version__.startswith(manifest["libraries"]["torch"].split("+")[0])
    assert manifest["fingerprint"] == folder.name


def test_fingerprints_see_options_and_upstream_but_not_workers(tmp_path: Path):
    def keys(seed: int = 0, **change: Any) -> list[str]:
        stages = {name: {**config, **change.get(name, {})} for name, config in STAGES.items()}
        return [step.key for step in make_plan("slope", stages, "s", seed, ArtifactStore(tmp_path))]

    base = keys()
    assert keys(squares={"workers": 8}) == base
    assert all(a != b for a, b in zip(base, keys(squares={"count": 5}), strict=True))
    changed = keys(slope={"rate": 0.1})
    assert (changed[0], changed[1] != base[1]) == (base[0], True)
    seeded = keys(seed=1)
    assert (seeded[0], seeded[1] != base[1]) == (base[0], True)


def test_data_count_by_their_contents_not_their_place(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mask.png").write_bytes(b"same")
    declared = Declaration("mine.Source", data_options=frozenset({"path"}))
    first, second = (identity_of({"path": str(tmp_path / name)}, declared) for name in "ab")
    assert first == second
    (tmp_path / "b" / "mask.png").write_bytes(b"other")
    assert identity_of({"path": str(tmp_path / "b")}, declared) != first
    assert identity_of({"path": "some/hub-id"}, declared) == {"path": "some/hub-id"}
    assert identity_of({"folder": str(tmp_path / "b")}, declared) == {"folder": str(tmp_path / "b")}  # not declared


def test_weights_that_come_with_a_package_count_by_their_contents():
    config = {"_target_": "halonerf.segmenters.TimmText", "weights": "offline"}
    assert len(identity_of(config)["options"]["weights"]["contents"]) == 64
    assert identity_of({**config, "weights": "other"})["options"]["weights"] == "other"


def test_interrupted_predictions_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = ArtifactStore(tmp_path)
    monkeypatch.setattr(Squares, "fail_at", 2)
    with pytest.raises(RuntimeError, match="plug"):
        run(store, "squares")
    step = make_plan("squares", STAGES, "s", 0, store)[0]
    assert not step.cached
    assert "to resume" in describe([step], store)
    monkeypatch.setattr(Squares, "fail_at", None)
    folder = run(store, "squares")
    assert Squares.calls == [0, 1, 2, 3]
    assert json.loads((folder / "sum.json").read_text()) == 14
    assert json.loads((folder / "manifest.json").read_text())["resumed"] is True


def test_an_interrupted_fit_ends_as_an_uninterrupted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = json.loads((run(ArtifactStore(tmp_path / "whole")) / "slope.json").read_text())
    monkeypatch.setattr(Slope, "fail_at", 2)
    with pytest.raises(RuntimeError, match="plug"):
        run(ArtifactStore(tmp_path / "cut"))
    monkeypatch.setattr(Slope, "fail_at", None)
    resumed = json.loads((run(ArtifactStore(tmp_path / "cut")) / "slope.json").read_text())
    assert resumed == whole
    assert 0.1 < whole < 2.1


def test_fits_are_logged_to_csv(tmp_path: Path):
    folder = run(ArtifactStore(tmp_path))
    with open(next(folder.glob("logs/**/metrics.csv"))) as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]
    assert len(losses) == 20
    assert losses[-1] < losses[0]


def test_pictures_reach_tensorboard(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run(ArtifactStore(tmp_path), logger=TensorBoardLogger)
    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    assert len(events.Images("slope/slope")) == 4


def test_wandb_runs_offline_with_config_metrics_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    store = ArtifactStore(tmp_path)
    folder = Path()
    for step in make_plan("slope", STAGES, "s", 0, store):
        folder = run_step(
            step, 0, store, TRAINER, lambda f: [WandbLogger(save_dir=str(f / "logs"), offline=True, project="t")]
        )
    assert list(folder.glob("logs/wandb/offline-run-*/run-*.wandb"))
    assert len(list(folder.glob("logs/wandb/offline-run-*/files/media/images/slope/slope_*.png"))) == 4


def test_unknown_stages_list_the_known(tmp_path: Path):
    with pytest.raises(BadInput, match="slope, squares"):
        make_plan("sqares", STAGES, "s", 0, ArtifactStore(tmp_path))


def test_every_epoch_sees_the_photos_evenly_and_in_the_same_order_again():
    sampler = EpochSampler(count=5, steps=7, seed=3)

    def epoch(number: int) -> list[int]:
        sampler.set_epoch(number)
        return list(sampler)

    order = [i for number in range(5) for i in epoch(number)]
    assert all(sorted(order[k : k + 5]) == [0, 1, 2, 3, 4] for k in range(0, 35, 5))
    assert epoch(2) == order[14:21]


def test_a_library_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch):
    versions = metadata.version

    def without_mitsuba(name: str) -> str:
        if name == "mitsuba":
            raise metadata.PackageNotFoundError(name)
        return versions(name)

    monkeypatch.setattr(metadata, "version", without_mitsuba)
    found = library_versions()
    assert "mitsuba" not in found
    assert found["numpy"] == np.__version__
