"""The contracts of components. Every implementation passes the tests of its contract in `tests/contracts/`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from halonerf.types import ImageRecord, Matches, PseudoLabel, Rendering, Splats, View

SessionT = TypeVar("SessionT", contravariant=True)


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
    """Predicts pseudo-labels (the building part that a photo shows) from noisy metadata."""

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        """Pseudo-labels in the records' order, at least one per record; "" where the record names no part."""


@runtime_checkable
class LabelHierarchy(Protocol):
    """A distiller that knows how labels are related: `distill` scores by it and merges rare labels."""

    def broader(self, label: str) -> Collection[str]:
        """Labels of which `label` is a kind ("rose window": "window"); empty for an unknown label."""

    def wholes(self, label: str) -> Collection[str]:
        """Labels of which `label` is a kind or a part ("tympanum": "portal"); empty for an unknown label."""

    def merge_rare_labels(self, counts: Mapping[str, int], min_count: int) -> Mapping[str, str]:
        """Replacement of each label in `counts` (label to number of records), "" for none.

        Labels of at least `min_count` records stay as they are.
        """


@runtime_checkable
class DistillerBookkeeping(Protocol):
    """The part of a `ShardedDistiller` that needs no model: merging the workers' files, and figures."""

    def gather(self, folder: Path) -> Mapping[str, float]:
        """Merge the files of all workers in `folder`; counts that belong to none of them."""

    def figures(self, counts: Mapping[str, float]) -> dict[str, Any]:
        """Figures for the manifest from summed `counts`, as JSON types."""


@runtime_checkable
class ShardedDistiller(LabelDistiller, DistillerBookkeeping, Protocol):
    """A distiller that keeps files in the run's folder, and of which several workers may run there side by side."""

    def open(self, folder: Path, worker: str = "") -> None:
        """Keep files in `folder`, resuming from those of an earlier run; called once, before `distill`.

        worker: unique name of this instance where others use the same folder.
        """

    def counts(self) -> Mapping[str, float]:
        """Counters of this instance since it was built; those of several instances add up."""

    @classmethod
    def bookkeeping(cls, options: Mapping[str, Any]) -> DistillerBookkeeping:
        """The part of an instance with these constructor arguments that needs no model.

        It is a `LabelHierarchy` where the distiller is one.
        """


@runtime_checkable
class ClusterDistiller(LabelDistiller, Protocol):
    """A distiller whose model runs on a Ray cluster by other means than one instance per worker."""

    @classmethod
    def answer_with_ray(
        cls,
        options: Mapping[str, Any],
        shards: Sequence[int],
        read: Callable[[int], list[ImageRecord]],
        folder: Path,
        workers: int,
    ) -> dict[str, Any]:
        """Compute the answers for all shards into `folder`; config of a distiller that reads them from there.

        Args:
            options: constructor arguments. shards: arguments of `read`, which gives a shard's records.
            workers: number of engines; 0: chosen by the distiller.
        """


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
    """Text-prompted segmentation in two steps: the slow `encode` is independent of the text, `decode` is cheap."""

    shared_keys: ClassVar[tuple[str, ...]]  # entries of an encoding that must be equal for photos decoded together

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> Any:
        """Text-independent encoding: a mapping of names to tensors [B, ...], which can be stored, sliced, concatenated.

        Args:
            images: [B, 3, H, W] in [0, 1]. names: the photos' names, for segmenters that look masks up.

        `shared_keys` names the entries (integers, such as the size of the maps) of which `decode` reads the first row
        for all photos: only photos that agree in them can be decoded together. All others may be stored in half
        precision.
        """

    def decode(self, encoded: Any, prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w] of each prompt, at the segmenter's own resolution, over the whole photo; NaN: unknown."""


@runtime_checkable
class FeatureSegmenter(Segmenter, Protocol):
    """A segmenter whose encoding of a photo holds features of its pixels, whatever the text."""

    def dense_features(self, encoded: Any) -> Tensor:
        """Features [B, D, h, w] over the whole of the encoded photos; a function of the encoding alone."""


@runtime_checkable
class TaughtSegmenter(Segmenter, Protocol):
    """A segmenter that can tell which words it was not taught: what it finds for these means little."""

    def untaught(self, prompts: Sequence[str]) -> dict[str, list[str]]:
        """Of the prompts, those that it was not taught, each with taught words: spelt like it, else its concepts."""

    def add_words(self, words: Sequence[str]) -> None:
        """Note that it is taught these words, too: `adapt_segmenter` learns with them."""


