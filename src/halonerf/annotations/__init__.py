"""What users draw on photos to show where a concept is: points, strokes and polygons; their files; their masks."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Annotation": "annotation",
    "AnnotationSet": "annotation_set",
    "annotated_regions": "regions",
    "drawn_region": "regions",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
