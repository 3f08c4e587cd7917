"""The arguments of constructors with their types, read from source files without importing them, as `declarations`.

Annotations are evaluated with what a module imports from the standard library's typing modules, `annotated_types`,
`pydantic` and `halonerf.config.option_types`, and with the aliases that modules of its own package define. A protocol
of `halonerf.protocols` counts as the config of such a component, any other name as `Any`. Classes without an
`__init__` of their own in their source (dataclasses, functions) are imported.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_type_hints

from halonerf.config.option_types import Component
from halonerf.factory import locate
from halonerf.pipeline.source_code import class_bodies, imports, literal, package_of, parsed, source_file

# Modules that are cheap to import and hold types only.
TYPE_MODULES = ("typing", "collections.abc", "pathlib", "annotated_types", "pydantic", "halonerf.config.option_types")


@dataclass(frozen=True)
class Argument:
    """One argument of a constructor.

    default: None where there is none, or where it is not a literal.
    """

    name: str
    type: Any = Any
    required: bool = False
    default: Any = None


@dataclass(frozen=True)
class Signature:
    """The arguments of a constructor that can be given by name; `open`: it takes any others, too."""

    arguments: Mapping[str, Argument] = field(default_factory=dict)
    open: bool = False


@cache
def signature_of(target: str) -> Signature:
    """The constructor's arguments of the class that a `_target_` names.

    Raises: BadInput where there is no such class.
    """
    bodies = list(class_bodies(target))
    for module, path, body in bodies:
        for node in body.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return _from_source(node, module, path)
        if body.decorator_list:  # a dataclass, say
            break
    if bodies and not any(body.node.bases or body.node.decorator_list for body in bodies):
        return Signature()
    return _from_object(locate(target))


def _from_source(node: ast.FunctionDef, module: str, path: Path) -> Signature:
    spec = node.args
    positional = [*spec.posonlyargs, *spec.args][1:]  # without self
    defaults = [*[None] * (len(positional) - len(spec.defaults)), *spec.defaults[-len(positional) or None :]]
    names = _Names(module, path)
    arguments = {}
    for given, default in zip([*positional, *spec.kwonlyargs], [*defaults, *spec.kw_defaults], strict=True):
        kind = _evaluated(given.annotation, names)
        arguments[given.arg] = Argument(given.arg, kind, default is None, literal(default))
    return Signature(arguments, spec.kwarg is not None)


def _from_object(kind: Any) -> Signature:
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError):  # written in C
        return Signature(open=True)
    function = vars(kind).get("__init__", kind) if isinstance(kind, type) else kind
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # annotations of others may name what cannot be imported
        hints = {}
    arguments = {
        name: Argument(
            name,
            hints.get(name, Any),
            parameter.default is parameter.empty,
            None if parameter.default is parameter.empty else parameter.default,
        )
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    return Signature(arguments, any(p.kind is p.VAR_KEYWORD for p in parameters.values()))


class _Names(dict[str, Any]):
    """What the names in a module's annotations stand for, looked up when they are needed."""

    def __init__(self, module: str, path: Path) -> None:
        super().__init__()
        self.module, self.tree = module, parsed(path)
        self.imported = imports(self.tree, package_of(module, path), nested=True)

    def __missing__(self, name: str) -> Any:
        found = Any
        if name in self.imported:
            found = self._imported(self.imported[name])
        elif (alias := _alias(self.tree, name)) is not None:
            found = _evaluated(alias, self)
        elif hasattr(builtins, name):
            found = getattr(builtins, name)
        self[name] = found
        return found

    def _imported(self, origin: str) -> Any:
        if origin in TYPE_MODULES:
            return import_module(origin)
        module, _, name = origin.rpartition(".")
        if module == "halonerf.protocols":
            return Component
        if module in TYPE_MODULES:
            return getattr(import_module(module), name, Any)
        path = source_file(module) if module.split(".")[0] == self.module.split(".")[0] else None
        return Any if path is None else _Names(module, path)[name]


def _alias(tree: ast.Module, name: str) -> ast.expr | None:
    """What a module assigns to `name` at its top level, as `Size = Literal["small", "large"]` does."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return node.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return node.value
    return None


def _evaluated(annotation: ast.expr | None, names: _Names) -> Any:
    """The type that an annotation stands for; `Any` where it cannot be told without importing more."""
    try:
        return Any if annotation is None else _type(annotation, names)
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError):
        return Any


def _type(node: ast.expr, names: _Names) -> Any:
    match node:
        case ast.Constant(value=str(text)):  # a forward reference
            return _type(ast.parse(text, mode="eval").body, names)
        case ast.Constant(value=constant):
            return constant
        case ast.Name(id=name):
            return names[name]
        case ast.Attribute(value=parent, attr=name):
            return getattr(_type(parent, names), name, Any)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left, names) | _type(right, names)
        case ast.List(elts=entries) | ast.Tuple(elts=entries):
            return tuple(_type(entry, names) for entry in entries)
        case ast.Call(func=function, args=positional, keywords=named):
            given = {str(keyword.arg): _value(keyword.value, names) for keyword in named}
            return _type(function, names)(*(_value(argument, names) for argument in positional), **given)
        case ast.Subscript(value=origin, slice=inner):
            kind = _type(origin, names)
            if kind is Any:
                return Any
            return kind[ast.literal_eval(inner)] if kind is Literal else kind[_type(inner, names)]
    raise ValueError(f"not an annotation: {ast.unparse(node)}")


def _value(node: ast.expr, names: _Names) -> Any:
    """An argument of a constraint: a literal, or a constant by name."""
    return _type(node, names) if isinstance(node, (ast.Name, ast.Attribute)) else ast.literal_eval(node)
