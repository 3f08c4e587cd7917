"""Ha-NeRF (Chen et al. 2022): a NeRF with appearance codes predicted from photos."""

from halonerf.exports import lazy_exports

_HOMES = {
    "frequencies": "network",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
