"""A small text segmenter: a timm backbone's feature pyramid, a text tower, a FiLM decoder.

FiLM (Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018): the text scales and
shifts every channel. The pyramid is independent of the text, and the decoder has few channels and no wide convolution
at the finest level, so that another prompt costs little.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Interval
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, relu

from halonerf.config.option_types import PositiveInt, Text
from halonerf.errors import BadInput, MissingArtifact
from halonerf.files import write_atomic
from halonerf.segmenters.taught_words import TaughtWords
from halonerf.segmenters.text_towers import HubText, LetterTower, spell

STRIDES = (4, 8, 16, 32)  # px of the photo per pixel of the features
PROBE_SIZE = (64, 96)  # px, height and width; neither square nor a size of pretraining


class Levels(NamedTuple):
    """Indices of a backbone's outputs at the four strides, and their layout."""

    indices: Sequence[int]
    widths: Sequence[int]  # channels
    channels_last: bool

    def select(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The four feature maps [B, C, h, w], the finest first."""
        chosen = [outputs[index] for index in self.indices]
        return [level.permute(0, 3, 1, 2) for level in chosen] if self.channels_last else chosen


def make_backbone(name: str) -> tuple[nn.Module, Levels]:
    """A timm model with random weights, convolutional or a hierarchical transformer, and its levels.

    Raises: BadInput where timm has no such model, or it lacks one of the strides, or accepts one photo size only.
    """
    import timm

    problem = ""
    attempts: list[dict[str, Any]] = [{}, {"strict_img_size": False}]  # timm's Swin accepts any size with this option
    for options in attempts:
        try:
            model: Any = timm.create_model(name, features_only=True, pretrained=False, **options)
            reductions, channels = model.feature_info.reduction(), model.feature_info.channels()
        except (RuntimeError, TypeError, AttributeError) as error:  # unknown; no such option; no features
            problem = problem or str(error)
            continue
        if not set(STRIDES) <= set(reductions):
            problem = f"it has features at strides {reductions}"
            break
        indices = [reductions.index(stride) for stride in STRIDES]
        widths = [channels[index] for index in indices]
        try:
            with torch.no_grad():
                outputs = model.eval()(torch.zeros(1, 3, *PROBE_SIZE))
        except (AssertionError, RuntimeError) as error:  # timm's own check of sizes, or a table that does not fit
            problem = str(error)
            continue
        shape = outputs[indices[0]].shape
        levels = Levels(indices, widths, channels_last=shape[1] != widths[0] and shape[-1] == widths[0])
        return model.train(), levels
    raise BadInput(
        f"expected a timm backbone with features at strides 4, 8, 16 and 32 of photos of any size, but '{name}' does "
        f"not do: {problem}.\nThe default is: segmenter.backbone=regnety_002. Others that do: convnextv2_atto, "
        "pvt_v2_b0, swin_tiny_patch4_window7_224"
    )


STRIDE = STRIDES[0]  # px of the photo per pixel of the maps
PADDING_MULTIPLE = STRIDES[-1]  # px: photos are padded to multiples of it
MEAN, STD = 0.45, 0.25  # of photos' grey values, roughly; the network learns the rest
TEXT_WIDTH = 128  # dimension of a text's embedding
WORDS = "words"  # key of the vocabulary beside the architecture, in the header of the weights
FROZEN_PREFIX = "text.encoder."  # of state that is not saved: it is read from its own weights again


class TimmText(nn.Module):
    """Text-prompted segmentation on a small backbone.

    Args:
        weights: a safetensors file written by `save`; "offline", the weights of the package; None initialises at
            random, for training from scratch.
        backbone: name of a timm model with features at strides 4, 8, 16 and 32.
        channels: width of the pyramid and the decoder.
        image_size: px; photos are scaled so that their long side is this, larger or smaller.
        text: "letters", a small text tower that is trained with the rest, or the hub id or folder of a CLIP or SigLIP,
            whose frozen text encoder is used.
        trainable: submodules that adaptation may change; None: all but a frozen text encoder.

    Raises:
        MissingArtifact: there is no such file. BadInput: it holds weights of another architecture.
    """

    weights_name: ClassVar[str] = "model.safetensors"
    shared_keys: ClassVar[tuple[str, ...]] = ("size",)

    data_options = ("weights", "text")

    def __init__(
        self,
        weights: str | None = "offline",
        backbone: Text = "regnety_002",
        channels: PositiveInt = 64,
        image_size: Annotated[int, Interval(ge=32, le=65535)] = 320,
        text: Text = "letters",
        trainable: Sequence[Text] | None = None,
    ) -> None:
        super().__init__()
        self.architecture: dict[str, object] = {"backbone": backbone, "channels": channels}
        self.vocabulary: Mapping[
            str, Sequence[str]
        ] = {}  # concept to the words it was taught by; saved with the weights
        self.image_size = image_size
        self.backbone, self._levels = make_backbone(backbone)
        widths = self._levels.widths
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.ModuleList(_block(channels) for _ in widths)
        self.text: nn.Module
        if text == "letters":
            self.text = LetterTower(TEXT_WIDTH)
        else:
            self.text = HubText(text, TEXT_WIDTH)
            self.architecture["text"] = Path(text).name
        self.film = nn.ModuleList(nn.Linear(TEXT_WIDTH, 2 * channels) for _ in widths)
        self.refine = nn.ModuleList(_block(channels) for _ in widths[1:])
        self.head = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.ReLU(), nn.Conv2d(channels // 2, 1, 1))
        learnt = "text" if text == "letters" else "text.out"
        default = ("backbone", "lateral", "smooth", learnt, "film", "refine", "head")
        self.trainable = list(default if trainable is None else trainable)
        if weights is not None:
            self._load(weights)
            self.eval()

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Feature pyramid of images [B, 3, H, W] in [0, 1]: `level0` (stride 4) … `level3` (stride 32), [B, C, h, w].

        `size` [B, 2] is the height and width in px of the maps, without the padding of the levels.
        """
        height, width = images.shape[-2:]
        scale = self.image_size / max(height, width)
        rows, columns = (max(1, round(length * scale / STRIDE)) for length in (height, width))
        pixels = (_resized(images, rows * STRIDE, columns * STRIDE) - MEAN) / STD
        pixels = pad(
            pixels, (0, -pixels.shape[-1] % PADDING_MULTIPLE, 0, -pixels.shape[-2] % PADDING_MULTIPLE), mode="replicate"
        )
        features = self._levels.select(self.backbone(pixels))
        levels = [lateral(level) for lateral, level in zip(self.lateral, features, strict=True)]
        for finer in range(len(levels) - 2, -1, -1):  # top-down sums (Lin et al., "Feature Pyramid Networks", 2017)
            levels[finer] = levels[finer] + _resized(levels[finer + 1], *levels[finer].shape[-2:])
        size = torch.tensor([rows, columns], device=images.device).expand(len(images), 2)
        return {"size": size} | {
            f"level{i}": smooth(level) for i, (smooth, level) in enumerate(zip(self.smooth, levels, strict=True))
        }

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w] at a quarter of the scaled photo's resolution."""
        rows, columns = (int(value) for value in encoded["size"][0])
        texts = self.text(prompts)
        maps = [self._logits(encoded, text[None]) for text in texts]
        return torch.stack(maps, dim=1)[..., :rows, :columns]

    def dense_features(self, encoded: dict[str, Tensor]) -> Tensor:
        """Features [B, 4 C, h, w] of every pixel: all levels at the finest resolution, without padding."""
        rows, columns = (int(value) for value in encoded["size"][0])
        levels = [encoded[f"level{level}"].float() for level in range(len(self.film))]
        return torch.cat([_resized(level, *levels[0].shape[-2:]) for level in levels], dim=1)[..., :rows, :columns]

    def untaught(self, prompts: Sequence[str]) -> dict[str, list[str]]:
        """See `halonerf.protocols.TaughtSegmenter`. Of a pretrained text encoder: none."""
        if not isinstance(self.text, LetterTower) or not self.vocabulary:
            return {}
        originals = {spell(word): word for words in self.vocabulary.values() for word in words}
        taught = TaughtWords(originals)
        spelt = {prompt: spell(prompt) for prompt in prompts}
        return {
            prompt: [originals[word] for word in taught.nearest(word)] or list(self.vocabulary)
            for prompt, word in spelt.items()
            if not taught.known(word)
        }

    def add_words(self, words: Sequence[str]) -> None:
        """See `halonerf.protocols.TaughtSegmenter`; nothing where the words of the weights are unknown."""
        if self.vocabulary:
            known = {word for words in self.vocabulary.values() for word in words}
            self.vocabulary = {**self.vocabulary, **{word: [word] for word in words if word not in known}}

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w] of images [B, 3, H, W] in [0, 1]."""
        return self.decode(self.encode(images), prompts)

    def save(self, path: Path) -> None:
        """Atomically write the weights in half precision to `path`, with architecture and vocabulary in the header."""
        weights = {
            name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
            for name, value in self.state_dict().items()
            if not name.startswith(FROZEN_PREFIX)
        }
        header = {**self.architecture, WORDS: {concept: list(words) for concept, words in self.vocabulary.items()}}
        write_atomic(path, save(weights, metadata={"architecture": json.dumps(header)}))

    def _logits(self, encoded: dict[str, Tensor], text: Tensor) -> Tensor:
        """Logits [B, h, w] of one text embedding [1, T], padding included."""
        coarse: Tensor | None = None
        for level in range(len(self.film) - 1, -1, -1):
            features = encoded[f"level{level}"]
            scale, shift = self.film[level](text)[..., None, None].chunk(2, dim=1)
            conditioned = features * (1 + scale) + shift
            if coarse is not None:
                conditioned = conditioned + _resized(coarse, *features.shape[-2:])
            coarse = relu(conditioned) if level == 0 else self.refine[level - 1](relu(conditioned))
        return self.head(coarse)[:, 0]

    def _load(self, weights: str) -> None:
        packaged = files("halonerf.segmenters").joinpath("weights", "offline.safetensors")
        with as_file(packaged) as offline:
            path = offline if weights == "offline" else Path(weights).expanduser()
            if not path.is_file():
                raise MissingArtifact(
                    f"expected the weights of a timm_text segmenter in '{path}', found no such file.\n"
                    "Use those of the package with: segmenter.weights=offline\n"
                    "Train your own with: halonerf +experiments=offline_segmenter"
                )
            architecture, tensors = _read(path)
        self.vocabulary = architecture.pop(WORDS, {})
        if architecture != self.architecture:
            raise BadInput(
                f"expected weights of {self.architecture}, but '{path}' holds those of {architecture}.\n"
                "Set the architecture with segmenter.backbone, segmenter.channels and segmenter.text."
            )
        frozen = {name: value for name, value in self.state_dict().items() if name.startswith(FROZEN_PREFIX)}
        try:
            self.load_state_dict(frozen | tensors)
        except RuntimeError as error:
            raise BadInput(
                f"expected all weights of {self.architecture} in '{path}', but they do not fit: "
                f"{str(error).splitlines()[-1].strip()}\n"
                "They were made by another version. Train them again: halonerf +experiments=offline_segmenter"
            ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Architecture and single-precision weights of a file that `save` wrote."""
    try:
        with safe_open(path, framework="pt") as stream:
            architecture = json.loads((stream.metadata() or {}).get("architecture", "{}"))
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, json.JSONDecodeError) as error:
        raise BadInput(
            f"expected a safetensors file written by this segmenter in '{path}', but it cannot be read: {error}.\n"
            "Use the weights of the package with: segmenter.weights=offline"
        ) from error
    return architecture, {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def _block(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resampling to [B, C, height, width], anti-aliased where it shrinks."""
    if maps.shape[-2:] == (height, width):
        return maps
    shrinks = height < maps.shape[-2] or width < maps.shape[-1]
    return interpolate(maps, size=(height, width), mode="bilinear", antialias=shrinks, align_corners=False)
