"""The contracts between the rooms. Every implementation passes its room's test in `tests/contracts/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Generator, Tensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from halonerf.types import ImageRecord, Matches, PseudoLabel, Rendering, Splats, View


@runtime_checkable
class SceneSource(Protocol):
    """Source of a scene's photos: a folder, a finished reconstruction, a procedural landmark."""

    name: str  # of the scene and of the folder of its artifacts

    def identity(self) -> str:
        """Digest of the data behind the source: changes when, and only when, the data do."""

    def collect(self, folder: Path) -> None:
        """Write the collection into an empty `folder` (`halonerf.data.collection` names the files)."""


@runtime_checkable
class ResumableSource(SceneSource, Protocol):
    """A scene source whose `collect` may find in `folder` what a killed run left, and resumes it."""

    resumes: bool  # always true


@runtime_checkable
class Corpus(Protocol):
    """Metadata of photos, of any number of places: a published dataset, a table, a category of Wikimedia Commons."""

    name: str  # of the corpus and of the folder of its artifacts

    def identity(self) -> str:
        """Digest of the data behind the corpus: changes when, and only when, the data do."""

    def records(self) -> Iterator[ImageRecord]:
        """All records, one at a time, always in the same order; memory does not grow with their number."""


@runtime_checkable
class LabelledCorpus(Corpus, Protocol):
    """A corpus with weak labels, from annotators or an earlier program."""

    def weak_labels(self) -> Iterator[tuple[str, ...]]:
        """Labels of each record, in the order of `records`; empty where there are none. For scoring only."""


@runtime_checkable
class PhotoCorpus(Corpus, SceneSource, Protocol):
    """A corpus that can fetch its photos: `corpus=...` then replaces `scene=...` in all stages."""


@runtime_checkable
class LabelDistiller(Protocol):
    """From noisy metadata to what the photo shows."""

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        """At least one label a record, in the records' order; "" where the record does not say."""


@runtime_checkable
class CorrespondenceMiner(Protocol):
    """Finds matching points in two photos."""

    def match(
        self, image0: Tensor, image1: Tensor, seen: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    ) -> Matches:
        """Matches of two photos; points in pixels of each photo.

        Args:
            image0, image1: [3, H, W] in [0, 1], of any sizes.
            seen: observations of a reconstruction in either photo, pixels [N, 2] and indices of the 3D points [N];
                miners by appearance do not use it.
        """


@runtime_checkable
class FeatureMiner(CorrespondenceMiner, Protocol):
    """A miner that computes features per photo, so that those of a photo of many pairs are computed once."""

    def features(self, image: Tensor) -> Mapping[str, Tensor]:
        """Features of a photo [3, H, W] in [0, 1] for `match_features`, among them `points` [N, 2], its px."""

    def match_features(self, features0: Mapping[str, Tensor], features1: Mapping[str, Tensor]) -> Matches:
        """Matches of two photos by their features; the same as by `match`."""


