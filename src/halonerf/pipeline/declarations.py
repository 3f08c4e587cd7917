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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from halonerf.factory import locate
from halonerf.pipeline.source_code import class_bodies, imports, literal, package_of, parsed, source_file

OPTION_LISTS = ("runtime_options", "data_options", "file_options")


@dataclass(frozen=True)
class Declaration:
    """What a class declares: names of options, and the values of its literal class attributes.

    own_files: source files of the class and of its bases, the class's first; those of libraries are left out.
    names: of all attributes and methods in the class bodies.
    """

    target: str
    own_files: tuple[Path, ...] = ()
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
    def files(self) -> tuple[Path, ...]:
        """`own_files`, and of a class of another package those of all its modules that they import, directly or not."""
        return tuple(dict.fromkeys([*self.own_files, *_imported_files(self.target)]))

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
    found = list(class_bodies(target))
    if not found:
        return None
    names: set[str] = set()
    literals: dict[str, Any] = {}
    listed: dict[str, set[str]] = {name: set() for name in OPTION_LISTS}
    for body in found:
        for name, value in _attributes(body.node):
            names.add(name)
            if name in listed:
                listed[name] |= set(literal(value) or ())
            elif name not in literals and (constant := literal(value)) is not None:
                literals[name] = constant
    files = tuple(dict.fromkeys(body.path for body in found))
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


@cache
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
        for origin in imports(parsed(path), package_of(module, path), nested=True).values():
            waiting += [origin, origin.rpartition(".")[0]]
    return list(found.values())


def _attributes(body: ast.ClassDef) -> Iterator[tuple[str, ast.expr | None]]:
    """Names in a class body, with the expression where it is an assignment."""
    for node in body.body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, None
