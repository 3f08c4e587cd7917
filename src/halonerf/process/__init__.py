"""What concerns the process as a whole: signals that stop it, its worker processes, its memory."""

from halonerf.exports import lazy_exports

_HOMES = {
    "Stop": "signals",
    "follow_parent": "signals",
    "keep_freed_memory": "memory",
    "stopping": "signals",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
