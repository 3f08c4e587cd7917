"""Stage `adapt_clip`: contrastive fine-tuning of a CLIP on distilled labels."""

from halonerf.exports import lazy_exports

_HOMES = {
    "AdaptClip": "stage",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
