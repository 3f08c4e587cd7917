"""Text towers of `timm_text`: a pretrained frozen one with a projection, and a small one over letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from halonerf.errors import BadInput
from halonerf.hub import PretrainedSource


class HubText(nn.Module):
    """Text embeddings by the frozen text encoder of CLIP, SigLIP or SigLIP 2 and a learnt linear projection.

    Args:
        weights: hub id, or a local folder in the hub's layout, of a model with `get_text_features`.
        size: dimension of the embedding.

    Raises: MissingArtifact, BadInput as `PretrainedSource.model`; BadInput where the model does not embed texts.
    """

    def __init__(self, weights: str, size: int = 128) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        source = PretrainedSource(
            weights,
            "a text encoder",
            "openai/clip-vit-base-patch32",
            "segmenter=timm_text segmenter.text",
            "segmenter.text=letters",
        )
        self.encoder: Any = source.model(AutoModel)
        self.tokenizer = source.part(AutoTokenizer)
        if not hasattr(self.encoder, "get_text_features"):
            raise BadInput(
                f"expected a model that embeds texts, such as CLIP or SigLIP, in '{weights}', got a "
                f"{type(self.encoder).__name__}.\nThe small tower that needs no weights is: segmenter.text=letters"
            )
        if hasattr(self.encoder, "vision_model"):
            self.encoder.vision_model = nn.Identity()  # most of the weights, and unused
        self.encoder.requires_grad_(False)
        # SigLIP was trained on texts padded to one length, CLIP on unpadded ones
        self.padding = "max_length" if "siglip" in self.encoder.config.model_type else True
        self.out = nn.Linear(self._features(["a"]).shape[1], size)
        self.norm = nn.LayerNorm(size, elementwise_affine=False)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [P, size], each of mean 0 and variance 1."""
        return self.norm(self.out(self._features(prompts)))

    def train(self, mode: bool = True) -> HubText:
        """Set the projection's mode; the encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.train(False)
        return self

    @torch.no_grad()
    def _features(self, prompts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(prompts), padding=self.padding, truncation=True, return_tensors="pt")
        return self.encoder.get_text_features(**tokens.to(self.encoder.device)).pooler_output


LETTERS = " abcdefghijklmnopqrstuvwxyz0123456789"  # index + 1 in the embedding; 0 is padding
FOREIGN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def spell(prompt: str) -> str:
    """`prompt` in the alphabet of `LETTERS`: lower case, without accents, single spaces.

    Raises: BadInput where no letter is left.
    """
    plain = unicodedata.normalize("NFKD", prompt.casefold().translate(FOREIGN))
    kept = "".join(c if c in LETTERS else "" if unicodedata.combining(c) else " " for c in plain)
    spelt = " ".join(kept.split())
    if not spelt:
        raise BadInput(
            f"expected a text with Latin letters or digits, got {prompt!r}.\n"
            "This segmenter reads words letter by letter: write the word in the Latin alphabet."
        )
    return spelt


class LetterTower(nn.Module):
    """Text embeddings by a bidirectional GRU over letters: a projection of its states' maximum and the two last states.

    Args:
        size: dimension of the embedding.
        letter: dimension of a letter's embedding.
        hidden: dimension of the state in each direction.
    """

    def __init__(self, size: int = 128, letter: int = 32, hidden: int = 96) -> None:
        super().__init__()
        self.letter = nn.Embedding(len(LETTERS) + 1, letter, padding_idx=0)
        self.gru = nn.GRU(letter, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Sequential(nn.Linear(4 * hidden, size), nn.ReLU(), nn.Linear(size, size))
        self.norm = nn.LayerNorm(size, elementwise_affine=False)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [P, size], each of mean 0 and variance 1. Raises: BadInput for a prompt without Latin letters."""
        spelt = [torch.tensor([LETTERS.index(c) + 1 for c in spell(prompt)]) for prompt in prompts]
        lengths = torch.tensor([len(word) for word in spelt])
        indices = nn.utils.rnn.pad_sequence(spelt, batch_first=True).to(self.letter.weight.device)
        packed = pack_padded_sequence(self.letter(indices), lengths, batch_first=True, enforce_sorted=False)
        states, last = self.gru(packed)
        # padding must not win the maximum: states lie in (-1, 1)
        per_letter, _ = pad_packed_sequence(states, batch_first=True, padding_value=-1.0)
        return self.norm(self.out(torch.cat([per_letter.amax(dim=1), last[0], last[1]], dim=1)))
