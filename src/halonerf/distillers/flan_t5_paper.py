"""The paper's distiller: FLAN-T5-XL with the paper's prompt, decoding and clean-up."""

from __future__ import annotations

from halonerf.distillers.hf_generate import HfGenerate


class FlanT5Paper(HfGenerate):
    """HaLo-NeRF's distillation (Dudai et al., Eurographics 2024), but for "undercroft", which it dropped as unknown.

    The prompt is `prompts/paper.txt`. Four beams without length penalty, stopped early, at most 20 new tokens. An
    answer is put into lower case, unknown or not, and loses a leading compass direction; nothing is merged, checked
    against the record, or left out for being uncertain. Evidence is looked for all the same, for people to see.
    """

    def __init__(
        self,
        weights: str = "google/flan-t5-xl",
        characters: int = 1000,
        batch: int = 16,
        dtype: str = "auto",
        device: str | None = None,
        cache: str | None = None,
    ) -> None:
        """Raises: MissingArtifact, BadInput: the weights are not there, or are no model that generates text."""
        super().__init__(
            weights, prompt="paper", answers="paper", labels=1, ungrounded=1.0, least=0.0, characters=characters,
            beams=4, length_penalty=0.0, early_stopping=True, tokens=20, batch=batch, dtype=dtype, device=device,
            cache=cache,
        )  # fmt: skip
