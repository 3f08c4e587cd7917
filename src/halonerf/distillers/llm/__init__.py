"""Language-model distillers: prompts, constrained answers, grounding in the record, caches."""

from halonerf.exports import lazy_exports

_HOMES = {
    "LanguageDistiller": "base",
    "Refused": "server_client",
    "Reply": "answer_cache",
    "ServerClient": "server_client",
    "as_text": "prompts",
    "ask_with_ray": "vllm_ray",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
