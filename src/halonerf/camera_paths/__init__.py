"""Camera paths for films: key-frames, presets (orbit, spiral, fly-through), splines, checks of paths from files."""

from halonerf.exports import lazy_exports

_HOMES = {
    "CameraPath": "path",
    "KeyFrame": "path",
    "Sample": "path",
    "appearance_mix": "path",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
