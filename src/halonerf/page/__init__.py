"""The page on which people look at a landmark: its data as bytes and facts, and its modules in `app`.

`stage=share` writes it as one file; `stage=explore` serves it.
"""

from halonerf.exports import lazy_exports

_HOMES = {
    "PackedArrays": "packing",
    "SharedLight": "lights",
    "SharedWord": "words",
    "write_shared_page": "document",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
