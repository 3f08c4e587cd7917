"""Pictures, overlays, palettes, plots, video and HTML pages."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Page": "html_pages",
    "caption": "overlays",
    "depth_colours": "pictures",
    "confidence_colours": "overlays",
    "draw_curves": "plots",
    "encoded": "pictures",
    "fit": "pictures",
    "grid": "pictures",
    "heat": "pictures",
    "labelled_strip": "html_pages",
    "legend": "overlays",
    "highlight": "overlays",
    "mosaic": "html_pages",
    "outline": "pictures",
    "overlay": "pictures",
    "save_picture": "pictures",
    "save_video": "video",
    "relative_confidence": "overlays",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
