"""`vllm_engine` where vLLM is not installed; what it does where it is, tests/distillers/test_vllm_real.py tells."""

from __future__ import annotations

import importlib.util

import pytest

from halonerf.distillers.vllm_engine import VllmEngine
from halonerf.errors import BadInput, MissingExtra


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_extra_is_named():
    with pytest.raises(MissingExtra, match=r"halonerf\[vllm\]"):
        VllmEngine()


def test_a_context_has_room_for_a_prompt():
    with pytest.raises(BadInput, match="context=4096, tokens=4096"):
        VllmEngine(tokens=4096)
