"""Labels by FLAN-T5-XL with the prompt, decoding and clean-up of HaLo-NeRF."""

from __future__ import annotations

from halonerf.config.option_types import PositiveInt, Text
from halonerf.distillers.hf_generate import HfGenerate


class FlanT5Paper(HfGenerate):
    """HaLo-NeRF's distillation (Dudai et al., Eurographics 2024), except that "undercroft" is a label, not unknown.

    The prompt is `prompts/paper.txt`. Four beams without length penalty, stopped early, at most 20 new tokens. Answers
    are lower-cased, filtered for "unknown", and lose a leading compass direction; nothing is merged, verified against
    the record, or filtered by confidence. Evidence is searched for all the same, for display.

    Args:
        weights: hub id or local folder. characters: maximum length of each field in the prompt.
        batch, dtype, device: as for `HfGenerate`. cache: folder of replies that runs share.
    """

    def __init__(
        self,
        weights: Text = "google/flan-t5-xl",
        characters: PositiveInt = 1000,
        batch: PositiveInt = 16,
        dtype: Text = "auto",
        device: str | None = None,
        cache: str | None = None,
    ) -> None:
        """Raises: MissingArtifact, BadInput: the weights cannot be read (`PretrainedSource.model`)."""
        super().__init__(
            weights, prompt="paper", answers="paper", labels=1, ungrounded=1.0, min_confidence=0.0,
            characters=characters, beams=4, length_penalty=0.0, early_stopping=True, tokens=20, batch=batch,
            dtype=dtype, device=device, cache=cache,
        )  # fmt: skip
