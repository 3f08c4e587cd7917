"""How to sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class StructuredOutputsParams:
    json: str | dict[str, Any] | None = None


@dataclass
class SamplingParams:
    temperature: float
    top_p: float
    seed: int
    max_tokens: int
    structured_outputs: StructuredOutputsParams | None
    logprobs: int | None = None
