"""Builds a component from its config: `_target_` names the class, the other keys are its arguments."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from halonerf.errors import BadInput


def locate(target: str) -> Any:
    """The class or function that `target` ("package.module.Name") names.

    Raises: BadInput where there is none.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        missing = getattr(error, "name", None)
        if isinstance(error, ImportError) and missing and not module.startswith(missing):
            raise  # the module is there; something that it imports is not
        raise BadInput(
            f"expected _target_ to name a class that can be imported, such as 'halonerf.fields.Gaussians', "
            f"got '{target}' ({error}).\nMend the YAML that says so, or install the package it belongs to."
        ) from error


def build(config: Mapping[str, Any], *, nested: bool = True, **extra: Any) -> Any:
    """The object that `config` describes; `extra` arguments win.

    Args:
        nested: build the configs inside it first; otherwise they are passed on as mappings.
    """
    if "_target_" not in config:
        raise BadInput(f"expected a component's config with a _target_, got the keys {sorted(config)}")
    arguments = {key: _built(value) if nested else value for key, value in config.items() if key != "_target_"}
    return locate(config["_target_"])(**{**arguments, **extra})


def _built(value: Any) -> Any:
    if isinstance(value, Mapping):
        return build(value) if "_target_" in value else {key: _built(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_built(entry) for entry in value]
    return value
