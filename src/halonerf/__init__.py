"""HaloNeRF: type a word, see where it is on the building."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
__all__ = ["Scene", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Scene":  # brings in PyTorch and Hydra, which take seconds: only where it is used
        return import_module("halonerf.api").Scene
    raise AttributeError(f"module 'halonerf' has no attribute '{name}'")
