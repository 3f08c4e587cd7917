"""Label distillers: image metadata -> pseudo-labels of architectural parts."""

from halonerf.exports import lazy_exports

_HOMES = {
    "FlanT5Paper": "flan_t5_paper",
    "HfGenerate": "hf_generate",
    "OpenaiServer": "openai_server",
    "Rules": "rules",
    "VllmEngine": "vllm_engine",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
