"""Pictures, overlays, palettes, plots, video and HTML pages."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Page": "html_pages",
    "caption": "overlays",
    "concept_colours": "palette",
    "depth_colours": "pictures",
    "draw_curves": "plots",
    "encoded": "pictures",
    "fit": "pictures",
    "grid": "pictures",
    "heat": "pictures",
    "hex_colour": "palette",
    "highlight": "overlays",
    "labelled_strip": "html_pages",
    "legend": "overlays",
    "luminance": "pictures",
    "mosaic": "html_pages",
    "outline": "pictures",
    "overlay": "pictures",
    "palette_colour": "palette",
    "save_picture": "pictures",
    "save_video": "video",
    "to_uint8": "pictures",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
