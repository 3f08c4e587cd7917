"""Models in the hub's layout: read by hub id or from a folder, written as a folder that is whole or not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from halonerf.errors import BadInput, MissingArtifact


def read_pretrained(weights: str, title: str, published: str, option: str, model: Any, *parts: Any) -> list[Any]:
    """The model in evaluation mode, with all its weights, then its other parts (tokenizer, processor, …).

    Args:
        weights: hub id, or a local folder in the hub's layout.
        title: what people call the model. published: hub id of its published weights.
        option: how to say on the command line where the weights are, up to the "=".
        model, parts: classes with `from_pretrained`.

    Raises:
        MissingArtifact: they are neither in the folder, nor in the local cache, nor to be had from the hub.
        BadInput: the files are there but hold another model, or only a part of the weights.
    """
    fetch = f"hf download {published} --local-dir DIR"
    try:
        loaded, loading = model.from_pretrained(weights, output_loading_info=True)
        others = [part.from_pretrained(weights) for part in parts]
    except OSError as error:
        raise MissingArtifact(
            f"expected the weights of {title} with all that belongs to them in '{weights}' (a hub id or a local "
            f"folder), but could not get them: {_first_line(error)}\n"
            f"Download them where there is a network with: {fetch}\n"
            f"and use them with: {option}=DIR. Without a network: segmenter=timm_text"
        ) from error
    except (ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:  # whatever a foreign config causes
        raise BadInput(
            f"expected a {title} model in '{weights}', but its files describe something else: {_first_line(error)}\n"
            f"Download the published one with: {fetch}"
        ) from error
    missing = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading.get("mismatched_keys", ()))
    if missing:
        raise BadInput(
            f"expected all weights of {title} in '{weights}', but {len(missing)} are missing or of another shape, "
            f"the first: {missing[0]}.\nDownload whole ones with: {fetch}"
        )
    return [loaded.eval(), *others]


def write_pretrained(folder: Path, *parts: Any) -> None:
    """Write parts with `save_pretrained` into `folder`, replacing what is there.

    A run that is killed meanwhile leaves the old folder or none, and a hidden one beside it that the next call clears.
    """
    fresh, old = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "old"))
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    for part in parts:
        part.save_pretrained(fresh)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
