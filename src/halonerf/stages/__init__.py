"""The stages of the pipeline; each reads the artifacts of others and writes its own. `specs` has the graph."""

from halonerf.exports import lazy_exports

_HOMES = {
    "AdaptClip": "adapt_clip.stage",
    "AdaptSegmenter": "adapt_segmenter.stage",
    "Collect": "collect",
    "Compare": "compare.stage",
    "CompareLabels": "compare_labels",
    "Distill": "distill.stage",
    "Evaluate": "evaluate",
    "Explore": "explore",
    "Export": "export.stage",
    "Features": "features",
    "Index": "index.stage",
    "Ingest": "ingest.stage",
    "Localize": "localize",
    "Mine": "mine.stage",
    "Query": "query",
    "Reconstruct": "reconstruct.stage",
    "Render": "render.stage",
    "Report": "report",
    "Segment": "segment.stage",
    "Share": "share.stage",
    "Targets": "targets",
    "TrainSegmenter": "train_segmenter",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