@runtime_checkable
class TrackMiner(CorrespondenceMiner, Protocol):
    """A miner that reads existing tracks of points: its `match` needs `seen`."""

    def tracks(self, names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> Sequence[tuple[Tensor, Tensor]] | None:
        """Observations from the miner's own source in photos of these sizes (width, height), px: pixels [N, 2] and ids
        [N] per photo; None to use those of the reconstruction.
        """


@runtime_checkable
class Segmenter(Protocol):
    """Says where in a photo a text is. The slow half knows no text, so a new word costs one light `decode`."""

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> Any:
        """images: [B, 3, H, W] in [0, 1]. names: the photos' names, for segmenters that look masks up.

        What comes back is whatever `decode` needs: a mapping of tensors whose first axis is the photo, so that it
        can be stored and sliced.
        """

    def decode(self, encoded: Any, prompts: Sequence[str]) -> Tensor:
        """Logits, [B, P, h, w], at the segmenter's own resolution over the whole photo. NaN says "unknown"."""


@runtime_checkable
class TrainableSegmenter(Segmenter, Protocol):
    """A segmenter that `adapt_segmenter` can teach: a torch module that can be written and built again."""

    weights_name: ClassVar[str]  # what `save` writes: "model.safetensors" (a file), "model" (a folder as on the hub)
    trainable: Sequence[str]  # the submodules that may change, named as in `named_modules`; all others stay frozen

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """`decode` of `encode`, differentiable: images [B, 3, H, W] in [0, 1] to logits [B, P, h, w]."""

    def save(self, path: Path) -> None:
        """Write the weights to `path`, whole or not at all; `build(config, weights=str(path))` reads them back.

        They may be rounded to half precision, once: what is read back and written again is the same.
        """

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """As torch has it, like the next three."""

    def parameters(self) -> Iterator[Parameter]: ...

    def train(self, mode: bool = True) -> Any: ...

    def requires_grad_(self, requires_grad: bool = True) -> Any: ...


@runtime_checkable
class RadianceField(Protocol):
    """Colour and density in space. An element is a Gaussian, or a voxel of a NeRF's support."""

    @property
    def elements(self) -> int:
        """Number of elements, E."""

    def mean_appearance(self) -> Tensor:
        """The mean code, [A]: neutral light."""

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        """appearance: [A], a photo's code. channels: [E, P] per element, composited beside the colour.

        normals: whether to composite them, too, in the same pass; raises BadInput from a field that knows none.
        A part of a view (`View.cropped`) shows that part of its picture.
        """

    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The adjoint of `render`'s channels: maps [H, W, P], weight [H, W] -> (sum w p [E, P], sum w [E])."""


@runtime_checkable
class TrainableField(RadianceField, Protocol):
    """A field that `reconstruct` can fit: a torch module that keeps one code a photo, and its own way to learn."""

    antialiased: bool  # True: a pixel of a shrunken photo is the mean of what it covers; False: the photo at its centre
    encodes: bool  # whether codes are computed from photos, so that `encode` works for any photo

    def initialise(self, points: Tensor, colours: Tensor, names: Sequence[str], seed: int) -> None:
        """points [N, 3] in world units, colours [N, 3] in [0, 1], and the photos that will be fitted."""

    def training_view(self, view: View, progress: float, generator: Generator) -> View:
        """The part of a photo's view, and the resolution, that the next step learns from.

        progress: in [0, 1), share of the fit. generator: the only source of chance.
        """

    def appearance(self, name: str) -> Tensor:
        """The code [A] stored for a fitted photo; the mean code for any other."""

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of any photo [H, W, 3] in [0, 1], whole or a part; raises BadInput unless `encodes`."""

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """While fitting: the code [A] of a photo [H, W, 3] in [0, 1], the whole of it; differentiable.

        A field that encodes remembers it, so that `appearance` gives it back without the photo.
        """

    def loss(self, shown: Rendering, photo: Tensor, weight: Tensor) -> Tensor:
        """How unlike the photo [H, W, 3] `shown` is, a scalar: mean over pixels of weight [H, W] times their error.

        shown: what `render` gave just before. weight: held fixed; of one, the plain mean.
        """

    def regularisation(self) -> Tensor:
        """A scalar that the loss adds, whatever the photo."""

    def optimiser(self) -> Optimizer:
        """A fresh optimiser of all parameters."""

    def after_step(self, step: int, steps: int, optimiser: Optimizer) -> None:
        """After each of `steps` optimiser steps: schedules, growing, pruning. Chance depends on the step alone."""

    def save(self, path: Path) -> None:
        """Write all that rendering needs as safetensors."""

    def load(self, path: Path) -> None:
        """Read what `save` wrote; raises BadInput where it does not fit the options."""


@runtime_checkable
class FeatureField(RadianceField, Protocol):
    """A field that knows more of a place than its colour: what a semantic head can learn from."""

    @property
    def feature_width(self) -> int:
        """Numbers a feature has, F."""

    def element_features(self) -> Tensor:
        """The feature of every element, [E, F]; fixed once the field is fitted."""

    def shade(self, view: View, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """`function` of features, [N, F] to [N, P], composited along the view's rays: [H, W, P], and opacity [H, W].

        Evaluated wherever the field has something to say (Gaussians, samples of a ray). Differentiable in what
        `function` learns; the field itself is only read.
        """


@runtime_checkable
class PlacedField(RadianceField, Protocol):
    """A field that can say where its elements are."""

    def element_centres(self) -> Tensor:
        """World units, [E, 3]; NaN for an element that is in no one place."""


@runtime_checkable
class SplatField(Protocol):
    """Something that splat viewers can draw; other fields are baked by `halonerf.rendering.surfels.open_splats`."""

    def splats(self) -> Splats:
        """Where the Gaussians are, and their shapes."""

    def splat_colours(self, appearance: Tensor) -> Tensor:
        """The colour of each in a light [A], as from no direction in particular: [N, 3] in [0, 1]."""


@runtime_checkable
class TransientMask(Protocol):
    """Says which pixels of a photo show what passed by. A torch module, so that a resumed fit keeps its state."""

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """The photos that will be fitted, by name, and where each shows points that others saw, too.

        matched: [M, 2] a photo, in [0, 1]: x from left to right, y from top to bottom.
        """

    def pixel_weights(
        self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """What every pixel of `view` of a photo counts in the next step, [H, W], and a scalar that the loss adds.

        shown, photo [H, W, 3]: what the field shows in the view, and what it should; both are held fixed. valid: bool
        [H, W], the pixels that the photo covers; others count 0. progress: in [0, 1), share of the fit. Where nothing
        is masked the weights' mean is one.
        """

    def mask(self, name: str, view: View, shown: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """How surely a pixel shows a transient at the end of a fit, for people: [H, W] in [0, 1], 0 where not valid."""

    def optimiser(self) -> Optimizer | None:
        """A fresh optimiser of what the mask learns; None where it learns nothing that way."""


@runtime_checkable
class SemanticHead(Protocol):
    """Turns 2D probabilities in many photos into one probability an element and concept."""

    def fit(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """maps: [H, W, P] in [0, 1] a view; weights: [H, W, P], zero where a view says nothing."""

    def probabilities(self) -> Tensor:
        """Probabilities, [E, P]. Where no photo said anything: 0 with confidence 0."""

    def confidence(self) -> Tensor:
        """How much the photos said, [E, P], non-negative, in units of fully opaque pixels."""

    def render(self, field: RadianceField, view: View, appearance: Tensor) -> tuple[Tensor, Tensor]:
        """Probability [H, W, P] that a pixel shows a concept, and confidence [H, W, P] in [0, 1]: how much of the
        pixel is known. What is unknown is left out of the probability, not counted as "no".
        """

    def save(self, path: Path) -> None:
        """Write the fitted state as safetensors."""

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""


@runtime_checkable
class LearntHead(SemanticHead, Protocol):
    """A head that is fitted in rounds, so that a long fit can be watched, and taken up again where it was killed.

    `fit` is `start` and then `fit_round` for each of `rounds`; chance in a round depends on seed and number alone.
    """

    @property
    def rounds(self) -> int:
        """How many rounds a fit has, at least one."""

    def start(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """Take the same as `fit`, and learn nothing yet."""

    def fit_round(self, number: int) -> float:
        """Round `number`, counted from 0, after the one before it: its mean loss. After the last, `fit` is done."""

    def save_state(self, path: Path) -> None:
        """Between rounds: write what going on needs, as safetensors."""

    def load_state(self, path: Path) -> None:
        """After `start`: read what `save_state` wrote; raises BadInput where it does not fit."""


@runtime_checkable
class FeatureHead(SemanticHead, Protocol):
    """A head that is fitted to what an encoder says of photos, and told the words afterwards; any others later."""

    takes_features: ClassVar[bool]  # True: `localize` gives it maps of the stage `features`

    def fit(  # type: ignore[override]
        self,
        field: RadianceField,
        views: Sequence[View],
        maps: Sequence[Sequence[Tensor]],
        weights: Sequence[Tensor],
    ) -> None:
        """maps: a view's embeddings at each scale, [D, h, w] over the whole of it; weights: [H, W] a view."""

    def set_texts(self, texts: Tensor, phrases: Tensor, scale: float) -> None:
        """After `fit`: unit embeddings of the concepts [P, D] and of phrases that mean nothing in particular [C, D].

        scale: what cosines are multiplied by before a softmax. What `save` writes holds the words, too.
        """


@runtime_checkable
class Retriever(Protocol):
    """Photos and texts as vectors whose cosine says how well they go together. Differentiable."""

    @property
    def scale(self) -> float:
        """What cosines are multiplied by before a softmax over texts: the inverse of the temperature."""

    def embed_images(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Unit vectors [B, D] of B photos [3, H, W] in [0, 1]: one tensor, or photos of any sizes."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D] of P texts."""


@runtime_checkable
class DenseRetriever(Retriever, Protocol):
    """A retriever that says what it sees pixel by pixel, too."""

    def embed_dense(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D, h, w] over the whole of images [B, 3, H, W] in [0, 1], to compare with texts."""


@runtime_checkable
class TrainableRetriever(Retriever, Protocol):
    """A torch module; what requires a gradient is what may be learnt."""

    def save(self, path: Path) -> None:
        """Write the folder `path`, replacing what it held; built with `weights=str(path)`, it embeds the same."""


@runtime_checkable
class Viewer(Protocol):
    """Shows an opened landmark to people; `stage=explore` serves it."""

    def start(self, scene: Any, folder: Path, words: Sequence[str] = ()) -> str:
        """Begin, and give the address. scene: a `halonerf.queries.session.QuerySession`. folder: for what people keep.
        words: found in every new window.
        """

    def directions(self, address: str) -> str:
        """What people type to look, in lines."""

    def wait(self) -> None:
        """Serve until the process is asked to end."""

    def stop(self) -> None:
        """Close everything."""
