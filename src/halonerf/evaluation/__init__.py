"""Evaluation: protocols, ground truth, scores with bootstrap intervals, curves, tables."""

from halonerf.exports import lazy_exports

_HOMES = {
    "GroundTruthMasks": "ground_truth",
    "as_text": "scores",
    "at_native": "protocol",
    "at_size": "protocol",
    "check_held_out": "protocol",
    "counted": "protocol",
    "differences": "bootstrap",
    "estimates": "bootstrap",
    "figure_rows": "scores",
    "histogram": "scores",
    "latex_table": "tables",
    "no_map": "scores",
    "picks": "examples",
    "save_curves": "curves",
    "score_map": "scores",
    "scored_views": "protocol",
    "spreads": "tables",
    "stacked": "examples",
    "strip": "examples",
    "summarise": "scores",
    "table_fields": "tables",
    "table_rows": "tables",
    "text_table": "tables",
    "write_curves": "curves",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
