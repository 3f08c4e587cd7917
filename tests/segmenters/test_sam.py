"""SAM and SAM 2 on tiny checkpoints: equal to transformers' own way, with an encoder that runs once a photo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Sam2Model, Sam2Processor, SamModel, SamProcessor

from halonerf.errors import BadInput, MissingArtifact
from halonerf.segmenters.sam import Sam
from helpers.tiny_grounding import write_tiny_detector, write_tiny_sam2
from helpers.tiny_sam import write_tiny_sam

HEIGHT, WIDTH = 48, 80
KINDS: dict[str, tuple[Any, Any, Callable[[Path], Path]]] = {
    "sam": (SamModel, SamProcessor, write_tiny_sam),
    "sam2": (Sam2Model, Sam2Processor, write_tiny_sam2),
    "sam2 as published": (Sam2Model, Sam2Processor, partial(write_tiny_sam2, video=True)),
}


@pytest.fixture(scope="module", params=KINDS)
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Which model, and the folder of its weights."""
    return request.param, KINDS[request.param][2](tmp_path_factory.mktemp("sam"))


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def counted(made: Sam, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets an entry whenever the image encoder runs."""
    runs: list[int] = []
    encode = made.model.get_image_embeddings

    def counting(pixels: torch.Tensor) -> Any:
        runs.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(made.model, "get_image_embeddings", counting)
    return runs


POINTS = [np.array([[20.5, 10.5], [60.5, 30.5], [40.5, 44.5]]), np.array([[33.5, 21.5]])]
SIGNS = [np.array([True, True, False]), np.array([True])]


@torch.no_grad()
def test_masks_are_those_of_transformers_own_way(weights: tuple[str, Path]):
    kind, folder = weights
    found = Sam(str(folder)).masks(picture(), POINTS, SIGNS)
    assert found.shape == (2, HEIGHT, WIDTH)
    assert found.dtype == bool
    model, processor = KINDS[kind][0].from_pretrained(folder).eval(), KINDS[kind][1].from_pretrained(folder)
    for mask, points, signs in zip(found, POINTS, SIGNS, strict=True):
        inputs = processor(
            images=picture(),
            input_points=[[points.tolist()]],
            input_labels=[[signs.astype(int).tolist()]],
            return_tensors="pt",
        )
        inputs["input_points"] = inputs["input_points"].float() - 0.5  # ours are of pixels whose centres are at + 0.5
        several = len(points) == 1
        sizes = {key: inputs.pop(key) for key in ("original_sizes", "reshaped_input_sizes") if key in inputs}
        answer = model(**inputs, multimask_output=several)
        assert answer.pred_masks.shape[2] == (3 if several else 1)
        maps = processor.image_processor.post_process_masks(answer.pred_masks, **sizes, binarize=False)[0]
        expected = maps[0, int(answer.iou_scores[0, 0].argmax())].numpy()
        assert 0.02 < (expected > 0).mean() < 0.98, "the mask has a border"
        clear = np.abs(expected) > 1e-4  # elsewhere rounding decides
        np.testing.assert_array_equal(mask[clear], expected[clear] > 0)


def test_positive_and_negative_points_reach_the_model(weights: tuple[str, Path], monkeypatch: pytest.MonkeyPatch):
    made, given = Sam(str(weights[1])), []
    forward = made.model.forward

    def watched(**arguments: Any) -> Any:
        given.append(arguments)
        return forward(**arguments)

    monkeypatch.setattr(made.model, "forward", watched)
    made.masks(picture(), POINTS, SIGNS)
    assert [entry["input_labels"].tolist() for entry in given] == [[[[1, 1, 0]]], [[[1]]]]
    rows = round(64 * HEIGHT / WIDTH) if weights[0] == "sam" else 64  # px of the input: in proportion, or stretched
    scale = np.array([64 / WIDTH, rows / HEIGHT])
    for entry, points in zip(given, POINTS, strict=True):
        np.testing.assert_allclose(entry["input_points"][0, 0].numpy(), points * scale - 0.5, atol=1e-5)
    with_negative, without = made.masks(picture(), [POINTS[0], POINTS[0][:2]], [SIGNS[0], SIGNS[0][:2]])
    assert (with_negative != without).any()


def test_a_photo_is_encoded_once_and_the_last_ones_are_kept(weights: tuple[str, Path], monkeypatch: pytest.MonkeyPatch):
    made = Sam(str(weights[1]), cached_photos=2)
    runs = counted(made, monkeypatch)
    first = made.masks(picture(0), POINTS, SIGNS)
    assert np.array_equal(made.masks(picture(0), POINTS, SIGNS), first)
    assert len(runs) == 1
    made.masks(picture(1), POINTS, SIGNS)
    made.masks(picture(0), POINTS, SIGNS)
    assert len(runs) == 2
    made.masks(picture(2), POINTS, SIGNS)  # in place of 1, which was used longest ago
    made.masks(picture(0), POINTS, SIGNS)
    assert len(runs) == 3
    made.masks(picture(1), POINTS, SIGNS)
    assert len(runs) == 4
    turned = picture(0).reshape(WIDTH, HEIGHT, 3)  # the same bytes in another shape
    assert made.masks(turned, POINTS[1:], SIGNS[1:]).shape == (1, WIDTH, HEIGHT)
    assert len(runs) == 5


def test_no_points_give_no_masks(weights: tuple[str, Path]):
    assert Sam(str(weights[1])).masks(picture(), [], []).shape == (0, HEIGHT, WIDTH)


def test_missing_weights_come_with_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    advice = r"facebook/sam2\.1-hiera-small(.|\n)*interactive_segmenter=sam interactive_segmenter\.weights=DIR"
    with pytest.raises(MissingArtifact, match=f"hf download {advice}"):
        Sam(str(tmp_path / "nowhere"))


def test_weights_of_another_model_are_named(tmp_path: Path):
    with pytest.raises(BadInput, match=r"expected SAM or SAM 2 in .* got a model of type 'grounding-dino'"):
        Sam(str(write_tiny_detector(tmp_path)))
