"""The contract of every segmenter in `conf/segmenter`: shapes, encode and decode, NaN for unknown, training, saving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from halonerf.annotations import Annotation, AnnotationSet
from halonerf.factory import build
from halonerf.protocols import MaskFolderSegmenter, Segmenter, TrainableSegmenter
from helpers.places import CONF
from helpers.tiny_grounding import write_tiny_detector, write_tiny_sam2
from helpers.tiny_sam3 import write_tiny_sam3

GROUP = CONF / "segmenter"
OPTIONS = sorted(path.stem for path in GROUP.glob("*.yaml"))
NAMES = ("first.jpg", "second.jpg")
WORDS = ("portal", "window")
TRAINABLE = {"clipseg", "sam3", "timm_text"}


def tiny_options(option: str, folder: Path, clipseg: Callable[[], Path]) -> dict[str, Any]:
    """Arguments that make an option small, and free of the network."""
    if option == "clipseg":
        return {"weights": str(clipseg()), "image_size": 64}
    if option == "masks":
        for concept in WORDS:
            (folder / concept).mkdir()
            for name in NAMES:
                pixels = np.random.default_rng(len(name)).integers(0, 2, (48, 80), np.uint8) * 255
                Image.fromarray(pixels).save(folder / concept / f"{Path(name).stem}.png")
        return {"path": str(folder)}
    if option == "annotations":
        everything, part = [(-0.1, -0.1), (1.1, -0.1), (1.1, 1.1), (-0.1, 1.1)], [(0.1, 0.1), (0.9, 0.2), (0.5, 0.9)]
        entries = [
            Annotation(concept=concept, photo=name, tool="polygon", points=tuple(points), positive=points is shown)
            for name in NAMES
            for concept, shown in zip(WORDS, (part, everything), strict=True)
            for points in (everything, part)
        ]
        AnnotationSet(entries).save(folder / "annotations.json")
        return {"path": str(folder / "annotations.json")}
    if option == "timm_text":
        torch.manual_seed(0)
        return {"weights": None, "backbone": "lcnet_050", "channels": 8, "image_size": 96}
    if option == "sam3":
        return {"weights": str(write_tiny_sam3(folder))}
    if option == "grounded_sam":
        detector, sam = write_tiny_detector(folder / "detector"), write_tiny_sam2(folder / "sam")
        return {"weights": str(detector), "sam_weights": str(sam)}
    raise AssertionError(f"name a tiny offline instance of segmenter '{option}' here")


def make(option: str, **extra: Any) -> Any:
    """What `conf/` describes, with some options changed."""
    return build(OmegaConf.to_container(OmegaConf.load(GROUP / f"{option}.yaml")), **extra)


@pytest.fixture(params=OPTIONS)
def segmenter(request: pytest.FixtureRequest, tmp_path: Path) -> Segmenter:
    made = make(
        request.param, **tiny_options(request.param, tmp_path, lambda: request.getfixturevalue("clipseg_folder"))
    )
    return made.eval() if isinstance(made, torch.nn.Module) else made


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))


def test_is_a_segmenter(segmenter: Segmenter):
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, MaskFolderSegmenter) == (type(segmenter).__name__ in ("Annotations", "Masks"))


@torch.no_grad()
def test_maps_cover_the_whole_photo_in_its_aspect(segmenter: Segmenter, images: torch.Tensor):
    logits = segmenter.decode(segmenter.encode(images, names=NAMES), WORDS)
    assert logits.shape[:2] == (2, 2)
    height, width = logits.shape[-2:]
    assert abs(width / height - 80 / 48) < 0.1
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@torch.no_grad()
def test_photos_and_prompts_are_independent(segmenter: Segmenter, images: torch.Tensor):
    together = segmenter.decode(segmenter.encode(images, names=NAMES), WORDS)
    alone = segmenter.decode(segmenter.encode(images[1:], names=NAMES[1:]), [WORDS[0]])
    torch.testing.assert_close(together[1:, :1], alone, atol=1e-5, rtol=1e-4)  # other batch, other order of sums


@torch.no_grad()
def test_an_encoding_can_be_sliced_stored_and_decoded_again(segmenter: Segmenter, images: torch.Tensor):
    encoded = segmenter.encode(images, names=NAMES)
    assert all(isinstance(value, torch.Tensor) and len(value) == 2 for value in encoded.values())
    for key, value in encoded.items():
        assert value.is_floating_point() == (key not in segmenter.shared_keys), (
            "features may be stored in half precision"
        )
    assert all(torch.equal(encoded[key][0], encoded[key][1]) for key in segmenter.shared_keys)
    expected = segmenter.decode(encoded, WORDS)[1:]
    sliced = {key: value[1:].clone() for key, value in encoded.items()}
    torch.testing.assert_close(segmenter.decode(sliced, WORDS), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(segmenter.decode(sliced, WORDS), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_order_of_words_is_the_order_of_maps(segmenter: Segmenter, images: torch.Tensor):
    encoded = segmenter.encode(images, names=NAMES)
    forth, back = segmenter.decode(encoded, WORDS), segmenter.decode(encoded, WORDS[::-1])
    torch.testing.assert_close(forth, back.flip(1), atol=1e-5, rtol=1e-4)


@pytest.fixture(params=sorted(TRAINABLE))
def trainable(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any], Any]:
    """Name, options and instance of a segmenter that can learn."""
    options = tiny_options(request.param, tmp_path, lambda: request.getfixturevalue("clipseg_folder"))
    return request.param, options, make(request.param, **options).eval()


@pytest.mark.parametrize("option", OPTIONS)
def test_trainable_segmenters_follow_the_protocol(option: str, tmp_path: Path, request: pytest.FixtureRequest):
    made = make(option, **tiny_options(option, tmp_path, lambda: request.getfixturevalue("clipseg_folder")))
    assert isinstance(made, TrainableSegmenter) == (option in TRAINABLE)


def test_trainable_submodules_get_gradients(trainable: tuple[str, dict[str, Any], Any], images):
    _, _, segmenter = trainable
    modules = dict(segmenter.named_modules())
    segmenter.requires_grad_(False)
    for name in segmenter.trainable:
        modules[name].requires_grad_(True)
    logits = segmenter(images, WORDS)
    with torch.no_grad():
        torch.testing.assert_close(logits, segmenter.decode(segmenter.encode(images), WORDS), atol=1e-5, rtol=1e-4)
    logits.square().mean().backward()
    learning = [parameter for parameter in segmenter.parameters() if parameter.requires_grad]
    assert sum(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in learning) > len(learning) / 2


def test_saved_weights_are_read_back(trainable: tuple[str, dict[str, Any], Any], images, tmp_path: Path):
    option, options, segmenter = trainable
    first, second = ((tmp_path / number) / segmenter.weights_name for number in ("first", "second"))
    for path in (first, second):
        path.parent.mkdir()
    segmenter.save(first)
    again = make(option, **{**options, "weights": str(first)})
    assert not again.training
    again.save(second)
    once_more = make(option, **{**options, "weights": str(second)})
    with torch.no_grad():
        before, after, last = (made(images, WORDS) for made in (segmenter, again, once_more))
    assert before.std() > 0
    # eleven bits of mantissa through some twenty layers, where weights are halved; then nothing changes any more
    torch.testing.assert_close(after, before, atol=float(0.01 * before.std()) + 1e-3, rtol=0)
    assert torch.equal(last, after)
    again.save(first)  # over what is there
    assert sorted(path.name for path in first.parent.iterdir()) == [segmenter.weights_name]
