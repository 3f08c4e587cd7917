"""The routes: one module and one router per subject, each made for a scene."""

from halonerf.exports import lazy_exports

_HOMES = {
    "films_router": "films",
    "lights_router": "lights",
    "notes_router": "notes",
    "paths_router": "paths",
    "photos_router": "photos",
    "renderings_router": "renderings",
    "scene_router": "scene",
    "teaching_router": "teaching",
    "uploads_router": "uploads",
    "words_router": "words",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
