"""The contract of training data: training and test samples with masks and text prompts, the same on every call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from halonerf.data.training.procedural import WHOLE, RenderSettings, SegmentationDataset
from halonerf.factory import build
from helpers.places import CONF

GROUP = CONF / "training_data"
OPTIONS = sorted(path.stem for path in GROUP.glob("*.yaml"))


def write_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8)).save(path)


def tiny_options(option: str, root: Path) -> dict[str, Any]:
    """Arguments of a small data set; its photos lie below `root`, which is also the cache."""
    if option == "procedural":
        for seed in (0, 1):
            folder = RenderSettings(2, 0.5, 40, 1).folder(root / "renders", "block", seed)
            for name in ("000_dome", "001_whole"):
                write_photo(folder / "photos" / f"{name}.jpg", seed)
                write_photo(folder / "masks" / "dome" / f"{name}.png", seed)
        sizes = {"kinds": ["block"], "first_seed": 0, "buildings": 1, "test_buildings": 1}
        return sizes | {"photos": 2, "whole": 0.5, "width": 40, "samples": 1, "workers": 1}
    if option == "masked_photos":
        for seed in range(3):
            write_photo(root / "given" / f"{seed}.jpg", seed)
            numbers = np.random.default_rng(seed).integers(0, 3, (30, 40)).astype(np.uint8)
            Image.fromarray(numbers).save(root / "given" / f"{seed}.png")
        classes = {"window": 1, "door": 2}
        target = "halonerf.data.sources.IndexedMasks"
        return {
            "source": build({"_target_": target, "path": str(root / "given"), "classes": classes}),
            "test_photos": 1,
            "size": 20,
        }
    raise AssertionError(f"name a tiny offline instance of training data '{option}' here")


@pytest.fixture(params=OPTIONS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SegmentationDataset, Path]:
    config: Any = OmegaConf.to_container(OmegaConf.load(GROUP / f"{request.param}.yaml"))
    config.pop("source", None)  # interpolated
    return build(config, **tiny_options(request.param, tmp_path)), tmp_path


def test_samples_are_photos_with_masks(made: tuple[SegmentationDataset, Path]):
    data, cache = made
    concepts = list(data.vocabulary(cache))
    for sample in [*data.train(cache), *data.test(cache)]:
        pixels = sample.image()
        height, width = pixels.shape[:2]
        assert pixels.shape == (height, width, 3)
        assert pixels.dtype == np.uint8
        masks = {concept: sample.mask(concept, height, width) for concept in [*concepts, "no such thing"]}
        assert all(mask.shape == (height, width) and mask.dtype == bool for mask in masks.values())
        assert not masks["no such thing"].any()
        assert any(mask.any() for mask in masks.values())


def test_training_and_test_data_share_no_photo(made: tuple[SegmentationDataset, Path]):
    data, cache = made
    training, testing = data.train(cache), data.test(cache)
    assert {sample.subject == WHOLE for sample in testing} == {True, False}
    pictures = [
        {sample.image().tobytes() for sample in part if sample.subject == WHOLE} for part in (training, testing)
    ]
    assert pictures[0]
    assert not pictures[0] & pictures[1]
    for before, after in zip([*training, *testing], [*data.train(cache), *data.test(cache)], strict=True):
        np.testing.assert_array_equal(before.image(), after.image())


def test_every_concept_has_prompts_that_are_not_negative_words(made: tuple[SegmentationDataset, Path]):
    data, cache = made
    names = [name for names in data.vocabulary(cache).values() for name in names]
    assert names
    assert all(names)
    assert not set(names) & set(data.negative_words)
