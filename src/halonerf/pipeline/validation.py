"""Checks options against the annotations of the constructors that take them, before anything runs.

Values are judged by pydantic in strict mode: no text is taken for a number, no number for true or false. Two readings
that mean the same are made one, so that they give one fingerprint: an integer where a float is expected becomes a
float, and an integer where text is expected (`scene.name=2024`) becomes text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MinLen, Predicate
from pydantic import ConfigDict, TypeAdapter, ValidationError

from halonerf.config.option_types import LARGEST
from halonerf.config.suggestions import unknown_option
from halonerf.errors import BadInput
from halonerf.pipeline.arguments import Argument, signature_of

STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
SHOWN = 8  # problems listed in one message


class Problem(NamedTuple):
    """An option that is not what it should be."""

    place: str  # dotted name
    expected: str
    given: str
    hint: str = ""  # what to type

    def __str__(self) -> str:
        return f"expected {self.place} to be {self.expected}, got {self.given}.{self.hint}"


def checked(config: Mapping[str, Any], place: Callable[[str], str]) -> dict[str, Any]:
    """`config`, of a stage or component, once all its options and those of the components inside are as annotated.

    Args:
        place: gives the dotted name under which the user finds an option.

    Raises: BadInput that lists what is wrong.
    """
    problems: list[Problem | str] = []
    found = _component(config, place, problems)
    refuse(problems)
    return found


def refuse(problems: Sequence[Problem | str]) -> None:
    """Raises: BadInput that lists the problems, if there are any."""
    lines = list(dict.fromkeys(str(problem) for problem in problems))
    if lines:
        more = f"\n... and {len(lines) - SHOWN} more." if len(lines) > SHOWN else ""
        raise BadInput("\n".join(lines[:SHOWN]) + more)


def checked_values(values: Mapping[str, Any], types: Mapping[str, Any], place: Callable[[str], str]) -> dict[str, Any]:
    """`values` once each is of its type; those without a type are left alone.

    Raises: BadInput that lists what is wrong.
    """
    problems: list[Problem | str] = []
    found = {
        name: _value(value, Argument(name, types[name], True), place(name), problems) if name in types else value
        for name, value in values.items()
    }
    refuse(problems)
    return found


def _component(config: Mapping[str, Any], place: Callable[[str], str], problems: list[Problem | str]) -> dict[str, Any]:
    signature = signature_of(str(config["_target_"]))
    known = signature.arguments
    for name in known:
        if known[name].required and name not in config:
            problems.append(Problem(place(name), describe(known[name].type), "no value", f" Give {place(name)}=VALUE."))
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name == "_target_":
            found[name] = value
        elif name in known:
            found[name] = _nested(_value(value, known[name], place(name), problems), place(name), problems)
        else:
            if not signature.open:
                problems.append(unknown_option(str(name), list(known), place(str(name))))
            found[name] = value
    return found


def _nested(value: Any, place: str, problems: list[Problem | str]) -> Any:
    """`value` with the components inside it checked."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _component(value, lambda name: f"{place}.{name}", problems)
        return {key: _nested(entry, f"{place}.{key}", problems) for key, entry in value.items()}
    if isinstance(value, list):
        return [_nested(entry, f"{place}.{i}", problems) for i, entry in enumerate(value)]
    return value


def _value(value: Any, argument: Argument, place: str, problems: list[Problem | str]) -> Any:
    """`value`, made one where two readings mean the same; a problem is noted where it is not of the argument's type."""
    value = _as_text(value, argument.type)
    if value is None and argument.default is None and not argument.required:
        return value
    try:
        valid = _adapter(argument.type).validate_json(json.dumps(value, default=str))
    except ValidationError as error:
        kind = argument.type
        where, given = place, value
        path = error.errors()[0]["loc"]
        if path[-1:] == ("[key]",):
            problems.append(unknown_option(str(path[-2]), _key_choices(kind), f"{place}.{path[-2]}"))
            return value
        for part in path:
            if not _holds(given, part):
                break
            where, given, kind = f"{where}.{part}", given[part], _entry_type(kind)
        problems.append(Problem(where, describe(kind), shown(given), _hint(where, given, kind)))
        return value
    return valid if type(value) is int and isinstance(valid, float) else value


