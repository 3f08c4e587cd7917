"""Config overrides: another component for every stage that has one, other options of one stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from halonerf.errors import BadInput


def apply_overrides(config: Mapping[str, Any], stage: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The config of `stage` with `overrides`.

    Args:
        overrides: name of a stage to options of that stage; name of an option that takes a component (head, segmenter,
            field ...) to the component's config, for every stage that has the option.

    Raises: BadInput for an option that the stage does not have.
    """
    own = dict(overrides.get(stage) or {})
    if unknown := sorted(set(own) - set(config)):
        raise BadInput(
            f"expected options of stage '{stage}' among {', '.join(key for key in config if key != '_target_')}; got "
            f"{', '.join(unknown)}."
        )
    return {**config, **{key: value for key, value in overrides.items() if key in config}, **own}


def merge_overrides(*several: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides applied one after the other: options of a stage are merged, and the later of two values counts."""
    found: dict[str, Any] = {}
    for overrides in several:
        for key, value in overrides.items():
            both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping) and "_target_" not in value
            found[key] = {**found[key], **value} if both else value
    return found
