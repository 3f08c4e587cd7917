"""SAM 3's split in two halves against transformers' own forward and post-processing, in both layouts of the hub."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Sam3Model, Sam3Processor

from halonerf.errors import BadInput, MissingArtifact
from halonerf.segmenters.sam3 import Sam3
from helpers.tiny_sam3 import SIDE, write_tiny_sam3

PROMPTS = ["portal", "rose window"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam3(tmp_path_factory.mktemp("sam3"))


def photo(*shape: int) -> torch.Tensor:
    return torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def theirs(folder: Path, image: torch.Tensor, prompt: str):
    model, processor = Sam3Model.from_pretrained(folder).eval(), Sam3Processor.from_pretrained(folder)
    inputs = processor(images=[image[0]], text=[prompt], do_rescale=False, return_tensors="pt")
    return processor, model(**{key: inputs[key] for key in ("pixel_values", "input_ids", "attention_mask")})


@pytest.mark.parametrize("video", [False, True], ids=["detector alone", "published layout"])
@torch.no_grad()
def test_instances_equal_transformers_masks_and_scores(tmp_path: Path, video: bool):
    write_tiny_sam3(tmp_path, video)
    segmenter, image = Sam3(str(tmp_path)), photo(SIDE, SIDE)
    found = torch.sigmoid(segmenter.decode(segmenter.encode(image), PROMPTS))[0]
    maps = []
    for prompt in PROMPTS:
        processor, outputs = theirs(tmp_path, image, prompt)
        scores = processor.post_process_object_detection(outputs, threshold=0.0)[0]["scores"]
        assert len(scores) == 5
        maps.append((outputs.pred_masks[0].sigmoid() * scores[:, None, None]).amax(dim=0))
    expected = torch.stack(maps)
    assert expected.std() > 0.02  # not equal because flat
    assert (expected[0] - expected[1]).abs().max() > 0.01  # nor because the text is ignored
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_semantic_equals_transformers_post_processing_of_a_wide_photo(folder: Path):
    segmenter, image = Sam3(str(folder), output="semantic"), photo(35, 70)
    found = torch.sigmoid(segmenter.decode(segmenter.encode(image), PROMPTS[:1]))[0, 0]
    processor, outputs = theirs(folder, image, PROMPTS[0])
    square = processor.post_process_semantic_segmentation(outputs, return_segmentation_scores=True)[0]
    assert found.shape == (8, 16)
    # squeezed back by area: pairs of rows, with a triangle's weight
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    rows = square["segmentation_scores"][0, 1:].unfold(0, 4, 2) @ kernel
    torch.testing.assert_close(found[1:-1], rows, atol=1e-5, rtol=0)


@torch.no_grad()
def test_maps_of_a_tall_photo_have_its_aspect(folder: Path):
    assert Sam3(str(folder))(photo(90, 30), PROMPTS).shape == (1, 2, 16, 5)


def test_missing_weights_come_with_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingArtifact, match=r"hf download facebook/sam3(.|\n)*segmenter=sam3 segmenter\.weights=DIR"):
        Sam3(str(tmp_path / "nowhere"))


def test_another_model_is_refused(clipseg_folder: Path):
    with pytest.raises(BadInput, match="SAM 3"):
        Sam3(str(clipseg_folder))
