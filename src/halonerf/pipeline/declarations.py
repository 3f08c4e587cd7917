"""What classes declare about their options, read from their source files without importing them.

A plan needs to know of every component which of its options change no result, and which name files. Importing the
classes would bring in PyTorch and what else they compute with, which takes seconds; so their class bodies are parsed,
and those of their bases. A class that cannot be found that way (made at run time, say) is imported instead.

    class Mine:
        runtime_options = ("workers", "memory_mb")  # where or how fast the work is done: not in the fingerprint
        data_options = ("weights",)                 # may name a file or a folder: its contents enter the fingerprint
        file_options = ("light",)                   # the same, for a file alone
        compatible_defaults = {"min_count": 1}      # options added later, with the value that changes nothing
        version = 2                                 # raised when the same options give another result

All five are literals. `runtime_options`, `data_options` and `file_options` of bases count, too.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from halonerf.factory import locate

OPTION_LISTS = ("runtime_options", "data_options", "file_options")


@dataclass(frozen=True)
class Declaration:
    """What a class declares: names of options, and the values of its literal class attributes.

    files: source files of the class and of its bases, the class's first; those of libraries are left out. For a class
        of another package also those of all modules of that package that they import, directly or not.
    names: of all attributes and methods in the class bodies.
    """

    target: str
    files: tuple[Path, ...] = ()
    names: frozenset[str] = frozenset()
    literals: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    runtime_options: frozenset[str] = frozenset()
    data_options: frozenset[str] = frozenset()
    file_options: frozenset[str] = frozenset()

    @property
    def compatible_defaults(self) -> Mapping[str, Any]:
        return self.literals.get("compatible_defaults", {})

    @property
    def version(self) -> int:
        return int(self.literals.get("version", 1))

    @property
    def own(self) -> bool:
        """Whether the class comes with this package."""
        return self.target.split(".")[0] == "halonerf"


def declaration(target: str) -> Declaration:
    """What the class that a `_target_` names declares; the class is imported where its source is not found.

    Raises: BadInput where there is no such class.
    """
    return declaration_in_source(target) or _imported(target)


@cache
def declaration_in_source(target: str) -> Declaration | None:
    """The same, None where the class's source is not found: nothing is imported."""
    found = list(_class_bodies(target))
    if not found:
        return None
    names: set[str] = set()
    literals: dict[str, Any] = {}
    listed: dict[str, set[str]] = {name: set() for name in OPTION_LISTS}
    for _, body in found:
        for name, value in _attributes(body):
            names.add(name)
            if name in listed:
                listed[name] |= set(_literal(value) or ())
            elif name not in literals and (literal := _literal(value)) is not None:
                literals[name] = literal
    files = tuple(dict.fromkeys([*(path for path, _ in found), *_imported_files(target)]))
    options = {name: frozenset(values) for name, values in listed.items()}
    return Declaration(target, files, frozenset(names), literals, **options)


def _imported(target: str) -> Declaration:
    """The same of a class that has to be imported."""
    kind = locate(target)
    bases = [base for base in inspect.getmro(kind) if base is not object]
    files = []
    for base in bases:
        if base.__module__.split(".")[0] in {target.split(".")[0], "halonerf"}:
            source = inspect.getsourcefile(base)
            files += [Path(source)] if source else []
    listed = {name: frozenset(x for base in bases for x in vars(base).get(name, ())) for name in OPTION_LISTS}
    literals = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    names = frozenset(name for base in bases for name in vars(base))
    return Declaration(target, tuple(dict.fromkeys(files)), names, literals, **listed)


def _class_bodies(target: str, seen: frozenset[str] = frozenset()) -> Iterator[tuple[Path, ast.ClassDef]]:
    """File and body of the class, then of its bases, depth first; nothing where the class is not found."""
    module, _, name = target.rpartition(".")
    path = source_file(module) if module and target not in seen else None
    if path is None:
        return
    tree = _parsed(path)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield path, node
            origins = _imports(tree, _package(module, path))
            for base in node.bases:
                text = ast.unparse(base)
                first, _, rest = text.partition(".")
                full = f"{origins[first]}.{rest}".rstrip(".") if first in origins else f"{module}.{text}"
                if full.split(".")[0] in {target.split(".")[0], "halonerf"}:
                    yield from _class_bodies(full, seen | {target})
            return
    origin = _exported(tree, module, _package(module, path), name)
    if origin is not None:
        yield from _class_bodies(origin, seen | {target})


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
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imported_files(target: str) -> list[Path]:
    """Source files of the modules of an outside class's own package that its module imports, directly or not."""
    top = target.split(".")[0]
    if top == "halonerf":
        return []
    found: dict[str, Path] = {}
    waiting = [target.rpartition(".")[0]]
    while waiting:
        module = waiting.pop()
        path = source_file(module) if module.split(".")[0] == top and module not in found else None
        if path is None:
            continue
        found[module] = path
        for origin in _imports(_parsed(path), _package(module, path), nested=True).values():
            waiting += [origin, origin.rpartition(".")[0]]
    return list(found.values())


def _package(module: str, path: Path) -> str:
    """The package that a module's relative imports start from."""
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _imports(tree: ast.Module, package: str, nested: bool = False) -> dict[str, str]:
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
    imported = _imports(tree, package).get(name)
    if imported is not None:
        return imported
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            homes = _literal(node.value)
            if isinstance(homes, dict) and isinstance(homes.get(name), str):
                return f"{module}.{homes[name]}.{name}"
    own = f"{module}.{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}"
    return f"{own}.{name}" if source_file(own) else None


def _attributes(body: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None]]:
    """Names in a class body, with the expression where it is an assignment."""
    for node in body.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, None


def _literal(value: ast.expr | None) -> Any:
    """The value of a literal expression; None for any other."""
    try:
        return None if value is None else ast.literal_eval(value)
    except ValueError:
        return None
