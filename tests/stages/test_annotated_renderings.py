"""Annotations of renderings, from the command line: through `segment` to the head of `localize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from halonerf.annotations import AnnotatedCamera, Annotation, AnnotationSet
from halonerf.data.formats.rendering_maps import read_rendering_maps
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads.lifted import Lifted
from halonerf.loading import open_head
from halonerf.stages.localize import Localize
from halonerf.stages.segment.stage import Segment
from helpers.made_folders import run_stage, write_ingest

FIELD = {"_target_": "halonerf.fields.Gaussians"}
HEAD = {"_target_": "halonerf.heads.Lifted"}


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """A scene of four photos, and a field of a grid of Gaussians before them."""
    folders = {name: tmp_path / name for name in ("collect", "distill", "ingest", "reconstruct")}
    names = write_ingest(folders["ingest"], 4)
    field = Gaussians(budget=100)
    across = torch.linspace(-0.8, 0.8, 9)
    points = torch.cartesian_prod(across, across, torch.tensor([2.0]))
    field.initialise(points, torch.full_like(points, 0.5), names, seed=0)
    field.opacity_logits.data.fill_(3.0)
    folders["reconstruct"].mkdir()
    field.save(folders["reconstruct"] / "field.safetensors")
    return folders


def annotated(
    inputs: dict[str, Path], on_camera: bool, reconstruction: str = "ingest", concepts: list[str] | None = None
) -> dict[str, Path]:
    """Folders of the scene with `segment` and `localize` of annotations of the first photo, or of its camera."""
    scene = Scene(inputs["ingest"])
    view = scene.views[0]
    camera = AnnotatedCamera(
        width=view.width, height=view.height, focal=view.fx, principal=(view.cx, view.cy),
        pose=tuple(view.camera_to_world[:3].flatten().tolist()), reconstruction=reconstruction,
    )  # fmt: skip
    picture = {"camera": camera} if on_camera else {"photo": scene.names[0]}
    stored = AnnotationSet()
    for points, positive in ((((0.2, 0.2), (0.2, 0.8)), True), (((0.8, 0.2), (0.8, 0.8)), False)):
        drawn = {"concept": "portal", "tool": "stroke", "points": points, "radius": 0.1, "positive": positive}
        stored.add(Annotation(**picture, **drawn))
    root = inputs["ingest"].parent / f"{'camera' if on_camera else 'photo'}_{reconstruction}"
    root.mkdir()
    stored.save(root / "annotations.json")
    segmenter = {"_target_": "halonerf.segmenters.Annotations", "path": str(root / "annotations.json")}
    made = {**inputs, "segment": root / "segment", "localize": root / "localize"}
    run_stage(Segment(segmenter, concepts), made["segment"], made)
    run_stage(Localize(HEAD, FIELD, weights=None), made["localize"], made)
    return made


def test_a_rendering_teaches_as_a_photo_from_the_same_camera(inputs: dict[str, Path]):
    photo, camera = (open_head(HEAD, annotated(inputs, on)["localize"]) for on in (False, True))
    assert isinstance(photo, Lifted)
    assert (photo.confidence() > 0).any()
    assert ((photo.probabilities() > 0.9) & (photo.confidence() > 0)).any()
    torch.testing.assert_close(camera.confidence(), photo.confidence(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(camera.probabilities(), photo.probabilities(), atol=1e-2, rtol=0.0)


def test_the_maps_are_kept_with_their_camera(inputs: dict[str, Path]):
    made = annotated(inputs, True)
    ((view, probability, known),) = read_rendering_maps(made["segment"])
    expected = Scene(inputs["ingest"]).views[0]
    assert (view.width, view.height, view.fx, view.cy) == (
        expected.width, expected.height, expected.fx, expected.cy,
    )  # fmt: skip
    torch.testing.assert_close(view.camera_to_world, expected.camera_to_world[:3].float())
    assert probability.shape == known.shape == (1, view.height, view.width)
    assert set(np.unique(probability[known])) == {0.0, 1.0}


@pytest.mark.parametrize("weights", [None, "concepts"])
def test_annotated_photos_count_alike_whatever_their_quality(inputs: dict[str, Path], weights: Any):
    """A few-shot head learns from annotations, which are certain; photos here are noise, of low quality."""
    made = annotated(inputs, False)
    stage = Localize({"_target_": "halonerf.heads.FewShot"}, FIELD, weights=weights)
    stage.bind(made["localize"], {**made, "features": made["segment"]}, 0)
    stage.prepare()
    _, _, found = stage.supervisions()
    assert set(torch.cat([weight.flatten() for weight in found]).tolist()) == {0.0, 1.0}


def test_renderings_without_a_segmented_concept_do_not_count(inputs: dict[str, Path]):
    with pytest.raises(BadInput, match="expected the segmenter to know something"):
        annotated(inputs, True, concepts=["window"])


def test_renderings_of_another_reconstruction_do_not_count(inputs: dict[str, Path]):
    with pytest.raises(BadInput, match="expected the segmenter to know something"):
        annotated(inputs, True, reconstruction="another")
