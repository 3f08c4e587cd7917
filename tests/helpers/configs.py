"""The YAMLs of `conf/` as Hydra composes them."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf


def option_files(group: Path) -> list[Path]:
    """The options of a config group, sorted; files whose name begins with "_" are defaults of others, not options."""
    return sorted(path for path in group.glob("*.yaml") if not path.name.startswith("_"))


def load_option(path: Path) -> DictConfig:
    """An option's YAML merged over those of its defaults list that lie beside it."""
    option = OmegaConf.load(path)
    assert isinstance(option, DictConfig)
    shared = [name for name in option.pop("defaults", ()) if name != "_self_"]
    merged = OmegaConf.merge(*(OmegaConf.load(path.with_name(f"{name}.yaml")) for name in shared), option)
    assert isinstance(merged, DictConfig)
    return merged
