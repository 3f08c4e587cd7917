"""Who may import whom (docs/design of the rooms): walked on the syntax trees, so that lazy imports count too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "halonerf"
ROOMS = ("distillers", "retrievers", "miners", "segmenters", "fields", "transients", "heads")
LAYERS = {
    "__init__": 0, "errors": 0, "types": 0, "protocols": 0,
    "geometry": 1, "volume": 1, "losses": 1, "metrics": 1, "artifacts": 1, "memory": 1, "masks": 1, "pictures": 1,
    "splatting": 1,
    "frames": 1, "video": 1, "expressions": 1, "surfels": 1,
    **dict.fromkeys(("paths", "paths_check", "paths_default", "paths_sites", "paths_spline"), 1),
    "data": 2, **dict.fromkeys(ROOMS, 2),
    "stages": 3, "viewer": 4,
    "config_sources": 0, "cli": 5, "api": 6,
}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The first part of a file's place in the package: a room's name, or a lone module's."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def own(names: set[str]) -> set[str]:
    """The rooms among imported names."""
    parts = (name.split(".") for name in names if name == "halonerf" or name.startswith("halonerf."))
    return {p[1] if len(p) > 1 else "__init__" for p in parts} & LAYERS.keys()


def test_every_file_has_a_layer():
    unknown = sorted({room(path) for path in FILES} - LAYERS.keys())
    assert not unknown, f"rooms without a layer: {unknown}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_lower_layers_only(path: Path):
    here = room(path)
    for other in own(imports(path)) - {here}:
        assert LAYERS[other] < LAYERS[here] or LAYERS[here] == LAYERS[other] < 2, f"{path.name} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_layers(path: Path):
    here, libraries = room(path), {name.split(".")[0] for name in imports(path)}
    forbidden: set[str] = set()
    if LAYERS[here] <= 1:
        forbidden |= {"lightning", "transformers", "wandb", "timm", "pycolmap"}
    if here in ROOMS:
        forbidden |= {"lightning", "wandb", "hydra"}
    if here not in ("cli", "config_sources"):
        forbidden |= {"hydra"}
    if here != "data":
        forbidden |= {"mitsuba"}
    assert not libraries & forbidden, f"{path.name} imports {sorted(libraries & forbidden)}"


def test_nothing_is_unpickled_or_evaluated():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "pickle.load", "pickle.loads"), f"{path}:{node.lineno}"
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert options.get("allow_pickle") != "True", f"{path}:{node.lineno}"
            if called == "torch.load":
                assert options.get("weights_only") == "True", f"{path}:{node.lineno}"
