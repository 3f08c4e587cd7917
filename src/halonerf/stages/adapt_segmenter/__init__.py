"""Stage `adapt_segmenter`: teacher-student adaptation of a segmenter on zoomed-in / zoomed-out pairs."""

from halonerf.exports import lazy_exports

_HOMES = {
    "AdaptSegmenter": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
