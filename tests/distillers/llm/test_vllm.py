"""`vllm_engine` where vLLM is not installed; what it does where it is, tests/distillers/test_vllm_real.py tells."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from halonerf.distillers.vllm_engine import VllmEngine
from halonerf.errors import BadInput, MissingExtra


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_extra_is_named():
    with pytest.raises(MissingExtra, match=r"halonerf\[vllm\]"):
        VllmEngine()


@pytest.mark.parametrize("options", [{"tokens": 0}, {"tokens": 4096}, {"gpus": 0}, {"answers": "xml"}])
def test_options_out_of_range(options: dict[str, Any]):
    with pytest.raises(BadInput):
        VllmEngine(**options)
