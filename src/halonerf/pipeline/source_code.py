"""Reads classes from source files without importing them: where a class is, its bases, and what its module imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple


class ClassBody(NamedTuple):
    """The definition of a class, and the module and file that it is in."""

    module: str
    path: Path
    node: ast.ClassDef


def class_bodies(target: str, seen: frozenset[str] = frozenset()) -> Iterator[ClassBody]:
    """Definition of the class, then of its bases, depth first; nothing where the class is not found."""
    module, _, name = target.rpartition(".")
    path = source_file(module) if module and target not in seen else None
    if path is None:
        return
    tree = parsed(path)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield ClassBody(module, path, node)
            origins = imports(tree, package_of(module, path))
            for base in node.bases:
                text = ast.unparse(base)
                first, _, rest = text.partition(".")
                full = f"{origins[first]}.{rest}".rstrip(".") if first in origins else f"{module}.{text}"
                if full.split(".")[0] in {target.split(".")[0], "halonerf"}:
                    yield from class_bodies(full, seen | {target})
            return
    origin = _exported(tree, module, package_of(module, path), name)
    if origin is not None:
        yield from class_bodies(origin, seen | {target})


def source_file(module: str) -> Path | None:
    """The source file of a module that is imported already or lies on the path; packages above are not imported."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded:
        return Path(loaded)
    first, *rest = module.split(".")
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for root in spec.submodule_search_locations or ():
        place = Path(root).joinpath(*rest)
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a source file, read once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def package_of(module: str, path: Path) -> str:
    """The package that a module's relative imports start from."""
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def imports(tree: ast.Module, package: str, nested: bool = False) -> dict[str, str]:
    """Names that a module of `package` imports, with what each stands for; `nested`: inside functions, too."""
    found: dict[str, str] = {}
    for node in ast.walk(tree) if nested else tree.body:
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            found |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
    return found


def _exported(tree: ast.Module, module: str, package: str, name: str) -> str | None:
    """Where a package's `__init__` has a name from: imported, exported lazily (`halonerf.exports`), or by convention.

    By convention a class is in the module of its name in snake case, as every stage is.
    """
    imported = imports(tree, package).get(name)
    if imported is not None:
        return imported
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            homes = literal(node.value)
            if isinstance(homes, dict) and isinstance(homes.get(name), str):
                return f"{module}.{homes[name]}.{name}"
    own = f"{module}.{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}"
    return f"{own}.{name}" if source_file(own) else None


def literal(value: ast.expr | None) -> Any:
    """The value of a literal expression; None for any other."""
    try:
        return None if value is None else ast.literal_eval(value)
    except ValueError:
        return None