def _as_text(value: Any, kind: Any) -> Any:
    """Integers in `value` as text where text is expected and no number: `scene.name=2024`, `text=[portal,1889]`."""
    if isinstance(value, list):
        return [_as_text(entry, _entry_type(kind)) for entry in value]
    kinds = set(_alternatives(kind))
    return str(value) if type(value) is int and str in kinds and not kinds & {int, float, bool} else value


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=STRICT)


def _holds(value: Any, part: int | str) -> bool:
    """Whether `part` is a key of a mapping, or a position in a list."""
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _bare(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without the constraints of its `Annotated`, and those."""
    if get_origin(kind) is Annotated:
        inner, *constraints = get_args(kind)
        return inner, tuple(constraints)
    return kind, ()


def _alternatives(kind: Any) -> list[Any]:
    """The types of a union without their constraints, or the one type."""
    inner, _ = _bare(kind)
    parts = get_args(inner) if get_origin(inner) in (Union, UnionType) else (inner,)
    return [_bare(part)[0] for part in parts]


def _key_choices(kind: Any) -> list[str]:
    """The names that a mapping may have, where its type lists them."""
    for part in _alternatives(kind):
        if (arguments := get_args(part)) and get_origin(arguments[0]) is Literal:
            return list(get_args(arguments[0]))
    return []


def _entry_type(kind: Any) -> Any:
    """The type of the entries of a sequence or the values of a mapping; `Any` where it is not said."""
    for part in _alternatives(kind):
        if arguments := get_args(part):
            return arguments[-1] if arguments[-1] is not Ellipsis else arguments[0]
    return Any


def _hint(place: str, given: Any, kind: Any) -> str:
    """What to type where text was meant and Hydra read something else."""
    if str in _alternatives(kind) and not isinstance(given, (str, NoneType)):
        return f" Quote text that looks like something else: '{place}=\"...\"'."
    return ""


def shown(value: Any) -> str:
    """A value as it is written in YAML, cut where it is long."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def describe(kind: Any) -> str:
    """A type in words, such as "an integer from 1 to 3 or null"."""
    inner, constraints = _bare(kind)
    if get_origin(inner) in (Union, UnionType):
        parts = [describe(part) for part in get_args(inner)]
        return " or ".join([*(part for part in parts if part != "null"), *["null"] * ("null" in parts)])
    if get_origin(inner) is Literal:
        choices = [shown(choice).strip("'") for choice in get_args(inner)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    return f"{_noun(inner, constraints)}{_range(constraints)}"


NOUNS = {int: "integer", float: "number", bool: "true or false", str: "text", NoneType: "null", Any: "any value"}


def _noun(kind: Any, constraints: tuple[Any, ...]) -> str:
    if any(isinstance(constraint, Predicate) for constraint in constraints):
        return "a component's config (a mapping with _target_)"
    least = next((constraint.min_length for constraint in constraints if isinstance(constraint, MinLen)), 0)
    filled = least > 0
    if kind in NOUNS:
        article = "an " if kind is int else "a " if kind is float else ""
        return f"{article}{'non-empty ' * filled}{NOUNS[kind]}"
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    size = next((c.min_length for c in constraints if isinstance(c, Len) and c.min_length == c.max_length), 0)
    counted = f"a list of {size}," if size else f"a list of at least {least}," if least > 1 else ""
    article = "a non-empty" if filled else "a"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{article} mapping of names, each to {describe(arguments[-1])}" if arguments else "a mapping"
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list [{', '.join(describe(argument) for argument in arguments)}]"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        listed = counted or f"{article} list,"
        return f"{listed} each entry {describe(arguments[0])}" if arguments else f"{article} list"
    return f"a {getattr(origin, '__name__', origin)}"


def _range(constraints: tuple[Any, ...]) -> str:
    """The bounds of a number in words."""
    bounds: dict[str, Any] = {}
    for constraint in constraints:
        for name in ("gt", "ge", "lt", "le"):
            if isinstance(constraint, (Gt, Ge, Lt, Le, Interval)) and getattr(constraint, name, None) is not None:
                bounds[name] = getattr(constraint, name)
    if bounds.get("le") == LARGEST:
        del bounds["le"]
    if set(bounds) == {"ge", "le"}:
        return f" from {bounds['ge']} to {bounds['le']}"
    words = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
    return " " * bool(bounds) + " and ".join(f"{words[name]} {bound}" for name, bound in bounds.items())
