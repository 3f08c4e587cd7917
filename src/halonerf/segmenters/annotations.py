"""Annotated points, strokes and polygons in place of a network; pixels that nobody annotated are unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from halonerf.annotations import (
    RENDERING_PX,
    AnnotatedCamera,
    AnnotationSet,
    annotated_regions,
    require_interactive_segmenter,
)
from halonerf.config.option_types import Text
from halonerf.errors import BadInput
from halonerf.protocols import InteractiveSegmenter
from halonerf.segmenters.masks import logits_of_concepts
from halonerf.types import View
from halonerf.visualization.pictures import to_uint8


class Annotations:
    """A `MaskFolderSegmenter` of a file of annotations: probability 1 and 0 in what was drawn, else unknown.

    Annotations of renderings (`Annotation.camera`) are of no photo: `renderings` gives them.

    Args:
        path: file that the window or `halonerf.annotations.AnnotationSet.save` wrote.
        interactive_segmenter: gives the masks that annotations with snap "sam" are extended to; None where none has it.

    Raises: MissingArtifact: there is no such file. BadInput: it holds no annotations, or some need SAM.
    """

    version = 2  # `renderings`
    data_options = ("path",)
    compatible_defaults: ClassVar[Mapping[str, Any]] = {"interactive_segmenter": None}
    shared_keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, path: Text, interactive_segmenter: InteractiveSegmenter | None = None) -> None:
        self.annotations = AnnotationSet.load(Path(path).expanduser())
        if not len(self.annotations):
            raise BadInput(f"expected annotations in {path}, found none.\nAnnotate a photo: halonerf stage=explore …")
        require_interactive_segmenter(self.annotations, interactive_segmenter)
        self.interactive_segmenter = interactive_segmenter

    def vocabulary(self) -> list[str]:
        """The annotated concepts, in the order of their first annotations."""
        return self.annotations.concepts()

    def place(self, place: Callable[[str, np.ndarray], np.ndarray] | None) -> None:
        """Nothing changes: annotations are drawn in the frame of the photos that `encode` gets."""

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Maps of every concept for the photos called `names`: `probability` [B, C, H, W], NaN where unknown.

        Raises: BadInput without names.
        """
        if names is None or len(names) != len(images):
            raise BadInput(
                f"expected the names of the {len(images)} photos to look their annotations up, got "
                f"{names and list(names)}.\nPhotos without names need a network: segmenter=timm_text"
            )
        height, width = images.shape[-2:]
        if isinstance(self.interactive_segmenter, nn.Module):
            self.interactive_segmenter.to(images.device)
        pictures = [partial(to_uint8, image.permute(1, 2, 0)) for image in images]
        maps = [self._maps(name, width, height, picture) for name, picture in zip(names, pictures, strict=True)]
        return {"probability": torch.stack(maps).to(images)}

    def renderings(self, reconstruction: str) -> list[tuple[View, dict[str, Tensor]]]:
        """See `halonerf.protocols.RenderingSegmenter`."""
        cameras = dict.fromkeys(camera for concept in self.vocabulary() for camera in self.annotations.cameras(concept))
        found = []
        for camera in cameras:
            if camera.reconstruction == reconstruction:
                view = camera.view().within(RENDERING_PX)
                found.append((view, {"probability": self._maps(camera, view.width, view.height)[None]}))
        return found

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, H, W]; NaN where nobody annotated the prompt, which is matched as folders of masks are."""
        return logits_of_concepts(encoded["probability"], self.vocabulary(), prompts)

    def _maps(
        self, drawn_on: str | AnnotatedCamera, width: int, height: int, picture: Callable[[], np.ndarray] | None = None
    ) -> Tensor:
        """Maps [C, height, width] of every concept on a photo or on the rendering from a camera, NaN where unknown."""
        concepts = self.vocabulary()
        maps = torch.full((len(concepts), height, width), torch.nan)
        for values, concept in zip(maps, concepts, strict=True):
            drawn = self.annotations.of(concept, drawn_on)
            positive, negative = annotated_regions(drawn, width, height, picture, self.interactive_segmenter)
            values[torch.from_numpy(positive)] = 1.0
            values[torch.from_numpy(negative)] = 0.0
        return maps
