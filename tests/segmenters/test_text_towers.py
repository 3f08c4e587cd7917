"""A text tower from the hub: transformers' own embeddings inside, frozen, found again by name, in any script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel, AutoTokenizer

from halonerf.errors import BadInput, MissingArtifact
from halonerf.segmenters.text_towers import HubText
from halonerf.segmenters.timm_text import TimmText
from helpers.tiny_clip import write_tiny
from helpers.tiny_grounding import write_tiny_detector

PROMPTS = ["portal", "rose window"]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(request.param, tmp_path_factory.mktemp(request.param))


def small(text: str, weights: str | None = None) -> TimmText:
    torch.manual_seed(0)
    return TimmText(weights=weights, backbone="lcnet_050", channels=8, image_size=64, text=text).eval()


@torch.no_grad()
def test_text_embeddings_equal_transformers(folder: Path):
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    padding = "max_length" if model.config.model_type == "siglip" else True
    words = tokenizer(PROMPTS, padding=padding, truncation=True, return_tensors="pt")
    expected = model.get_text_features(**words).pooler_output
    tower = HubText(str(folder))
    assert (expected[0] - expected[1]).abs().max() > 1e-2
    torch.testing.assert_close(tower._features(PROMPTS), expected, atol=1e-5, rtol=0)
    found = tower(PROMPTS)
    assert found.shape == (2, 128)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(tower(PROMPTS[1:])[0], found[1], atol=1e-5, rtol=0)  # alone as in company


def test_the_encoder_stays_frozen_and_is_not_saved(folder: Path, tmp_path: Path):
    segmenter = small(str(folder)).train()
    assert not segmenter.text.encoder.training
    segmenter(torch.rand(2, 3, 48, 64), PROMPTS).mean().backward()
    assert segmenter.text.out.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in segmenter.text.encoder.parameters())
    assert "text.out" in segmenter.trainable
    assert "text" not in segmenter.trainable
    segmenter.eval().save(tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as stream:
        assert not any(name.startswith("text.encoder") for name in stream.keys())  # noqa: SIM118 - not a mapping
        assert json.loads(stream.metadata()["architecture"])["text"] == folder.name
    again, image = small(str(folder), str(tmp_path / "model.safetensors")), torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        expected, found = segmenter(image, PROMPTS), again(image, PROMPTS)
    torch.testing.assert_close(found, expected, atol=float(0.01 * expected.std()) + 1e-3, rtol=0)  # half precision
    with pytest.raises(BadInput, match=r"segmenter\.text"):
        small("letters", str(tmp_path / "model.safetensors"))


def test_mistakes_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingArtifact, match=r"hf download openai/clip-vit-base-patch32(.|\n)*segmenter\.text=DIR"):
        HubText(str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match=r"embeds texts(.|\n)*segmenter\.text=letters"):
        HubText(str(write_tiny_detector(tmp_path / "detector")))
