"""Grounded SAM's split in two halves against transformers' own two pipelines, one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor, Sam2Model, Sam2Processor

from halonerf.errors import MissingArtifact
from halonerf.protocols import TrainableSegmenter
from halonerf.segmenters.grounded_sam import GroundedSam
from helpers.tiny_grounding import SIDE, write_tiny_detector, write_tiny_sam2

PROMPTS = ["portal", "Rose window"]
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("grounded")
    return {
        "weights": str(write_tiny_detector(folder / "detector")),
        "sam_weights": str(write_tiny_sam2(folder / "cutter")),
    }


def photo(*shape: int) -> torch.Tensor:
    return torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(3))


def theirs(folders: dict[str, str], image: torch.Tensor, phrase: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [N] of the boxes above the threshold, and their masks' logits [N, h, w], as people chain the two."""
    reader = GroundingDinoProcessor.from_pretrained(folders["weights"])
    detector = GroundingDinoForObjectDetection.from_pretrained(folders["weights"]).eval()
    inputs = reader(images=[image[0]], text=[phrase], do_rescale=False, return_tensors="pt")
    sizes = [tuple(image.shape[-2:])]
    found = reader.post_process_grounded_object_detection(
        detector(**inputs), inputs["input_ids"], threshold=THRESHOLD, target_sizes=sizes
    )[0]
    processor, sam = (
        Sam2Processor.from_pretrained(folders["sam_weights"]),
        Sam2Model.from_pretrained(folders["sam_weights"]).eval(),
    )
    boxes = processor(images=[image[0]], input_boxes=[found["boxes"].tolist()], do_rescale=False, return_tensors="pt")
    cut = sam(pixel_values=boxes["pixel_values"], input_boxes=boxes["input_boxes"], multimask_output=False)
    return found["scores"], cut.pred_masks[0, :, 0]


@torch.no_grad()
def test_equals_transformers_two_pipelines(folders: dict[str, str]):
    segmenter, image = GroundedSam(**folders, threshold=THRESHOLD), photo(SIDE, SIDE)
    found = torch.sigmoid(segmenter.decode(segmenter.encode(image), PROMPTS))[0]
    maps = []
    for phrase in ("portal.", "rose window."):
        scores, masks = theirs(folders, image, phrase)
        assert 1 < len(scores) < 8  # the threshold decides something
        assert torch.all(scores != 0.5)
        confidence = torch.sigmoid(torch.logit(scores) - torch.logit(torch.tensor(THRESHOLD)))
        maps.append((masks.sigmoid() * confidence[:, None, None]).amax(dim=0))
    expected = torch.stack(maps)
    assert expected.std() > 0.02  # not equal because flat
    assert (expected[0] - expected[1]).abs().max() > 0.01  # nor because the text is ignored
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_boxes_of_a_wide_photo_lie_where_transformers_has_them(folders: dict[str, str]):
    segmenter, image = GroundedSam(**folders, threshold=THRESHOLD), photo(45, 90)
    found = torch.sigmoid(segmenter.decode(segmenter.encode(image), PROMPTS[:1]))[0, 0]
    assert found.shape == (8, 16)
    scores, masks = theirs(folders, image, "portal.")
    square = (masks.sigmoid() * scores[:, None, None]).amax(dim=0)  # at this threshold the score is the confidence
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8  # two rows to one, by a triangle's weight
    torch.testing.assert_close(found[1:-1], square[1:].unfold(0, 4, 2) @ kernel, atol=1e-5, rtol=0)


@torch.no_grad()
def test_without_a_box_the_probability_is_zero(folders: dict[str, str]):
    segmenter = GroundedSam(**folders, threshold=0.9999)
    assert torch.all(segmenter.decode(segmenter.encode(photo(40, 60)), PROMPTS) < -10)


@torch.no_grad()
def test_boxes_bounds_their_number_best_first(folders: dict[str, str]):
    encoded = GroundedSam(**folders).encode(photo(SIDE, SIDE))
    many, one = (GroundedSam(**folders, boxes=boxes)._detect(encoded, "portal")[0] for boxes in (50, 1))
    assert many.shape == (1, 8)
    assert torch.equal(many.sort(descending=True).values, many)
    torch.testing.assert_close(one, many[:, :1])


def test_it_cannot_be_adapted(folders: dict[str, str]):
    assert not isinstance(GroundedSam(**folders), TrainableSegmenter)


def test_missing_weights_come_with_a_command(folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(MissingArtifact, match=r"hf download IDEA-Research/(.|\n)*segmenter\.weights=DIR"):
        GroundedSam(weights=nowhere, sam_weights=folders["sam_weights"])
    with pytest.raises(
        MissingArtifact, match=r"hf download facebook/sam2\.1-hiera-tiny(.|\n)*segmenter\.sam_weights=DIR"
    ):
        GroundedSam(weights=folders["weights"], sam_weights=nowhere)
