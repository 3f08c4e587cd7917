"""What a person sees at the command line: help, plans, and mistakes told clearly."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.cli import composed, publish, run
from halonerf.errors import UserError
from halonerf.stages.specs import SPECS

Cli = Callable[..., subprocess.CompletedProcess[str]]


def run_here(*overrides: str) -> Path | str:
    return run(composed(overrides))


def noise_photo(path: Path, seed: int, size: tuple[int, int] = (320, 240)) -> None:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)


def test_help_names_stages_groups_and_examples(halonerf: Cli):
    shown = halonerf("--help")
    assert shown.returncode == 0, shown.stderr
    for word in ("segmenter: ", "scene: ", "experiments: ", "halonerf stage=report", "plan=true"):
        assert word in shown.stdout
    described = {
        line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ") and len(line.split()) > 1
    }
    assert {spec.name for spec in SPECS.values()} <= described, "every stage is described"


def test_a_plan_lists_stages_with_fingerprints_and_runs_nothing(halonerf: Cli, tmp_path: Path):
    shown = halonerf("stage=localize", "scene=mosque", "plan=true")
    assert shown.returncode == 0, shown.stderr
    rows = [line.split() for line in shown.stdout.splitlines()[1:-1]]
    assert [row[0] for row in rows][-1] == "localize"
    assert {"collect", "ingest", "reconstruct", "segment"} <= {row[0] for row in rows}
    assert all(row[2:] == ["to", "do"] and len(row[1]) == 16 for row in rows)
    assert shown.stdout.splitlines()[-1].endswith(f"localize/{rows[-1][1]}")
    assert not (tmp_path / "artifacts").exists()


def test_experiments_are_found_from_any_folder_and_by_jobs_side_by_side(halonerf: Cli):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    side_by_side = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    shown = halonerf("-m", "+experiments=demo,wild", "plan=true", *side_by_side)
    assert shown.returncode == 0, shown.stderr
    assert {line.split("/")[-2] for line in shown.stdout.splitlines() if "/" in line} == {"report", "reconstruct"}


def test_an_unknown_stage_lists_the_valid_ones(halonerf: Cli):
    shown = halonerf("stage=reconstrcut")
    assert shown.returncode == 2
    assert "got 'reconstrcut'" in shown.stderr
    assert "reconstruct" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_an_unknown_component_lists_the_valid_ones(halonerf: Cli):
    shown = halonerf("stage=localize", "field=gausians")
    assert shown.returncode != 0
    assert "gaussians" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_an_unknown_option_is_refused(halonerf: Cli):
    shown = halonerf("stage=ingest", "ingest.maper=global")
    assert shown.returncode != 0
    assert "maper" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_storage_that_cannot_be_written_is_named(halonerf: Cli, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    noise_photo(tmp_path / "photos" / "a.jpg", 0)
    (tmp_path / "taken").write_text("a file, not a folder")
    shown = halonerf("stage=collect", "scene=photos", "scene.path=photos", "artifacts=taken")
    assert shown.returncode == 2
    assert "taken" in shown.stderr
    assert "artifacts=DIR" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert (tmp_path / "taken").read_text() == "a file, not a folder"


def test_the_last_line_on_standard_output_is_the_folder(halonerf: Cli, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    noise_photo(tmp_path / "photos" / "a.jpg", 0)
    shown = halonerf("stage=collect", "scene=photos", "scene.path=photos")
    assert shown.returncode == 0, shown.stderr
    assert (Path(shown.stdout.splitlines()[-1]) / "collection.json").is_file()


def test_a_sweep_shares_what_is_upstream(halonerf: Cli, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    noise_photo(tmp_path / "photos" / "a.jpg", 0)
    shown = halonerf("-m", "stage=distill", "scene=photos", "scene.path=photos", "seed=0,1")
    assert shown.returncode == 0, shown.stderr
    folders = [Path(line) for line in shown.stdout.splitlines() if "/distill/" in line]
    assert len(folders) == 2
    assert all((folder / "labels.csv").is_file() for folder in folders)
    assert len(list(tmp_path.glob("artifacts/*/collect/*/manifest.json"))) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "found nothing"),
        (lambda folder: (folder / "notes.txt").write_text("not a photo"), "found 1 files of other kinds"),
        (lambda folder: (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken"), "none of its 1 files"),
    ],
    ids=["empty", "text", "unreadable"],
)
def test_folders_without_photos(tmp_path: Path, make: Callable[[Path], object], words: str):
    folder = tmp_path / "photos"
    folder.mkdir()
    make(folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(UserError, match=words):
        run_here("stage=ingest", "scene=photos", f"scene.path={folder}", f"artifacts={tmp_path / 'artifacts'}")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_photos_of_different_places(tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        noise_photo(folder / f"{i}.jpg", i)
    with pytest.raises(UserError, match="2 photos"):
        run_here("stage=ingest", "scene=photos", f"scene.path={folder}", f"artifacts={tmp_path / 'artifacts'}")
    assert not list(tmp_path.glob("artifacts/*/ingest/*/manifest.json"))


def test_publishing_replaces_its_own_files_and_leaves_others(tmp_path: Path):
    source, target = tmp_path / "artifact", tmp_path / "out"
    (source / "pictures").mkdir(parents=True)
    target.mkdir()
    (source / "report.html").write_text("new")
    (source / "pictures" / "a.png").write_bytes(b"png")
    (target / "report.html").write_text("old")
    (target / "mine.txt").write_text("kept")
    publish(source, target)
    assert (target / "report.html").read_text() == "new"
    assert (target / "mine.txt").read_text() == "kept"
    assert (target / "pictures" / "a.png").read_bytes() == b"png"
    assert sorted(p.name for p in target.iterdir()) == ["mine.txt", "pictures", "report.html"]
