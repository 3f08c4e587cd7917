"""Weights of the matchers' networks: from a file, a URL, or the URLs where their authors publish them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from halonerf.errors import BadInput, MissingArtifact

HUB = "hub"  # value of a miner's `weights` for the published ones


def fill(
    network: nn.Module,
    weights: str,
    published: Sequence[str],
    option: str,
    inside: str = "",
    spare: Collection[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> None:
    """Load weights into the network and set it to evaluation mode.

    Args:
        weights: "hub" for the published ones, kept in PyTorch's hub folder once downloaded; a URL; or a file
            (.safetensors, or what `torch.save` wrote).
        published: URLs, tried in turn.
        option: the config option of the weights, such as "miner.weights".
        inside: the entry of the file that holds the weights, where it is not the file itself.
        spare: buffers that a file may lack, since the network computes them.
        renamed: prefixes of names in the file to those in the network.

    Raises:
        MissingArtifact: there is no such file, or it cannot be downloaded from any URL.
        BadInput: the file does not hold all weights of this network.
    """
    state = _read(weights, published, option)
    name = type(network).__name__
    state = state.get(inside, state) if inside else state
    for old, new in (renamed or {}).items():
        state = {f"{new}.{k[len(old) + 1 :]}" if k.startswith(f"{old}.") else k: v for k, v in state.items()}
    try:
        missing, _ = network.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BadInput(
            f"expected weights of {name} in '{weights}', but they do not fit: {str(error).splitlines()[-1].strip()}\n"
            f"Use the published ones with: {option}=hub"
        ) from error
    absent = [key for key in missing if key not in spare]
    if absent:  # entries unknown to the network, such as those of training, are ignored
        raise BadInput(
            f"expected all weights of {name} in '{weights}', but {len(absent)} are missing, the first: {absent[0]}.\n"
            f"Use the published ones with: {option}=hub"
        )
    network.eval().requires_grad_(False)


def _read(weights: str, published: Sequence[str], option: str) -> dict[str, Any]:
    file = Path(weights).expanduser()
    remote = weights == HUB or urlparse(weights).scheme in ("http", "https")
    if not remote and not file.is_file():
        raise MissingArtifact(
            f"expected the weights {option}={weights} to be a file, a URL, or 'hub', but there is no such file.\n"
            f"Download them on a machine with a network from {published[0]}\nand give the file: {option}=FILE"
        )
    problem: Exception | None = None
    for address in (list(published) if weights == HUB else [weights]) if remote else []:
        try:
            return torch.hub.load_state_dict_from_url(address, map_location="cpu", progress=False, weights_only=True)
        except (OSError, RuntimeError) as error:  # no network, no such file there, or a broken transfer
            problem = error
    if remote:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise MissingArtifact(
            f"expected the weights {option}={weights} in {folder} or on the internet, but could not get them "
            f"({problem}).\nDownload them on a machine with a network from {published[0]}\n"
            f"and put the file into that folder, or give it with: {option}=FILE. Without weights: miner=sift"
        ) from problem
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several kinds for damaged and for unsafe files
        raise BadInput(
            f"expected PyTorch weights in {file}, but cannot read them safely: {str(error).splitlines()[0]}\n"
            f"Use the published ones with: {option}=hub"
        ) from error
    if not isinstance(state, dict):
        raise BadInput(f"expected a dictionary of weights in {file}, got {type(state).__name__}")
    return state
