"""Rendering of fields: tiles of large frames, appearance (lights), film frames, surfels baked from any field."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FrameRenderer": "film_frames",
    "appearance_code": "appearance",
    "at_working_size": "appearance",
    "most_important": "surfels",
    "open_splats": "surfels",
    "photos_by_time_of_day": "times_of_day",
    "render_frame": "tiles",
    "resolve_appearance": "appearance",
    "view_tiles": "tiles",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
