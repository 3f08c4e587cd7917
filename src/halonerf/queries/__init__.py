"""Text queries in 3D: cached encodings, lifting tables, connected parts, answers."""

from halonerf.exports import lazy_exports

_HOMES = {
    "QueryAnswer": "answer",
    "QueryOptions": "answer",
    "ConnectedPart": "connected_parts",
    "QuerySession": "session",
    "RenderedMap": "answer",
    "WordLayers": "word_layers",
    "table_grid": "lifting_tables",
    "find_parts": "connected_parts",
    "rounded_seconds": "answer",
    "lifting_table": "lifting_tables",
    "element_spacing": "connected_parts",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
