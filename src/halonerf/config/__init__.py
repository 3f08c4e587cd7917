"""Where configs are found, the types of options, and what to say of mistakes in them."""

from halonerf.exports import lazy_exports

_HOMES = {
    "config_root": "sources",
    "register_experiments": "sources",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
