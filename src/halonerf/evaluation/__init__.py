"""Evaluation: protocols, ground truth, scores with bootstrap intervals, curves, tables."""

from halonerf.exports import lazy_exports

_HOMES = {
    "GroundTruthMasks": "ground_truth",
    "check_held_out": "protocol",
    "csv_row": "scores",
    "differences": "bootstrap",
    "draw_precision_recall": "curves",
    "estimates": "bootstrap",
    "example_strip": "examples",
    "histogram": "scores",
    "latex_table": "tables",
    "map_strip": "examples",
    "metric_rows": "scores",
    "missing_map_scores": "scores",
    "native_map": "protocol",
    "pooled_curve": "scores",
    "scene_spreads": "tables",
    "score_map": "scores",
    "scored_pixels": "protocol",
    "scored_views": "protocol",
    "select_examples": "examples",
    "stack_strips": "examples",
    "summarise": "scores",
    "table_fields": "tables",
    "table_rows": "tables",
    "text_table": "tables",
    "write_curves": "curves",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
