"""Who may import whom (docs/architecture.md): walked on the syntax trees, so that lazy imports count too."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import structure
from halonerf.data.formats import names as artifact_names
from helpers.places import ROOT

PACKAGE = structure.Package(ROOT)
UPWARD = structure.upward_imports(PACKAGE)
ALLOWED = {  # heavy library: the parts of the package, or the modules, that may import it
    "hydra": {"halonerf.cli", "halonerf.config", "halonerf.pipeline.sweep", "halonerf.pipeline.logs"},
    "lightning": {"halonerf.pipeline", "halonerf.stages"},
    "wandb": {"halonerf.pipeline.logs"},
    "transformers": {"halonerf.distillers", "halonerf.segmenters", "halonerf.retrievers", "halonerf.hub"},
    "timm": {"halonerf.segmenters", "halonerf.retrievers"},
    "pycolmap": {
        "halonerf.data", "halonerf.miners", "halonerf.colmap_log", "halonerf.sift", "halonerf.matching",
        "halonerf.stages.ingest", "halonerf.stages.export.formats.colmap",
    },
    "mitsuba": {"halonerf.data.procedural"},
    "fastapi": {"halonerf.viewer.web"},
    "starlette": {"halonerf.viewer.web"},
    "uvicorn": {"halonerf.viewer.web"},
    "jinja2": {"halonerf.visualization", "halonerf.distillers"},
}  # fmt: skip


def test_every_file_has_a_layer():
    unknown = sorted({structure.part(name) for name in PACKAGE.files} - structure.LAYERS.keys())
    assert not unknown, f"no layer in tests/structure.py: {unknown}"


@pytest.mark.parametrize("name", sorted(PACKAGE.files))
def test_imports_go_down(name: str):
    assert [line for line in UPWARD if line.split()[0] == name] == []


def test_stages_services_and_the_viewer_reach_components_by_config_only():
    assert structure.component_imports(PACKAGE) == []


def test_no_stage_imports_another():
    assert structure.stage_to_stage_imports(PACKAGE) == []


def test_the_viewer_imports_no_stage():
    assert structure.viewer_to_stage_imports(PACKAGE) == []


def test_data_is_in_order():
    assert structure.data_order_violations(PACKAGE) == []


def test_no_files_import_each_other_in_a_circle():
    assert structure.circles(PACKAGE) == []


def test_modules_import_modules_and_not_the_package_they_lie_in():
    assert structure.imports_of_own_package(PACKAGE) == []


def test_folders_and_files_are_of_a_size_to_be_taken_in():
    """About fifteen modules a folder; 500 lines a file at most, but for the one place where length is a virtue."""
    assert structure.largest_folder(PACKAGE)[1] <= 25
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in PACKAGE.files.items()}
    assert not {name for name, lines in lengths.items() if lines > 500} - {"halonerf.protocols"}


@pytest.mark.parametrize("name", sorted(n for n, p in PACKAGE.files.items() if p.name == "__init__.py"))
def test_every_package_says_what_it_is_and_exports(name: str):
    module = importlib.import_module(name)
    assert module.__doc__, "one line on what the package is"
    for exported in module.__all__:
        assert getattr(module, exported) is not None


@pytest.mark.parametrize("name", sorted(PACKAGE.files))
def test_heavy_libraries_stay_where_they_belong(name: str):
    for node in ast.walk(PACKAGE.trees[name]):
        imported = {a.name for a in node.names} if isinstance(node, ast.Import) else set()
        imported |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
        for library in {found.split(".")[0] for found in imported} & ALLOWED.keys():
            allowed = tuple(f"{place}." for place in ALLOWED[library])
            assert f"{name}.".startswith(allowed), f"{name}:{node.lineno} imports {library}"


def test_artifact_file_names_are_written_in_one_place():
    constants = {value for name, value in vars(artifact_names).items() if name.isupper() and "." in str(value)}
    assert len(constants) > 20
    for name, tree in PACKAGE.trees.items():
        if name == artifact_names.__name__:
            continue
        literals = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert not literals & constants, f"{name} spells out the name of an artifact's file"


def test_the_figures_of_the_structure_are_printed():
    ran = subprocess.run([sys.executable, str(Path(structure.__file__))], capture_output=True, text=True, check=True)
    figures = dict(line.rsplit(None, 1) for line in ran.stdout.splitlines())
    assert figures["stage-to-stage imports"] == figures["upward imports"] == figures["circles of files"] == "0"


def test_nothing_is_unpickled_or_evaluated():
    for name, tree in PACKAGE.trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "pickle.load", "pickle.loads"), f"{name}:{node.lineno}"
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert options.get("allow_pickle") != "True", f"{name}:{node.lineno}"
            if called == "torch.load":
                assert options.get("weights_only") == "True", f"{name}:{node.lineno}"
