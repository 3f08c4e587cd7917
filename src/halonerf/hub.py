"""Pretrained models in the Hugging Face hub's layout: read by hub id or from a folder, with advice where that fails."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halonerf.errors import BadInput, MissingArtifact, first_line
from halonerf.files import atomic_folder


@dataclass(frozen=True)
class PretrainedSource:
    """Where a model's weights come from, and how messages name them.

    weights: hub id, or a local folder in the hub's layout. title: what is expected there, such as "SAM 3".
    published: hub id of published weights. option: the command-line option that sets `weights`, without "=".
    fallback: the options that need no weights, if any. hint: what else may cure files that cannot be read.
    """

    weights: str
    title: str
    published: str
    option: str
    fallback: str = ""
    hint: str = ""

    def model(self, kind: Any, **options: Any) -> Any:
        """The model in evaluation mode. kind: a class of transformers; options: of its `from_pretrained`.

        Raises:
            MissingArtifact: the weights are neither in the folder, nor in the local cache, nor on a hub in reach.
            BadInput: the files hold another model, or only a part of its weights.
        """
        with self._advice():
            model, loading = kind.from_pretrained(
                self._place(), output_loading_info=True, **self._where_to_look(), **options
            )
        missing = sorted(loading["missing_keys"]) + sorted(str(key) for key in loading.get("mismatched_keys", ()))
        if missing:
            raise BadInput(
                f"expected all weights of {self.title} in '{self.weights}', but {len(missing)} are missing or of "
                f"another shape, the first: {missing[0]}.\nDownload the complete files with: {self._download()}"
            )
        return model.eval()

    def part(self, kind: Any, **options: Any) -> Any:
        """A config, tokenizer or processor that lies beside the weights; raises as `model`."""
        with self._advice():
            return kind.from_pretrained(self._place(), **self._where_to_look(), **options)

    def _place(self) -> str:
        folder = Path(self.weights).expanduser()
        return str(folder) if folder.is_dir() else self.weights

    def _where_to_look(self) -> dict[str, bool]:
        """For a hub id without a hub in reach: the cache alone, since the hub's client tries each file for minutes."""
        return {"local_files_only": True} if self._out_of_reach() else {}

    def _out_of_reach(self) -> bool:
        return self._place() == self.weights and not Path(self.weights).is_dir() and not hub_in_reach()

    def _download(self) -> str:
        return f"hf download {self.published} --local-dir DIR"

    @contextmanager
    def _advice(self) -> Iterator[None]:
        """Turn the errors of `from_pretrained` into advice."""
        try:
            yield
        except OSError as error:
            fallback = f". Without a network: {self.fallback}" if self.fallback else ""
            reason, cached = first_line(error), ""
            if self._out_of_reach():
                reason = f"{hub_address()} cannot be reached, and the local cache has no complete copy"
                cached = "\nWhat `hf download` without --local-dir has put in the cache is found without a network."
            raise MissingArtifact(
                f"expected {self.title} with its config, weights and preprocessing in '{self.weights}' (a hub id or a "
                f"local folder), but could not get them: {reason}\n"
                f"Download them on a machine with network access with: {self._download()}\n"
                f"and use them with: {self.option}=DIR{fallback}{cached}"
            ) from error
        except (ImportError, ValueError, RuntimeError, KeyError, AttributeError, TypeError) as error:
            # whatever a config of another kind of model causes
            hint = f"\n{self.hint}" if self.hint else ""
            raise BadInput(
                f"expected {self.title} in '{self.weights}', but its files describe something else, or cannot be read: "
                f"{first_line(error)}\nDownload published ones with: {self._download()}\n"
                f"and use them with: {self.option}=DIR{hint}"
            ) from error


def hub_address() -> str:
    """URL of the hub: Hugging Face's, or that of the environment variable HF_ENDPOINT."""
    from huggingface_hub import constants

    return constants.ENDPOINT


@functools.cache
def hub_in_reach(wait_s: float = 3.0) -> bool:
    """Whether the hub answers, in whatever words, within `wait_s` seconds; asked once in a process.

    False with HF_HUB_OFFLINE=1, without asking.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        with suppress(Exception):  # whatever the network does: refused, no such host, a proxy's error, too late
            get_session().head(hub_address(), timeout=wait_s)
            answered.set()

    thread = threading.Thread(target=ask, daemon=True)  # for the look-up of the name takes no limit
    thread.start()
    thread.join(wait_s)
    return answered.is_set()


def write_pretrained(folder: Path, *parts: Any) -> None:
    """Atomically write parts (model, tokenizer, processor) by their `save_pretrained` into `folder`, replacing it."""
    with atomic_folder(folder) as fresh:
        for part in parts:
            part.save_pretrained(fresh)
