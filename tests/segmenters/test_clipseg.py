"""CLIPSeg's split in two halves against transformers' own forward, and what happens without weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

from halonerf.errors import BadInput, MissingArtifact
from halonerf.segmenters.clipseg import ClipSeg


def test_equals_transformers_forward_on_a_square_photo(clipseg_folder: Path):
    prompts = ["portal", "rose window", "a"]
    photo = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    processor = CLIPSegProcessor.from_pretrained(clipseg_folder)
    inputs = processor(
        text=prompts, images=[photo] * 3, padding=True, return_tensors="pt", do_rescale=False, do_resize=False
    )
    model = CLIPSegForImageSegmentation.from_pretrained(clipseg_folder).eval()
    ours = ClipSeg(str(clipseg_folder), image_size=64)
    with torch.no_grad():
        expected = model(**inputs).logits
        found = ours.decode(ours.encode(torch.from_numpy(photo).permute(2, 0, 1)[None]), prompts)[0]
    assert expected.std() > 0.1  # not equal because flat
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # nor because the text is ignored
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_batching_does_not_change_maps(clipseg_folder: Path):
    segmenter = ClipSeg(str(clipseg_folder), image_size=64, stride=0.3)
    images = torch.rand(2, 3, 80, 150, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        both = segmenter.decode(segmenter.encode(images), ["dome", "tower"])
        alone = torch.cat([segmenter.decode(segmenter.encode(image[None]), ["dome", "tower"]) for image in images])
    assert both.shape == (2, 2, 64, 120)
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)


def test_the_last_columns_of_a_wide_photo_are_seen(clipseg_folder: Path):
    segmenter = ClipSeg(str(clipseg_folder), image_size=64)
    image = torch.rand(1, 3, 64, 301, generator=torch.Generator().manual_seed(2))
    changed = image.clone()
    changed[..., -10:] = 1 - changed[..., -10:]
    with torch.no_grad():
        before, after = (segmenter.decode(segmenter.encode(i), ["dome"])[0, 0] for i in (image, changed))
    assert (before[:, -10:] - after[:, -10:]).abs().min() > 0
    torch.testing.assert_close(before[:, :200], after[:, :200])  # no window over both


def test_a_constant_network_gives_a_constant_map(clipseg_folder: Path):
    segmenter = ClipSeg(str(clipseg_folder), image_size=64, stride=0.1)
    last = segmenter.model.decoder.transposed_convolution
    assert isinstance(last, nn.ConvTranspose2d)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 1.25)
    with torch.no_grad():
        logits = segmenter.decode(segmenter.encode(torch.rand(1, 3, 97, 64)), ["dome"])
    torch.testing.assert_close(logits, torch.full_like(logits, 1.25))


def test_missing_weights_come_with_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingArtifact, match=r"hf download CIDAS/clipseg-rd64-refined(.|\n)*segmenter=timm_text"):
        ClipSeg(str(tmp_path / "nowhere"))


def test_partial_weights_are_reported(clipseg_folder: Path, tmp_path: Path):
    for file in clipseg_folder.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(clipseg_folder / "model.safetensors")
    del weights["decoder.film_mul.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"1 are missing.*decoder\.film_mul\.weight"):
        ClipSeg(str(tmp_path))


def test_image_size_is_a_multiple_of_the_patches(clipseg_folder: Path):
    with pytest.raises(BadInput, match="multiple of the 16 px patches"):
        ClipSeg(str(clipseg_folder), image_size=100)
