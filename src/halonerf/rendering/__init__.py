"""Rendering of fields: tiles of large frames, appearance (lights), film frames, surfels baked from any field."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FrameRenderer": "film_frames",
    "undistorted_photo": "lights",
    "resolve_light": "lights",
    "appearance_code": "lights",
    "most_important": "surfels",
    "named_lights": "times_of_day",
    "open_splats": "surfels",
    "view_tiles": "tiles",
    "render_frame": "tiles",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
