"""Logs of fits: what W&B is told of a run, and what people are told of W&B."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import WandbLogger

from halonerf.artifacts import ArtifactStore
from halonerf.errors import BadInput, UserError
from halonerf.pipeline import logs
from halonerf.pipeline.logs import check_logger, component_names, group_of, make_loggers, tell_how_to_send
from halonerf.pipeline.plan import ArtifactId, Step

WANDB = {"_target_": "lightning.pytorch.loggers.WandbLogger", "project": "t", "offline": True, "log_model": False}
STAGE = {
    "_target_": "halonerf.stages.Reconstruct",
    "field": {"_target_": "halonerf.fields.Gaussians", "sh": {"_target_": "x.Inner"}},
    "terms": [{"_target_": "x.y.Term"}],
    "steps": 3,
}
STEP = Step("dom", "reconstruct", STAGE, "0123456789abcdef", {"ingest": ArtifactId("dom", "ingest", "fedc")}, False)


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))


def test_runs_of_a_command_share_a_group_and_say_what_they_are(tmp_path: Path):
    (logger,) = make_loggers(WANDB, STEP, tmp_path, group_of(STEP))
    assert isinstance(logger, WandbLogger)
    run = logger.experiment
    try:
        assert (run.group, run.job_type, run.name) == (
            "dom reconstruct 0123456789abcdef",
            "reconstruct",
            "dom reconstruct",
        )
        assert set(run.tags or ()) == {"dom", "reconstruct", "Gaussians", "Inner", "Term"}
        assert run.config["scene"] == "dom"
        assert run.config["inputs"] == {"ingest": "fedc"}
    finally:
        run.finish()
    (written,) = tmp_path.glob("logs/run0/wandb/offline-run-*/run-*.wandb")
    assert written.stat().st_size > 0


def test_what_the_config_says_goes_first():
    given = {**WANDB, "group": "mine", "tags": ["paper"], "settings": {"init_timeout": 5}}
    options = logs._wandb_options(given, STEP, "common")
    assert options["group"] == "mine"
    assert options["tags"][-1] == "paper"
    assert options["settings"]["init_timeout"] == 5


def test_the_folder_to_send_is_named_where_it_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = ArtifactStore(tmp_path)
    with store.create(*STEP.id) as folder:
        assert folder is not None
        (folder / "logs/run0/wandb/offline-run-1").mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    with caplog.at_level(logging.INFO, "halonerf"):
        tell_how_to_send(store.folder(*STEP.id))
    named = Path(caplog.messages[-1].rpartition("wandb sync ")[2])
    assert named.is_dir()
    assert ".partial" not in str(named)


def test_nobody_logged_in_is_said_at_once(tmp_path: Path):
    with pytest.raises(BadInput, match=r"wandb login(.|\n)*logger\.offline=true(.|\n)*logger=csv"):
        check_logger({**WANDB, "offline": False}, tmp_path)
    check_logger(WANDB, tmp_path)
    assert list(tmp_path.glob("wandb")) == []


def test_wandb_mode_offline_needs_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_logger({**WANDB, "offline": False}, tmp_path)


@pytest.mark.parametrize(
    "config",
    [{**WANDB, "log_model": True}, {"_target_": "lightning.pytorch.loggers.CSVLogger", "nmae": "x"}],
    ids=["offline models", "unknown option"],
)
def test_options_that_a_logger_does_not_take(config: dict[str, Any], tmp_path: Path):
    with pytest.raises(BadInput, match="--package logger"):
        check_logger(config, tmp_path)


def test_errors_of_wandb_become_ours():
    import wandb

    with pytest.raises(UserError, match=r"begin its log: no answer\n(.|\n)*logger=csv"), logs._logger_errors():
        raise wandb.errors.CommError("no answer")
    with pytest.raises(ZeroDivisionError), logs._logger_errors():
        raise ZeroDivisionError


def test_components_are_found_at_any_depth():
    assert list(component_names(STAGE)) == ["Gaussians", "Inner", "Term"]
