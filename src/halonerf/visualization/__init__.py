"""Pictures, overlays, palettes, plots, video and HTML pages."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Page": "html_pages",
    "caption": "overlays",
    "concept_tint": "overlays",
    "confidence_colours": "overlays",
    "depth_colours": "pictures",
    "draw_curves": "plots",
    "encoded": "pictures",
    "fit": "pictures",
    "grid": "pictures",
    "heat": "pictures",
    "highlight": "overlays",
    "labelled_strip": "html_pages",
    "legend": "overlays",
    "mosaic": "html_pages",
    "outline": "pictures",
    "overlay": "pictures",
    "relative_confidence": "overlays",
    "save_picture": "pictures",
    "save_video": "video",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
