"""Error messages for command lines that Hydra cannot compose: what was expected, and what to type instead."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from halonerf.config.suggestions import unknown_choice, unknown_option
from halonerf.errors import first_line

# What composing raises. Hydra has a ValueError of its own for a config group without a name.
COMPOSING_ERRORS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)


def explain(error: Exception, overrides: Sequence[str], compose: Callable[[Sequence[str]], Mapping[str, Any]]) -> str:
    """One message for an error of composing.

    Args:
        overrides: the arguments of the command line.
        compose: gives the config for other arguments as a plain container, unresolved.
    """
    text = str(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, overrides)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return unknown_choice(name, list(error.options or ()), group)
    if found := re.match(r"Ambiguous value for argument '(.*)'", text):
        return _several(found[1])
    if isinstance(error, ConfigCompositionException) and (found := re.match(r"Could not override '(.*)'\.", text)):
        others = [given for given in overrides if given.split("=")[0].lstrip("+~") != found[1]]
        try:
            config = compose(others)
        except COMPOSING_ERRORS:
            config = compose([])
        return _unknown(found[1], config)
    if isinstance(error, ValueError) and text.startswith("Config group override"):
        named = next((given for given in overrides if _names_no_option(given, compose([]))), first_line(error))
        return f"expected GROUP=NAME with the name of an option of a config group, got {named}.\nSee: halonerf --help"
    causes = [first_line(cause) for cause in (error, error.__cause__) if isinstance(cause, Exception)]
    return "\n".join([*dict.fromkeys(causes), "See: halonerf --help"])


def quoted(override: str) -> str:
    """`KEY=VALUE` as it is typed in a shell for a value that Hydra is to take as text, character by character."""
    key, _, value = override.partition("=")
    mark = Quote.single if '"' in value and "'" not in value else Quote.double
    return shlex.quote(f"{key}={QuotedString(value, mark).with_quotes()}")


def _unreadable(override: str | None, overrides: Sequence[str]) -> str:
    """Of an argument that is not in Hydra's grammar: that with its value quoted, where this makes it readable."""
    given = override or next((text for text in overrides if not _readable(text)), "")
    if "=" not in given:
        position = list(overrides).index(given) if given in overrides else 0
        start = max((i for i in range(position) if "=" in overrides[i]), default=None)
        end = next((i for i in range(position, len(overrides)) if "=" in overrides[i]), len(overrides))
        joined = " ".join(overrides[start:end]) if start is not None else ""
        advice = f"\nA text of several words is quoted twice: {quoted(joined)}" if joined else ""
        return f"expected options as KEY=VALUE, got '{given}'.{advice}\nSee: halonerf --help"
    key = given.partition("=")[0]
    if not re.fullmatch(r"[~+]{0,2}[\w/@.:-]+", key, re.ASCII):
        return f"expected options as KEY=VALUE, got '{given}'.\nSee: halonerf --help"
    typed = quoted(given)
    return f"expected a value that Hydra can read, got {given}.\nQuote text with special characters twice: {typed}"


def _readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _names_no_option(override: str, config: Mapping[str, Any]) -> bool:
    """Whether an argument gives a config group something other than a name."""
    key, _, value = override.partition("=")
    group = key.lstrip("+~").partition("@")[0]
    named = re.match(r"[A-Za-z_]", value) and value not in ("null", "true", "false")
    return not group or (isinstance(config.get(group), Mapping) and not named)


def _several(override: str) -> str:
    key, _, value = override.partition("=")
    return (
        f"expected one value, got several: {override}.\n"
        f"One run for each: halonerf -m {shlex.quote(override)} ... A list: {shlex.quote(f'{key}=[{value}]')}. "
        f"One text with a comma: {quoted(override)}"
    )


def _unknown(place: str, config: Mapping[str, Any]) -> str:
    """Of an option that is not in the config: the near names beside it, else anywhere in the config."""
    node: Any = config
    *parents, name = place.split(".")
    for i, part in enumerate(parents):
        if not isinstance(node, Mapping) or part not in node:
            return _unknown(".".join(parents[: i + 1]), config)
        node = node[part]
    if isinstance(node, str) and (reference := re.fullmatch(r"\$\{([\w.]+)\}", node)):
        return _unknown(f"{reference[1]}.{name}", config)
    if not isinstance(node, Mapping):
        return f"there is no option {place}: {'.'.join(parents)} is a value.\nSet it with: {'.'.join(parents)}=VALUE"
    known = [key for key in map(str, node) if key != "_target_"]
    leaves: dict[str, str] = {}
    for path in sorted(_paths(config), key=len, reverse=True):
        leaves[path.rpartition(".")[2]] = path  # the shortest of a name
    elsewhere = [leaves[key] for key in difflib.get_close_matches(name, list(leaves), 2, 0.75)]
    return unknown_option(name, known, place, elsewhere)


def _paths(node: Any, place: str = "") -> Iterator[str]:
    """Dotted names of all options below a plain container."""
    for key, value in node.items() if isinstance(node, Mapping) else ():
        if key != "_target_":
            path = f"{place}.{key}" if place else str(key)
            yield path
            yield from _paths(value, path)
