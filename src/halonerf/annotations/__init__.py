"""What users draw on photos and renderings to show where a concept is; files and masks of it."""

from halonerf.exports import lazy_exports

_HOMES = {
    "RENDERING_PX": "annotation",
    "AnnotatedCamera": "annotation",
    "Annotation": "annotation",
    "AnnotationSet": "annotation_set",
    "annotated_regions": "regions",
    "drawn_region": "regions",
    "require_interactive_segmenter": "regions",
    "superpixels": "superpixels",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
