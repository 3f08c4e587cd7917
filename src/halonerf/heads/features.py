"""Dense features lifted into the field and compared with words: the baselines in 3D, DFF-style and LERF-style.

DFF (Kobayashi et al., "Decomposing NeRF for Editing via Feature Field Distillation", NeurIPS 2022) gives every place a
feature that renders to what a dense encoder says of the photos, and compares it with a text. LERF (Kerr et al., "LERF:
Language Embedded Radiance Fields", ICCV 2023) does so with embeddings of crops of several sizes and takes for every
text the size at which it is clearest. Both learn their features by descent; here they are lifted, as everything is:
the weighted mean over the photos. LERF's second branch, DINO features that keep its own smooth, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from halonerf.errors import BadInput
from halonerf.heads.elements import check_supervision
from halonerf.protocols import RadianceField
from halonerf.types import View

CHUNK = 32  # channels lifted or rendered together
BLOCK = 8192  # elements compared together


class LiftedFeatures(nn.Module):
    """One unit feature an element and scale, in half precision, and the words it is compared with.

    Args:
        scales: sides of the crops that are embedded, in shares of a photo's short side; none: the dense encoder (DFF).
        rivals: what a word must beat: "words", the others and the phrases, or "phrases" alone (LERF).
        min_confidence: fully opaque pixels that must have said something about an element; below, it is unknown.
        top: share of the elements, the most relevant, that decide which scale suits a word.
    """

    takes_features: ClassVar[bool] = True  # fitted to features of photos, not to maps of concepts
    TENSORS: ClassVar[tuple[str, ...]] = ("features", "support", "texts", "phrases", "scale", "chosen")

    features: Tensor  # [S, E, D], half
    support: Tensor  # [E]
    texts: Tensor  # [P, D]
    phrases: Tensor  # [C, D]
    scale: Tensor  # [1], what cosines are multiplied by
    chosen: Tensor  # [P], each word's scale, an index

    def __init__(
        self,
        scales: Sequence[float],
        rivals: str,
        min_confidence: float = 0.05,
        top: float = 0.01,
    ) -> None:
        super().__init__()
        if rivals not in RIVALS or min_confidence < 0 or not 0 < top <= 1:
            raise BadInput(
                f"expected head.rivals={' or '.join(RIVALS)}, head.min_confidence >= 0 and 0 < head.top <= 1, got "
                f"{rivals!r}, {min_confidence} and {top}"
            )
        if any(not 0 < scale <= 1 for scale in scales):
            raise BadInput(f"expected head.scales, shares of a photo's short side, in (0, 1], got {list(scales)}")
        self.scales, self.rivals, self.min_confidence, self.top = list(scales), rivals, min_confidence, top
        for name in self.TENSORS:
            self.register_buffer(name, torch.zeros(0))

    @torch.no_grad()
    def fit(
        self,
        field: RadianceField,
        views: Sequence[View],
        maps: Sequence[Sequence[Tensor]],
        weights: Sequence[Tensor],
    ) -> None:
        """See `halonerf.protocols.FeatureHead`. Maps are read scale by scale, so that one scale is in memory at once.

        Raises: BadInput where there is no view, or views, maps and weights are not as many, or a scale is missing.
        """
        check_supervision(views, cast(Sequence[Tensor], maps), weights)  # it only counts them
        count = max(1, len(self.scales))
        features, support = [], torch.zeros(field.elements)
        for scale in range(count):
            total, support = torch.zeros(0), torch.zeros(field.elements)
            for view, given, weight in zip(views, maps, weights, strict=True):
                if len(given) != count:
                    raise BadInput(
                        f"expected features at {count} scales (head.scales={self.scales}), got {len(given)}.\n"
                        "Make them for the same head: halonerf stage=features head=lerf head.scales=[0.25,0.5]"
                    )
                if not len(total):
                    total = torch.zeros(field.elements, given[scale].shape[0])
                seen = torch.zeros(field.elements)
                for part, pixels in _full_size(given[scale], view):
                    sums, seen = field.lift(view, pixels.to(weight), weight)
                    total[:, part] += sums.cpu()
                support += seen.cpu()
            # the mean's length says how far photos agree; only its direction is compared
            features.append(normalize(total, dim=1).half())
        self.features, self.support = torch.stack(features), support
        self.texts = self.phrases = torch.zeros(0, self.features.shape[-1])

    @torch.no_grad()
    def set_texts(self, texts: Tensor, phrases: Tensor, scale: float) -> None:
        """See `halonerf.protocols.FeatureHead`. Raises: BadInput where a word would have no rival."""
        width = self.features.shape[-1]
        if texts.shape[-1] != width or phrases.shape[-1] != width or not len(texts) or not len(phrases):
            raise BadInput(
                f"expected at least one word and one phrase, {width} numbers each as the lifted features have, got "
                f"{list(texts.shape)} and {list(phrases.shape)}.\nPhrases are: features.phrases=[object,texture]"
            )
        self.texts, self.phrases = texts.float().to(self.support), phrases.float().to(self.support)
        self.scale = torch.tensor([scale]).to(self.support)
        if len(self.features) == 1:
            self.chosen = torch.zeros(len(texts), dtype=torch.long, device=self.support.device)
        else:
            asked = torch.stack([self._of_elements(number) for number in range(len(self.features))])
            self.chosen = best_scales(asked, self.support * self._known(), self.top)

    def probabilities(self) -> Tensor:
        """See `halonerf.protocols.SemanticHead`: each element's own relevancy."""
        self._check()
        said = torch.zeros(len(self.support), len(self.texts), device=self.support.device)
        for number in self.chosen.unique().tolist():
            own = self.chosen == number
            said[:, own] = self._of_elements(number)[:, own]
        return said * self._known()[:, None]

    def confidence(self) -> Tensor:
        """See `halonerf.protocols.SemanticHead`; the same for all words."""
        self._check()
        return (self.support * self._known())[:, None].expand(-1, len(self.texts))

    @torch.no_grad()
    def render(self, field: RadianceField, view: View, appearance: Tensor) -> tuple[Tensor, Tensor]:
        """Probability and confidence, [H, W, P] each.

        Words are compared with the *rendered* feature of the known elements, as in DFF and LERF. What passes all
        elements shows the background, which is no concept:  p = relevancy * known / (1 - sum_unknown w).
        """
        self._check()
        known = self._known()
        shown = field.render(view, appearance, known[:, None].to(self.support))
        assert shown.channels is not None
        confidence = shown.channels
        rest = (1 - shown.opacity[..., None]).clamp(min=0) + confidence
        share = torch.where(confidence > 1e-4, confidence / rest.clamp(min=1e-4), 0.0)
        said = torch.zeros(*confidence.shape[:2], len(self.texts)).to(confidence)
        vectors = torch.cat([self.texts, self.phrases]).to(confidence)
        for number in self.chosen.unique().tolist():
            dots, square = said.new_zeros(*said.shape[:2], len(vectors)), torch.zeros_like(confidence)
            for part in _parts(self.features.shape[-1]):
                values = self.features[number, :, part].float() * known[:, None]
                drawn = field.render(view, appearance, values).channels
                assert drawn is not None
                dots += drawn @ vectors[:, part].T
                square += drawn.square().sum(dim=-1, keepdim=True)
            cosines = dots / square.sqrt().clamp(min=1e-6)
            own = self.chosen == number
            said[..., own] = self._relevancy(cosines)[..., own]
        return (said * share).clamp(0, 1), confidence.expand_as(said)

    def save(self, path: Path) -> None:
        """Write features, support and words."""
        save_file({name: getattr(self, name).contiguous() for name in self.TENSORS}, path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        for name, value in load_file(path).items():
            setattr(self, name, value)

    def _known(self) -> Tensor:
        return (self.support > 0) & (self.support >= self.min_confidence)

    def _check(self) -> None:
        assert self.texts.numel(), "fit, then tell, before asking"

    def _of_elements(self, number: int) -> Tensor:
        """Relevancy of every word for every element at one scale, [E, P]."""
        vectors = torch.cat([self.texts, self.phrases]).T
        return torch.cat([self._relevancy(block.float() @ vectors) for block in self.features[number].split(BLOCK)])

    def _relevancy(self, cosines: Tensor) -> Tensor:
        words, phrases = cosines.split([len(self.texts), len(self.phrases)], dim=-1)
        return relevancy(words, phrases, float(self.scale), self.rivals)


def _parts(width: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, width)) for start in range(0, width, CHUNK)]


def _full_size(given: Tensor, view: View) -> Iterator[tuple[slice, Tensor]]:
    """Some channels at a time of a map [D, h, w] over the whole of a view, [H, W, some]."""
    for part in _parts(given.shape[0]):
        some = given[None, part].float()
        pixels = interpolate(some, (view.height, view.width), mode="bilinear", align_corners=False)
        yield part, pixels[0].permute(1, 2, 0).contiguous()


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
