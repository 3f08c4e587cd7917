"""Open the outputs of finished stages: the scene with its fitted cameras, the field, the head, the segmenter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from halonerf.data.formats.names import CAMERAS, FIELD, HEAD
from halonerf.data.scene.scene import Scene
from halonerf.factory import build, locate
from halonerf.files import write_npz
from halonerf.masks import framed_mask
from halonerf.protocols import MaskFolderSegmenter, Segmenter, SemanticHead, TrainableField
from halonerf.types import View


def fitted_scene(inputs: Mapping[str, Path]) -> Scene:
    """The scene of `inputs["ingest"]`, with the refined cameras of `inputs["reconstruct"]` where there are any."""
    scene = Scene(inputs["ingest"])
    path = inputs["reconstruct"] / CAMERAS
    if path.is_file():
        with np.load(path, allow_pickle=False) as arrays:
            poses = torch.from_numpy(arrays["camera_to_world"])
        scene.views = [replace(v, camera_to_world=pose) for v, pose in zip(scene.views, poses, strict=True)]
    return scene


def write_cameras(folder: Path, views: Sequence[View]) -> None:
    """Write the poses of all the scene's views, in their order, into the folder of a field."""
    write_npz(folder / CAMERAS, camera_to_world=np.stack([v.camera_to_world.cpu().numpy() for v in views]))


def open_field(config: Mapping[str, Any], reconstruct: Path) -> TrainableField:
    """Build the field of `config` and load the state that `reconstruct` fitted.

    Args:
        config: of the field, as it was fitted.
        reconstruct: the stage's finished folder.
    """
    field: TrainableField = build(config)
    field.load(reconstruct / FIELD)
    return field


def open_head(config: Mapping[str, Any], localize: Path) -> SemanticHead:
    """Build the head of `config` and load the state that `localize` fitted; `localize`: its finished folder."""
    head: SemanticHead = build(config)
    head.load(localize / HEAD)
    return head


def learns_from_few(head: Mapping[str, Any]) -> bool:
    """Whether the head of a config is a `FewShotHead`, which needs the features of all photos."""
    return hasattr(locate(head["_target_"]), "lift_features")


def open_segmenter(config: Mapping[str, Any], scene: Scene, adapted: Path | None = None) -> Segmenter:
    """Build a segmenter for the photos of a scene; masks of a `MaskFolderSegmenter` are undistorted like the photos.

    Args:
        config: of the segmenter.
        adapted: finished folder of `adapt_segmenter`, whose weights replace those of the config.
    """
    weights: dict[str, Any] = {} if adapted is None else {"weights": str(next(adapted.glob("model*")))}
    segmenter: Segmenter = build(config, **weights)
    if isinstance(segmenter, MaskFolderSegmenter):

        def undistorted(name: str, mask: np.ndarray) -> np.ndarray:
            view = scene.index(name)
            turned = framed_mask(mask, f"the mask of '{name}'", scene.native_size(view), scene.orientation(view))
            return scene.undistort(view, turned)

        segmenter.place(undistorted)
    return segmenter
