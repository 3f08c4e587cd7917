"""What every segmenter keeps: the shapes, the split in two halves, independence, and "unknown" as NaN."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from halonerf.protocols import Segmenter
from halonerf.stages.build import build

CONF = Path(__file__).parents[2] / "conf" / "segmenter"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))
NAMES = ("first.jpg", "second.jpg")
WORDS = ("portal", "window")


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
    if option == "timm_text":
        torch.manual_seed(0)
        return {"weights": None, "backbone": "lcnet_050", "channels": 8, "image_size": 96}
    raise AssertionError(f"name a tiny offline instance of segmenter '{option}' here")


@pytest.fixture(params=OPTIONS)
def segmenter(request: pytest.FixtureRequest, tmp_path: Path) -> Segmenter:
    extra = tiny_options(request.param, tmp_path, lambda: request.getfixturevalue("clipseg_folder"))
    made = build(OmegaConf.to_container(OmegaConf.load(CONF / f"{request.param}.yaml")), **extra)
    return made.eval() if isinstance(made, torch.nn.Module) else made


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))


def test_is_a_segmenter(segmenter: Segmenter):
    assert isinstance(segmenter, Segmenter)


@torch.no_grad()
def test_maps_cover_the_whole_photo_in_its_aspect(segmenter: Segmenter, images: torch.Tensor):
    logits = segmenter.decode(segmenter.encode(images, names=NAMES), WORDS)
    assert logits.shape[:2] == (2, 2)
    height, width = logits.shape[-2:]
    assert abs(width / height - 80 / 48) < 0.1
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@torch.no_grad()
def test_photos_and_words_do_not_see_each_other(segmenter: Segmenter, images: torch.Tensor):
    together = segmenter.decode(segmenter.encode(images, names=NAMES), WORDS)
    alone = segmenter.decode(segmenter.encode(images[1:], names=NAMES[1:]), [WORDS[0]])
    torch.testing.assert_close(together[1:, :1], alone, atol=1e-5, rtol=1e-4)  # other batch, other order of sums


@torch.no_grad()
def test_an_encoding_can_be_sliced_stored_and_asked_again(segmenter: Segmenter, images: torch.Tensor):
    encoded = segmenter.encode(images, names=NAMES)
    assert all(isinstance(value, torch.Tensor) and len(value) == 2 for value in encoded.values())
    expected = segmenter.decode(encoded, WORDS)[1:]
    sliced = {key: value[1:].clone() for key, value in encoded.items()}
    torch.testing.assert_close(segmenter.decode(sliced, WORDS), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(segmenter.decode(sliced, WORDS), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_order_of_words_is_the_order_of_maps(segmenter: Segmenter, images: torch.Tensor):
    encoded = segmenter.encode(images, names=NAMES)
    forth, back = segmenter.decode(encoded, WORDS), segmenter.decode(encoded, WORDS[::-1])
    torch.testing.assert_close(forth, back.flip(1), atol=1e-5, rtol=1e-4)
