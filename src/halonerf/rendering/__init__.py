"""Rendering of fields: tiles of large frames, appearance (lights), film frames, surfels baked from any field."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FrameRenderer": "film_frames",
    "appearance_code": "lights",
    "most_important": "surfels",
    "named_lights": "times_of_day",
    "open_splats": "surfels",
    "render_frame": "tiles",
    "resolve_light": "lights",
    "undistorted_photo": "lights",
    "view_tiles": "tiles",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
