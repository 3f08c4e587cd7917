"""The same road with some options changed: other components for every stage, other options of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from halonerf.errors import BadInput


def apply_overrides(config: Mapping[str, Any], stage: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The config of `stage` after `changes`.

    Args:
        changes: by name of a stage, options of that stage; by name of an option that takes a component (head,
            segmenter, field ...), the component's config, for every stage that has the option.

    Raises: BadInput for an option that the stage does not have.
    """
    own = dict(changes.get(stage) or {})
    if unknown := sorted(set(own) - set(config)):
        raise BadInput(
            f"expected options of stage '{stage}' among {', '.join(key for key in config if key != '_target_')}; got "
            f"{', '.join(unknown)}."
        )
    return {**config, **{key: value for key, value in changes.items() if key in config}, **own}


def merge_overrides(*several: Mapping[str, Any]) -> dict[str, Any]:
    """Changes one after the other; options of a stage are put together, and of two the later counts."""
    found: dict[str, Any] = {}
    for changes in several:
        for key, value in changes.items():
            both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping) and "_target_" not in value
            found[key] = {**found[key], **value} if both else value
    return found
