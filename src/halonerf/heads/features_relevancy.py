"""From cosines between what is seen and what is said to probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

RIVALS = ("words", "phrases")


def relevancy(words: Tensor, phrases: Tensor, scale: float, rivals: str) -> Tensor:
    """How far each word beats its rivals, in [0, 1].

    "words": softmax over all words and phrases, as zero-shot segmentation does (Kobayashi et al., "Decomposing NeRF
    for Editing via Feature Field Distillation", 2022; Li et al., "Language-driven Semantic Segmentation", 2022).
    "phrases": of the softmaxes of the word and one phrase alone, the least (Kerr et al., "LERF: Language Embedded
    Radiance Fields", 2023, section 3.4), so that words do not compete and a place may be two things.

    Args:
        words: cosines with the words, [..., P]. phrases: cosines with the phrases, [..., C].
        scale: the inverse of the temperature.
    Returns: [..., P].
    """
    if rivals == "words":
        return (scale * torch.cat([words, phrases], dim=-1)).softmax(dim=-1)[..., : words.shape[-1]]
    strongest = phrases.amax(dim=-1, keepdim=True)  # the softmax of a pair falls with its rival: the least is here
    return torch.sigmoid(scale * (words - strongest))


def best_scales(relevancies: Tensor, weight: Tensor, top: float) -> Tensor:
    """The scale at which each word is clearest: where the mean of its highest relevancies is highest, [P].

    LERF takes the scale with the highest relevancy anywhere in a picture; here elements are asked, once, so that all
    views agree, and the mean over a share of them, as one element alone is often wrong.

    Args:
        relevancies: [S, E, P]. weight: [E], elements of weight 0 do not count. top: share of the elements that do.
    """
    known = relevancies[:, weight > 0]
    if not known.shape[1]:
        return torch.zeros(relevancies.shape[-1], dtype=torch.long, device=relevancies.device)
    count = max(1, round(top * known.shape[1]))
    return known.topk(count, dim=1).values.mean(dim=1).argmax(dim=0)
