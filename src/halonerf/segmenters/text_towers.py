"""A text tower that others trained: the text encoder of CLIP, SigLIP or SigLIP 2, frozen, and a projection."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from halonerf.errors import BadInput
from halonerf.segmenters.hub import read_pretrained


class HubText(nn.Module):
    """Embeds a text by a frozen encoder and a learned linear map.

    Args:
        weights: hub id, or a local folder in the hub's layout, of a model with `get_text_features`.
        size: length of a text's embedding.

    Raises: MissingArtifact, BadInput as `read_pretrained`; BadInput where the model does not embed texts.
    """

    def __init__(self, weights: str, size: int = 128) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        self.encoder: Any
        self.encoder, self.tokenizer = read_pretrained(
            weights,
            "a text encoder",
            "openai/clip-vit-base-patch32",
            "segmenter=timm_text segmenter.text",
            AutoModel,
            AutoTokenizer,
        )
        if not hasattr(self.encoder, "get_text_features"):
            raise BadInput(
                f"expected a model that embeds texts, such as CLIP or SigLIP, in '{weights}', got a "
                f"{type(self.encoder).__name__}.\nThe small tower that needs none is: segmenter.text=letters"
            )
        if hasattr(self.encoder, "vision_model"):
            self.encoder.vision_model = nn.Identity()  # most of the weights, and nobody asks it
        self.encoder.requires_grad_(False)
        # SigLIP learned on texts padded to one length, CLIP on texts that end where they end
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
        words = self.tokenizer(list(prompts), padding=self.padding, truncation=True, return_tensors="pt")
        found = self.encoder.get_text_features(**words.to(self.encoder.device))
        return found.pooler_output


LETTERS = " abcdefghijklmnopqrstuvwxyz0123456789"  # index + 1 in the embedding; 0 is padding
FOREIGN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"})


def spell(prompt: str) -> str:
    """`prompt` in the alphabet of `LETTERS`: lower case, without accents, one space between words.

    Raises: BadInput where no letter is left.
    """
    plain = unicodedata.normalize("NFKD", prompt.casefold().translate(FOREIGN))
    kept = "".join(c if c in LETTERS else "" if unicodedata.combining(c) else " " for c in plain)
    spelt = " ".join(kept.split())
    if not spelt:
        raise BadInput(
            f"expected a text with Latin letters or digits, got {prompt!r}.\n"
            "This segmenter spells words in the Latin alphabet; write the word in it."
        )
    return spelt


class LetterTower(nn.Module):
    """Bidirectional GRU over letters; a text is the largest answer over its letters and the two last states.

    Args:
        size: length of a text's embedding.
        letter: length of a letter's embedding.
        hidden: length of the state in each direction.
    """

    def __init__(self, size: int = 128, letter: int = 32, hidden: int = 96) -> None:
        super().__init__()
        self.letter = nn.Embedding(len(LETTERS) + 1, letter, padding_idx=0)
        self.gru = nn.GRU(letter, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Sequential(nn.Linear(4 * hidden, size), nn.ReLU(), nn.Linear(size, size))
        self.norm = nn.LayerNorm(size, elementwise_affine=False)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [P, size], each of mean 0 and variance 1. Raises: BadInput for a prompt without letters."""
        spelt = [torch.tensor([LETTERS.index(c) + 1 for c in spell(prompt)]) for prompt in prompts]
        lengths = torch.tensor([len(word) for word in spelt])
        indices = nn.utils.rnn.pad_sequence(spelt, batch_first=True).to(self.letter.weight.device)
        packed = pack_padded_sequence(self.letter(indices), lengths, batch_first=True, enforce_sorted=False)
        states, last = self.gru(packed)
        # padding must not win the maximum: states lie in (-1, 1)
        per_letter, _ = pad_packed_sequence(states, batch_first=True, padding_value=-1.0)
        return self.norm(self.out(torch.cat([per_letter.amax(dim=1), last[0], last[1]], dim=1)))
