"""Text queries in 3D: cached encodings, lifting tables, connected parts, answers."""

from halonerf.exports import lazy_exports

_HOMES = {
    "ConnectedPart": "connected_parts",
    "PartFinder": "connected_parts",
    "PartOptions": "connected_parts",
    "QueryAnswer": "answer",
    "QueryOptions": "answer",
    "QuerySession": "session",
    "RenderedMap": "answer",
    "TaughtConcept": "teaching",
    "TeachingSession": "teaching",
    "WordLayers": "word_layers",
    "element_spacing": "connected_parts",
    "find_parts": "connected_parts",
    "lifting_table": "lifting_tables",
    "render_elements": "word_layers",
    "rounded_seconds": "answer",
    "table_grid": "lifting_tables",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
