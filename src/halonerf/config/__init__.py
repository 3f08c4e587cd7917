"""Config sources for Hydra, types of options, and messages for errors in configs."""

from halonerf.exports import lazy_exports

_HOMES = {
    "config_root": "sources",
    "register_experiments": "sources",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
