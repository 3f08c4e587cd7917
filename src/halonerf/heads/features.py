"""Dense image features lifted to the field and compared with texts: the baselines in 3D, DFF-style and LERF-style.

DFF (Kobayashi et al., "Decomposing NeRF for Editing via Feature Field Distillation", NeurIPS 2022) fits a
feature field whose renderings match the features of a dense encoder, and compares it with texts. LERF (Kerr et al.,
"LERF: Language Embedded Radiance Fields", ICCV 2023) does so with embeddings of crops of several sizes and takes for
every text the size of the highest relevancy. Both fit their features by gradient descent; here they are lifted: the
weighted mean over the photos. LERF's second branch, DINO features that regularise its own, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from halonerf.config.option_types import NonNegativeFloat, PositiveFraction
from halonerf.errors import BadInput
from halonerf.heads.aggregation import channel_parts, lift_feature_maps
from halonerf.heads.elements import check_supervision
from halonerf.lifting import over_known
from halonerf.protocols import RadianceField
from halonerf.types import View

CHUNK_ELEMENTS = 8192  # compared at once


class LiftedFeatures(nn.Module):
    """One unit feature per element and scale, in half precision, and the texts that it is compared with.

    Args:
        scales: sides of the embedded crops, in shares of a photo's short side; none: the dense encoder (DFF).
        rivals: the alternatives in a text's softmax: "words", the other texts and the phrases, or "phrases" (LERF).
        min_confidence: support of an element, in fully opaque pixels, below which it is unknown.
        top: share of the elements, the most relevant ones, that decide a text's scale.
    """

    takes_features: ClassVar[bool] = True  # `localize` passes maps of the stage `features`
    TENSORS: ClassVar[tuple[str, ...]] = ("features", "support", "texts", "phrases", "scale", "chosen")

    features: Tensor  # [S, E, D], half precision, unit length
    support: Tensor  # [E], fully opaque pixels
    texts: Tensor  # [P, D], unit length
    phrases: Tensor  # [C, D], unit length
    scale: Tensor  # [1], factor of cosines before a softmax
    chosen: Tensor  # [P], index of each text's scale

    def __init__(
        self,
        scales: Sequence[PositiveFraction],
        rivals: Literal["words", "phrases"],
        min_confidence: NonNegativeFloat = 0.05,
        top: PositiveFraction = 0.01,
    ) -> None:
        super().__init__()
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
        """See `halonerf.protocols.FeatureHead`. Maps are read scale by scale, one scale in memory at a time.

        Raises: BadInput where there is no view, or views, maps and weights are not as many, or a scale is missing.
        """
        check_supervision(views, cast(Sequence[Tensor], maps), weights)  # it only counts them
        count = max(1, len(self.scales))
        features, support = [], torch.zeros(field.elements)
        for embeddings in maps:
            if len(embeddings) != count:
                raise BadInput(
                    f"expected features at {count} scales (head.scales={self.scales}), got {len(embeddings)}.\n"
                    "Compute them for the same head: halonerf stage=features head=lerf head.scales=[0.25,0.5]"
                )
        for scale in range(count):
            total, support = lift_feature_maps(field, views, (embeddings[scale] for embeddings in maps), weights)
            # the mean's length grows with the agreement of the photos; only its direction is compared
            features.append(normalize(total, dim=1).half())
        self.features, self.support = torch.stack(features), support
        self.texts = self.phrases = torch.zeros(0, self.features.shape[-1])

    @torch.no_grad()
    def set_texts(self, texts: Tensor, phrases: Tensor, scale: float) -> None:
        """See `halonerf.protocols.FeatureHead`. Raises: BadInput where a text would have no alternative."""
        width = self.features.shape[-1]
        if texts.shape[-1] != width or phrases.shape[-1] != width or not len(texts) or not len(phrases):
            raise BadInput(
                f"expected at least one text and one phrase, of {width} numbers each as the lifted features, got "
                f"{list(texts.shape)} and {list(phrases.shape)}.\nPhrases are: features.phrases=[object,texture]"
            )
        self.texts, self.phrases = texts.float().to(self.support), phrases.float().to(self.support)
        self.scale = torch.tensor([scale]).to(self.support)
        if len(self.features) == 1:
            self.chosen = torch.zeros(len(texts), dtype=torch.long, device=self.support.device)
        else:
            relevancies = torch.stack([self._of_elements(number) for number in range(len(self.features))])
            self.chosen = best_scales(relevancies, self.support * self._known(), self.top)

    def probabilities(self) -> Tensor:
        """See `halonerf.protocols.SemanticHead`: the relevancy of each element's feature."""
        self._check()
        relevancies = torch.zeros(len(self.support), len(self.texts), device=self.support.device)
        for number in self.chosen.unique().tolist():
            own = self.chosen == number
            relevancies[:, own] = self._of_elements(number)[:, own]
        return relevancies * self._known()[:, None]

    def confidence(self) -> Tensor:
        """See `halonerf.protocols.SemanticHead`; the same for all texts."""
        self._check()
        return (self.support * self._known())[:, None].expand(-1, len(self.texts))

    @torch.no_grad()
    def render(self, field: RadianceField, view: View, appearance: Tensor) -> tuple[Tensor, Tensor]:
        """Probability and confidence, [H, W, P] each in [0, 1].

        Texts are compared with the *rendered* feature of the known elements, as in DFF and LERF. The background shows
        no concept (see `halonerf.lifting.render_known`):  p = relevancy * sum_known w / (1 - sum_unknown w).
        """
        self._check()
        known = self._known()
        rendering = field.render(view, appearance, known[:, None].to(self.support))
        assert rendering.channels is not None
        confidence = rendering.channels
        share = over_known(confidence, confidence, rendering.opacity)
        relevancies = torch.zeros(*confidence.shape[:2], len(self.texts)).to(confidence)
        vectors = torch.cat([self.texts, self.phrases]).to(confidence)
        for number in self.chosen.unique().tolist():
            dots, square = confidence.new_zeros(*confidence.shape[:2], len(vectors)), torch.zeros_like(confidence)
            for part in channel_parts(self.features.shape[-1]):
                values = self.features[number, :, part].float() * known[:, None]
                rendered = field.render(view, appearance, values).channels
                assert rendered is not None
                dots += rendered @ vectors[:, part].T
                square += rendered.square().sum(dim=-1, keepdim=True)
            cosines = dots / square.sqrt().clamp(min=1e-6)
            own = self.chosen == number
            relevancies[..., own] = self._relevancy(cosines)[..., own]
        return (relevancies * share).clamp(0, 1), confidence.clamp(0, 1).expand_as(relevancies)

    def save(self, path: Path) -> None:
        """Write features, support, texts and phrases as safetensors."""
        save_file({name: getattr(self, name).contiguous() for name in self.TENSORS}, path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        for name, value in load_file(path).items():
            setattr(self, name, value)

    def _known(self) -> Tensor:
        return (self.support > 0) & (self.support >= self.min_confidence)

    def _check(self) -> None:
        assert self.texts.numel(), "fit and set_texts come first"

    def _of_elements(self, number: int) -> Tensor:
        """Relevancy of every text for every element at one scale, [E, P]."""
        vectors = torch.cat([self.texts, self.phrases]).T
        chunks = self.features[number].split(CHUNK_ELEMENTS)
        return torch.cat([self._relevancy(chunk.float() @ vectors) for chunk in chunks])

    def _relevancy(self, cosines: Tensor) -> Tensor:
        """Relevancies [..., P] from cosines with texts and phrases [..., P + C]."""
        texts, phrases = cosines.split([len(self.texts), len(self.phrases)], dim=-1)
        return text_relevancy(texts, phrases, float(self.scale), self.rivals)


RIVALS = ("words", "phrases")


def text_relevancy(texts: Tensor, phrases: Tensor, scale: float, rivals: str) -> Tensor:
    """Softmax probability of each text against its rivals, [..., P] in [0, 1].

    "words": softmax over all texts and phrases, as zero-shot segmentation does (Kobayashi et al., "Decomposing NeRF
    for Editing via Feature Field Distillation", 2022; Li et al., "Language-driven Semantic Segmentation", 2022).
    "phrases": the smallest of the softmaxes of the text and one phrase (Kerr et al., "LERF: Language Embedded Radiance
    Fields", 2023, section 3.4), so that texts do not compete and an element may have several.

    Args:
        texts: cosines with the texts, [..., P]. phrases: cosines with the phrases, [..., C].
        scale: the inverse of the temperature.
    """
    if rivals == "words":
        return (scale * torch.cat([texts, phrases], dim=-1)).softmax(dim=-1)[..., : texts.shape[-1]]
    strongest = phrases.amax(dim=-1, keepdim=True)  # the softmax of a pair falls with the phrase's cosine
    return torch.sigmoid(scale * (texts - strongest))


def best_scales(relevancies: Tensor, weight: Tensor, top: float) -> Tensor:
    """Index of the scale at which the mean of each text's highest relevancies is largest, [P].

    LERF takes the scale of the highest relevancy in a rendering; here that of the elements decides, so that it is the
    same in all views, and the mean over a share of them, since single elements are often wrong.

    Args:
        relevancies: [S, E, P], in [0, 1]. weight: [E], elements of weight 0 are left out. top: share of the elements
            that are averaged, in (0, 1].
    """
    known = relevancies[:, weight > 0]
    if not known.shape[1]:
        return torch.zeros(relevancies.shape[-1], dtype=torch.long, device=relevancies.device)
    count = max(1, round(top * known.shape[1]))
    return known.topk(count, dim=1).values.mean(dim=1).argmax(dim=0)
