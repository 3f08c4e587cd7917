"""CLIP, SigLIP and SigLIP 2 against transformers' own pipeline on the same weights; missing and partial weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, BertConfig, BertModel

from halonerf.errors import BadInput, MissingArtifact
from halonerf.retrievers.clip import Clip
from halonerf.retrievers.lora import LoraLinear, add_lora, merged_state
from helpers.tiny_clip import SIDE, write_tiny

KINDS = ("clip", "siglip", "siglip2")
WORDS = ["portal", "the rose window of a cathedral", "a"]
SIZES = [(SIDE, SIDE), (50, 91), (91, 50), (20, 13), (300, 40)]  # height, width
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write_tiny(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_equals_transformers_pipeline(folders: dict[str, Path], kind: str):
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    ours = Clip(str(folders[kind]), trainable="none")
    model = AutoModel.from_pretrained(folders[kind]).eval()
    processor = AutoImageProcessor.from_pretrained(folders[kind])
    tokenizer = AutoTokenizer.from_pretrained(folders[kind])

    photos = [torch.from_numpy(photo).permute(2, 0, 1) / 255 for photo in pixels]
    floats = [photo.astype(np.float32) / 255 for photo in pixels]
    inputs = processor(floats, do_rescale=False, input_data_format="channels_last", return_tensors="pt")
    expected = normalize(model.get_image_features(**inputs).pooler_output, dim=-1)
    assert expected.std(dim=0).max() > 0.01  # not equal because all are alike
    torch.testing.assert_close(ours.embed_images(photos), expected, **CLOSE)

    padding = "longest" if kind == "clip" else "max_length"  # as their documentation has it
    inputs = tokenizer(WORDS, padding=padding, max_length=40, return_tensors="pt")
    expected = normalize(model.get_text_features(**inputs).pooler_output, dim=-1)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(ours.embed_texts(WORDS), expected, **CLOSE)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_equals_the_pipeline_on_pictures_that_need_no_resizing(folders: dict[str, Path], kind: str):
    """From 8-bit pictures, by the other of transformers' two processors; resized ones it rounds to 8 bits again."""
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    processor = AutoImageProcessor.from_pretrained(folders[kind], backend="pil")
    model = AutoModel.from_pretrained(folders[kind]).eval()
    inputs = processor([Image.fromarray(pixels)], return_tensors="pt")
    expected = normalize(model.get_image_features(**inputs).pooler_output, dim=-1)
    photo = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    torch.testing.assert_close(Clip(str(folders[kind])).embed_images([photo]), expected, **CLOSE)


@torch.no_grad()
def test_long_texts_are_truncated(folders: dict[str, Path]):
    for folder in folders.values():
        told = Clip(str(folder)).embed_texts(["dome " * 100, "dome " * 99])
        torch.testing.assert_close(told[0], told[1])


def test_trainable_selects_the_parameters(folders: dict[str, Path]):
    def learnt(**options: object) -> set[str]:
        made = Clip(str(folders["siglip"]), **options)
        return {name for name, parameter in made.named_parameters() if parameter.requires_grad}

    assert not learnt(trainable="none")
    corrections = learnt(trainable="lora")
    assert len(corrections) == 2 * 2 * 2 * 6  # halves, towers, blocks, linear layers of a block
    assert all(".lora_" in name for name in corrections)
    everything = learnt(trainable="full")
    assert "model.vision_model.head.probe" in everything
    assert not {name for name in everything if "logit_" in name}


def test_adapters_start_at_zero_and_merge():
    torch.manual_seed(0)
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"a": nn.Linear(5, 7)})]), "head": nn.Linear(5, 7)})
    plain = model["layers"][0]["a"]
    x = torch.randn(3, 5)
    expected = plain(x)
    assert add_lora(model, rank=2, alpha=6.0) == 1
    corrected = model["layers"][0]["a"]
    assert isinstance(corrected, LoraLinear)
    torch.testing.assert_close(corrected(x), expected)
    with torch.no_grad():
        corrected.lora_up.normal_()
    by_hand = expected + 3.0 * x @ corrected.lora_down.T @ corrected.lora_up.T
    torch.testing.assert_close(corrected(x), by_hand)
    state = merged_state(model)
    assert set(state) == {"layers.0.a.weight", "layers.0.a.bias", "head.weight", "head.bias"}
    torch.testing.assert_close(nn.functional.linear(x, state["layers.0.a.weight"], state["layers.0.a.bias"]), by_hand)


def test_missing_weights_come_with_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingArtifact, match=r"hf download openai/clip-vit-base-patch32"):
        Clip(str(tmp_path / "nowhere"))


def test_partial_weights_are_reported(folders: dict[str, Path], tmp_path: Path):
    for file in folders["clip"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match=r"1 are missing.*text_projection\.weight"):
        Clip(str(tmp_path))


def test_other_models_are_refused(folders: dict[str, Path], tmp_path: Path):
    for file in folders["clip"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    BertModel(BertConfig(vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)).save_pretrained(
        tmp_path
    )
    with pytest.raises(BadInput, match=r"got a BertModel, which has no get_image_features"):
        Clip(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(BadInput, match=r"cannot be read"):
        Clip(str(tmp_path))
