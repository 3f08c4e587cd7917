"""Distilled labels: their table, the photos they belong to, a page of samples."""

from halonerf.exports import lazy_exports

_HOMES = {
    "LabelSamples": "page",
    "PhotoLabel": "photo_labels",
    "Sample": "page",
    "best_labels": "table",
    "frequent_labels": "table",
    "interleave": "photo_labels",
    "label_table": "photo_labels",
    "labels_by_photo": "table",
    "merge_labels": "photo_labels",
    "photo_labels": "photo_labels",
    "plural": "words",
    "read_label_rows": "table",
    "read_labels": "table",
    "related_labels": "photo_labels",
    "sample": "page",
    "split_photos": "photo_labels",
    "storable": "table",
    "table_path": "table",
    "write_label_page": "page",
    "write_labels": "table",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