@runtime_checkable
class MaskFolderSegmenter(Segmenter, Protocol):
    """A segmenter that looks up given masks by photo name: it accepts whole photos only, no crops or renderings."""

    def vocabulary(self) -> list[str]:
        """The concepts that have masks, sorted; `segment` looks for these where no concepts are given."""

    def place(self, place: Callable[[str, np.ndarray], np.ndarray] | None) -> None:
        """Set how a mask is warped into the frame of the photos that `encode` gets; None: resampled to their size.

        place(name, mask [h, w] float32 in [0, 1] on the upright original photo) -> [H, W], the photo's size.
        """


@runtime_checkable
class InteractiveSegmenter(Protocol):
    """Segments the object of a photo that points lie on."""

    def masks(
        self, picture: NDArray[np.uint8], points: Sequence[NDArray[np.float64]], positive: Sequence[NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """The masks [N, H, W] of N objects of a photo, one for each set of points.

        Args:
            picture: [H, W, 3], RGB.
            points: [P, 2] each, (x, y) in px of the picture, inside it; P >= 1.
            positive: [P] each, whether a point lies on the object; else the object is not there.
        """


@runtime_checkable
class RenderingSegmenter(Segmenter, Protocol):
    """A segmenter that knows maps of renderings of a reconstruction besides those of photos."""

    def renderings(self, reconstruction: str) -> list[tuple[View, Any]]:
        """Cameras in the world frame of a reconstruction, each with an encoding of one picture of its size.

        reconstruction: fingerprint of the stage `ingest`.
        """


@runtime_checkable
class TrainableSegmenter(Segmenter, Protocol):
    """A segmenter that `adapt_segmenter` can train: a torch module that can be saved and built again."""

    weights_name: ClassVar[str]  # what `save` writes: "model.safetensors" (a file), "model" (a folder as on the hub)
    trainable: Sequence[str]  # the submodules that may change, named as in `named_modules`; all others stay frozen

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, h, w] of images [B, 3, H, W] in [0, 1]: `decode` of `encode`, differentiable."""

    def save(self, path: Path) -> None:
        """Atomically write the weights to `path`; `build(config, weights=str(path))` reads them.

        They may be rounded to half precision, once: weights that are read and saved again do not change.
        """

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """As torch has it, like the next three."""

    def parameters(self) -> Iterator[Parameter]: ...

    def train(self, mode: bool = True) -> Any: ...

    def requires_grad_(self, requires_grad: bool = True) -> Any: ...


@runtime_checkable
class RadianceField(Protocol):
    """Colour and density in space. An element is a Gaussian, or a voxel of a NeRF."""

    @property
    def elements(self) -> int:
        """Number of elements, E."""

    def mean_appearance(self) -> Tensor:
        """The mean appearance code, [A]: neutral appearance."""

    def render(
        self, view: View, appearance: Tensor, channels: Tensor | None = None, normals: bool = False
    ) -> Rendering:
        """Render a view; the rendering of a part of a view (`View.cropped`) is that part of the rendering.

        appearance: [A], a code. channels: [E, P], values of the elements, composited beside the colour. normals:
        whether normals are rendered, too; raises BadInput for a field without them.
        """

    def lift(self, view: View, maps: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums over pixels for every element, (sum w p [E, P], sum w [E]): the adjoint of `render`'s channels.

        maps: p, [H, W, P]. weight: w, [H, W].
        """


@runtime_checkable
class TrainableField(RadianceField, Protocol):
    """A field that `reconstruct` can fit: a torch module with an appearance code per photo and its own optimiser."""

    antialiased: bool  # whether a pixel of a shrunken photo is the mean of its area, not the photo at its centre
    encodes: bool  # whether codes are computed from photos, so that `encode` works for any photo

    def initialise(self, points: Tensor, colours: Tensor, names: Sequence[str], seed: int) -> None:
        """Set all parameters to their initial values.

        points: [N, 3], world units. colours: [N, 3] in [0, 1]. names: the photos that will be fitted.
        """

    def training_view(self, view: View, progress: float, generator: Generator) -> View:
        """The part and resolution of a photo's view that the next step renders.

        progress: share of the fit, in [0, 1). generator: the only source of random numbers.
        """

    def appearance(self, name: str) -> Tensor:
        """The code [A] stored for a fitted photo; the mean code for any other."""

    def encode(self, photo: Tensor) -> Tensor:
        """The code [A] of any photo [H, W, 3] in [0, 1], whole or a part; raises BadInput unless `encodes`."""

    def training_appearance(self, name: str, photo: Tensor) -> Tensor:
        """The code [A] of a photo that is being fitted, differentiable; a field that encodes stores it.

        photo: [H, W, 3] in [0, 1], the whole of it.
        """

    def optimiser(self) -> Optimizer:
        """A fresh optimiser of all parameters."""

    def after_step(self, step: int, steps: int, optimiser: Optimizer) -> None:
        """Apply schedules, densification and pruning after each of `steps` optimiser steps.

        Random numbers depend on the seed and the step alone.
        """

    def save(self, path: Path) -> None:
        """Write all that rendering needs as safetensors."""

    def load(self, path: Path) -> None:
        """Read what `save` wrote; raises BadInput where it does not match the options."""


@runtime_checkable
class RegularisedField(RadianceField, Protocol):
    """A field with regularisers of its own parameters, weighted by its own options."""

    def regularisation(self) -> Tensor:
        """The weighted sum of the regularisers after the last `render`, a scalar; differentiable."""


@runtime_checkable
class GaussianField(RadianceField, Protocol):
    """A field of N Gaussians whose opacities and sizes can be regularised."""

    @property
    def opacities(self) -> Tensor:
        """[N] in [0, 1]; differentiable."""

    @property
    def scales(self) -> Tensor:
        """Standard deviations along the three axes, [N, 3], world units; differentiable."""


class GaussianRows(Protocol):
    """The parameters of a field's N Gaussians with their optimiser state and statistics; one row per Gaussian.

    Parameters: `means`, `log_scales` [N, 3], `rotations` [N, 4], `opacity_logits` [N] and those of the colour.
    Statistics: `grad_norm` [N], the sum over steps of the screen-space gradient norm (loss per half-width of the
    image), and `seen` [N], the number of steps in which it was not zero.
    """

    names: Sequence[str]  # of the parameters
    optimiser: Optimizer

    def __len__(self) -> int: ...

    def __getitem__(self, name: str) -> Tensor:
        """The values of a parameter or statistic, detached; may be written in place."""

    @property
    def opacities(self) -> Tensor:
        """[N] in [0, 1]."""

    def table(self) -> dict[str, Tensor]:
        """All parameters by name, each [N, ...] with one row per Gaussian."""

    def replace(self, keep: Tensor, extra: Mapping[str, Tensor]) -> None:
        """Keep the rows `keep` (bool [N]), append `extra` without momentum, and reset all statistics."""

    def reset_momentum(self, names: Sequence[str], rows: Tensor | slice = ...) -> None:
        """Set the optimiser's moments of some rows of some parameters to zero."""


class DensificationStrategy(Protocol):
    """Adds, splits, relocates and prunes Gaussians during a fit."""

    def __call__(self, rows: GaussianRows, step: int, progress: float, generator: Generator) -> None:
        """Called without gradients after every optimiser step; the strategy decides when to act.

        progress: share of the fit that is done, in (0, 1]. generator: the only source of random numbers, seeded by
        the fit's seed and the step, so that a fit can be resumed.
        """


@runtime_checkable
class FeatureField(RadianceField, Protocol):
    """A field with features that a semantic head can be fitted to."""

    @property
    def feature_width(self) -> int:
        """F, numbers in a feature."""

    def element_features(self) -> Tensor:
        """The feature of every element, [E, F]; fixed once the field is fitted."""

    def shade(self, view: View, function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """`function` of features, [N, F] to [N, P], composited in a view: [H, W, P], and opacity [H, W].

        It is evaluated at every Gaussian or sample of a ray. Differentiable in the parameters of `function`; the field
        is not changed.
        """


@runtime_checkable
class PlacedField(RadianceField, Protocol):
    """A field whose elements have positions."""

    def element_centres(self) -> Tensor:
        """Centres of the elements, [E, 3], world units; NaN for an element without one position."""


@runtime_checkable
class SplatField(Protocol):
    """A field that splat viewers can draw; other fields are baked by `halonerf.rendering.surfels.open_splats`."""

    def splats(self) -> Splats:
        """Positions and shapes of the Gaussians."""

    def splat_colours(self, appearance: Tensor) -> Tensor:
        """View-independent colours of the Gaussians under a code [A], [N, 3] in [0, 1]."""


@dataclass(frozen=True)
class LossContext:
    """One training step of a fit, as the terms of its loss see it.

    view: the part of the photo's view that is rendered, its camera included (corrected where cameras are refined).
    rendering: of the view, differentiable; with normals where the loss needs them. photo: [H, W, 3] in [0, 1].
    weight: [H, W], non-negative, held fixed; mean one unless pixels are masked as transients, zero outside the photo.
    point_pixels: [M, 2], where the photo sees points of the scene, px of the view, some of them outside it.
    point_depths: [M], their depths along the optical axis, world units. progress: share of the fit, in [0, 1).
    """

    field: RadianceField
    view: View
    rendering: Rendering
    photo: Tensor
    weight: Tensor
    point_pixels: Tensor
    point_depths: Tensor
    progress: float


@runtime_checkable
class LossTerm(Protocol):
    """One term of the loss that `reconstruct` minimises."""

    weight: float  # factor in the sum; terms of weight 0 are not evaluated
    needs_normals: bool  # whether the rendering must have normals

    def __call__(self, context: LossContext) -> Tensor:
        """The term's value, a scalar, without its weight; differentiable in the rendering or the field."""


@runtime_checkable
class Loss(Protocol):
    """The loss that `reconstruct` minimises: a sum of named terms."""

    @property
    def needs_normals(self) -> bool:
        """Whether a term needs the rendering's normals."""

    def __call__(self, context: LossContext) -> dict[str, Tensor]:
        """Each term's share of the sum, a scalar, by its name."""


@runtime_checkable
class TransientMask(Protocol):
    """Weights pixels of photos by whether they show transients. A torch module, so that its state is resumed."""

    def initialise(self, matched: Mapping[str, Tensor], seed: int) -> None:
        """Set all parameters to their initial values for the photos that will be fitted.

        matched: by photo, the positions [M, 2] in [0, 1] of points matched with other photos: x from left to right, y
        from top to bottom.
        """

    def pixel_weights(
        self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor, step: int, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Weights of a photo's pixels in the next step, [H, W], of mean one if none is masked, and the mask's own loss.

        rendering: of the view; photo: [H, W, 3] in [0, 1], in the view; both are held fixed. valid: bool [H, W], the
        pixels that the photo covers; others have weight 0. progress: share of the fit, in [0, 1).
        """

    def mask(self, name: str, view: View, rendering: Rendering, photo: Tensor, valid: Tensor) -> Tensor:
        """Probability that a pixel shows a transient, at the end of a fit, [H, W] in [0, 1]; 0 where not valid."""

    def optimiser(self) -> Optimizer | None:
        """A fresh optimiser of the mask's parameters; None without parameters."""


@runtime_checkable
class SemanticHead(Protocol):
    """Combines 2D probabilities of many photos into one probability per element and concept."""

    def fit(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """Fit the head; the field is not changed.

        maps: [H, W, P] in [0, 1] per view. weights: [H, W, P] per view, zero where a view's maps are unknown.
        """

    def probabilities(self) -> Tensor:
        """Probabilities, [E, P] in [0, 1]; 0 with confidence 0 for unknown elements."""

    def confidence(self) -> Tensor:
        """Support of the probabilities by photos, [E, P], in fully opaque pixels; 0 for unknown elements."""

    def render(self, field: RadianceField, view: View, appearance: Tensor) -> tuple[Tensor, Tensor]:
        """Probability that a pixel shows a concept, and confidence, the known share of the pixel; [H, W, P] in [0, 1].

        Unknown elements are left out of the probability, not counted as "no".
        """

    def save(self, path: Path) -> None:
        """Write the fitted state as safetensors."""

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""


@runtime_checkable
class LearntHead(SemanticHead, Protocol):
    """A head that is fitted in rounds, so that a long fit can be logged, and resumed where it was killed.

    `fit` is `start` and then `fit_round` for each of `rounds`; random numbers of a round depend on the seed and its
    number alone.
    """

    @property
    def rounds(self) -> int:
        """Number of rounds of a fit, at least one."""

    def start(
        self, field: RadianceField, views: Sequence[View], maps: Sequence[Tensor], weights: Sequence[Tensor]
    ) -> None:
        """Prepare a fit; arguments as of `fit`."""

    def fit_round(self, number: int) -> float:
        """Do round `number`, counted from 0, after the one before it; its mean loss. The last one completes the fit."""

    def save_state(self, path: Path) -> None:
        """Between rounds: write what resuming needs, as safetensors."""

    def load_state(self, path: Path) -> None:
        """After `start`: read what `save_state` wrote; raises BadInput where it does not match."""


@runtime_checkable
class FeatureHead(SemanticHead, Protocol):
    """A head that is fitted to features of photos; texts are set afterwards, and may be changed."""

    takes_features: ClassVar[bool]  # always true: `localize` passes maps of the stage `features`

    def fit(  # type: ignore[override]
        self,
        field: RadianceField,
        views: Sequence[View],
        maps: Sequence[Sequence[Tensor]],
        weights: Sequence[Tensor],
    ) -> None:
        """Fit the head to embeddings.

        maps: [D, h, w] per view and scale, over the whole view. weights: [H, W] per view.
        """

    def set_texts(self, texts: Tensor, phrases: Tensor, scale: float) -> None:
        """Set the texts that features are compared with, after `fit`; `save` writes them, too.

        texts: [P, D], unit embeddings of the concepts. phrases: [C, D], unit embeddings of generic phrases. scale:
        factor of cosines before a softmax.
        """


FewShotMode = Literal["mixed", "similar", "place"]  # "similar": what was annotated and all like it; "place": it alone


@runtime_checkable
class FewShotHead(SemanticHead, Protocol):
    """A head that learns from few annotated pixels, and from the features of all photos, which it is given first."""

    takes_features: ClassVar[bool]  # always true: `localize` passes maps of the stage `features`
    mode: FewShotMode

    def lift_features(
        self,
        field: RadianceField,
        views: Sequence[View],
        maps: Sequence[Sequence[Tensor]],
        weights: Sequence[Tensor],
    ) -> None:
        """Compute the features of the elements, before `fit`.

        maps: [D, h, w] per view and scale, over the whole view. weights: [H, W] per view.
        """

    def fit(
        self,
        field: RadianceField,
        views: Sequence[View],
        maps: Sequence[Tensor],
        weights: Sequence[Tensor],
        evidence: Tensor | None = None,
    ) -> None:
        """Fit to annotations: see `SemanticHead.fit`; weights are zero where nothing is annotated.

        evidence: [E, P], what is believed of the concepts without annotations, which then correct it; None: nothing.
        """


@runtime_checkable
class DenseEncoder(Protocol):
    """Embeds photos densely, pixel by pixel or patch by patch."""

    def embed_dense(self, images: Tensor) -> Tensor:
        """Features [B, D, h, w] over the whole of images [B, 3, H, W] in [0, 1]."""


@runtime_checkable
class Retriever(Protocol):
    """Embeds photos and texts in one space, to be compared by cosine. Differentiable."""

    @property
    def scale(self) -> float:
        """What cosines are multiplied by before a softmax over texts: the inverse of the temperature."""

    def embed_images(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Unit vectors [B, D] of B photos [3, H, W] in [0, 1]: one tensor, or photos of any sizes."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [P, D] of P texts."""


@runtime_checkable
class DenseRetriever(Retriever, Protocol):
    """A retriever that also embeds photos densely, patch by patch."""

    def embed_dense(self, images: Tensor) -> Tensor:
        """Unit vectors [B, D, h, w] over the whole of images [B, 3, H, W] in [0, 1], to compare with texts."""


@runtime_checkable
class TrainableRetriever(Retriever, Protocol):
    """A retriever that is a torch module; `adapt_clip` trains the parameters that require a gradient."""

    def save(self, path: Path) -> None:
        """Write the weights as the folder `path`, replacing it; built with `weights=str(path)`, it embeds the same."""


@runtime_checkable
class Viewer(Protocol[SessionT]):
    """Serves an opened scene interactively; `SessionT` is `halonerf.queries.session.QuerySession`."""

    def start(self, session: SessionT, folder: Path, words: Sequence[str] = (), concepts: Sequence[str] = ()) -> str:
        """Start to serve; the URL.

        Args:
            session: the opened scene.
            folder: where what users make is saved: pictures, films, paths, notes, annotations, masks.
            words: found in every new window.
            concepts: the scene's list of concepts, whose positions decide their colours.
        """

    def directions(self, address: str) -> str:
        """How to open `address`, the URL that `start` gave, as text of some lines."""

    def wait(self) -> None:
        """Block until the process is asked to end."""

    def stop(self) -> None:
        """Close all windows and stop serving."""
