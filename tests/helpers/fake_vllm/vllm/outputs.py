"""What a request gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class CompletionOutput:
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None
    finish_reason: str
    logprobs: Any = None


@dataclass
class RequestOutput:
    prompt_token_ids: Sequence[int]
    outputs: list[CompletionOutput]
    prompt: str | None = None
    finished: bool = True
    metrics: Any = None
    prompt_logprobs: Any = None


class PoolingRequestOutput:
    pass
