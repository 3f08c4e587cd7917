"""The routes: one module and one router per subject, each made for a scene."""

from halonerf.exports import lazy_exports

_HOMES = {
    "lights_router": "lights",
    "photos_router": "photos",
    "renderings_router": "renderings",
    "scene_router": "scene",
    "teaching_router": "teaching",
    "words_router": "words",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
