"""The contract of every interactive segmenter in `conf/interactive_segmenter`: a mask for each set of points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from halonerf.factory import build
from halonerf.protocols import InteractiveSegmenter
from helpers.configs import option_files
from helpers.places import CONF
from helpers.tiny_sam import write_tiny_sam

GROUP = CONF / "interactive_segmenter"
OPTIONS = [path.stem for path in option_files(GROUP)]


def tiny_options(option: str, folder: Path) -> dict[str, Any]:
    """Arguments that make an option small, and free of the network."""
    if option == "sam":
        return {"weights": str(write_tiny_sam(folder))}
    raise AssertionError(f"name a tiny offline instance of interactive segmenter '{option}' here")


@pytest.fixture(params=OPTIONS)
def segmenter(request: pytest.FixtureRequest, tmp_path: Path) -> InteractiveSegmenter:
    config = OmegaConf.to_container(OmegaConf.load(GROUP / f"{request.param}.yaml"))
    assert isinstance(config, dict)
    made: InteractiveSegmenter = build(config, **tiny_options(request.param, tmp_path))
    return made


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (7, 90)])
def test_masks_have_the_size_of_the_picture(segmenter: InteractiveSegmenter, height: int, width: int):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    inside = np.array([[0.5, 0.5], [width - 0.5, height - 0.5]])
    points, positive = [inside, inside[:1], inside[1:]], [np.array([True, False]), np.array([True]), np.array([True])]
    before = picture.copy()
    masks = segmenter.masks(picture, points, positive)
    assert (masks.shape, masks.dtype) == ((3, height, width), np.dtype(bool))
    assert np.array_equal(picture, before), "the picture is left as it is"
    assert np.array_equal(segmenter.masks(picture, points, positive), masks), "the same again"
    alone = segmenter.masks(picture, points[1:2], positive[1:2])
    assert np.array_equal(alone[0], masks[1]), "objects do not depend on each other"
    assert segmenter.masks(picture, [], []).shape == (0, height, width)


def test_it_fulfils_the_protocol_in_evaluation_mode(segmenter: InteractiveSegmenter):
    assert isinstance(segmenter, InteractiveSegmenter)
    if isinstance(segmenter, torch.nn.Module):
        assert not segmenter.training
