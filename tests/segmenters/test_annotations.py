"""`segmenter=annotations`: marks that snap to SAM's masks, from the command line's options to the maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from halonerf.annotations import Annotation, AnnotationSet, annotated_regions
from halonerf.cli import composed
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.pipeline.plan import identity_of
from halonerf.segmenters.annotations import Annotations
from halonerf.segmenters.sam import Sam
from helpers.tiny_grounding import write_tiny_sam2

PHOTO = "a.jpg"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    point = Annotation(concept="portal", photo=PHOTO, tool="point", points=((0.4, 0.6),), snap="sam")
    path = tmp_path / "annotations.json"
    AnnotationSet([point]).save(path)
    return path


def configured(*options: str) -> Any:
    """The segmenter's config of a command line."""
    return OmegaConf.to_container(composed(["segmenter=annotations", *options]).segmenter, resolve=True)


def test_the_command_line_extends_marks_to_the_masks_of_sam(file: Path, tmp_path: Path):
    weights = write_tiny_sam2(tmp_path / "sam")
    sam = ("interactive_segmenter=sam", f"interactive_segmenter.weights={weights}")
    segmenter = build(configured(f"segmenter.path={file}", *sam))
    images = torch.rand(1, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    found = segmenter.encode(images, [PHOTO])["probability"][0, 0]
    picture = (images[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    expected = annotated_regions(segmenter.annotations, 60, 40, lambda: picture, Sam(str(weights)))[0]
    drawn = annotated_regions(segmenter.annotations, 60, 40)[0]
    assert expected.sum() > drawn.sum()
    assert np.array_equal(found.numpy() == 1, expected)


def test_without_sam_the_message_says_what_to_type(file: Path):
    with pytest.raises(BadInput, match=r'1 annotation with snap "sam"(.|\n)*interactive_segmenter\.weights=DIR'):
        Annotations(str(file))


def test_fingerprints_without_it_are_those_of_before(file: Path):
    given = configured(f"segmenter.path={file}")
    assert given["interactive_segmenter"] is None
    before = {key: value for key, value in given.items() if key != "interactive_segmenter"}
    assert identity_of(given) == identity_of(before)
    sam = {"_target_": "halonerf.segmenters.Sam", "weights": "a/b", "cached_photos": 4}
    with_sam = identity_of({**given, "interactive_segmenter": sam})
    assert with_sam != identity_of(given)
    more = identity_of({**given, "interactive_segmenter": {**sam, "cached_photos": 5}})
    assert more == with_sam, "how many photos are cached changes no result"
