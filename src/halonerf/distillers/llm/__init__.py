"""Language-model distillers: prompts, constrained answers, grounding in the record, caches."""

from halonerf.exports import lazy_exports

_HOMES = {
    "LanguageDistiller": "base",
    "Refused": "server_client",
    "Reply": "answer_cache",
    "ServerClient": "server_client",
    "VllmDistiller": "vllm_base",
    "answer_with_ray": "vllm_ray",
    "as_text": "prompts",
    "mean_token_probability": "vllm_base",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
