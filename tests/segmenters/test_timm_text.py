"""The small text segmenter: its halves, its words, its weights, any size of photo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from halonerf.errors import BadInput, MissingArtifact
from halonerf.segmenters.text_towers import LetterTower, spell
from halonerf.segmenters.timm_text import TimmText, make_backbone


@pytest.fixture(scope="module")
def tiny() -> TimmText:
    torch.manual_seed(0)
    return TimmText(weights=None, backbone="lcnet_050", channels=24, image_size=96).eval()


def photos(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(96, 96, (24, 24)), (60, 131, (11, 24)), (500, 333, (24, 16)), (7, 400, (1, 24))]
)
def test_maps_have_the_photos_shape_at_a_quarter(tiny: TimmText, height: int, width: int, expected: tuple[int, int]):
    with torch.no_grad():
        encoded = tiny.encode(photos(2, 3, height, width))
        logits = tiny.decode(encoded, ["portal", "dome", "tower"])
    assert all(len(value) == 2 for value in encoded.values())  # the first axis is the photo
    assert logits.shape == (2, 3, *expected)
    assert logits.isfinite().all()


def test_prompts_and_photos_are_independent(tiny: TimmText):
    images = photos(2, 3, 80, 96)
    with torch.no_grad():
        both = tiny.decode(tiny.encode(images), ["portal", "rose window"])
        for photo in range(2):
            for prompt, word in enumerate(["portal", "rose window"]):
                alone = tiny.decode(tiny.encode(images[photo : photo + 1]), [word])
                torch.testing.assert_close(both[photo, prompt], alone[0, 0], atol=1e-5, rtol=1e-4)
    assert (both[:, 0] - both[:, 1]).abs().max() > 1e-4  # the word matters, even before training


def test_the_photos_last_pixels_are_seen(tiny: TimmText):
    image = photos(1, 3, 64, 96)
    changed = image.clone()
    changed[..., -4:, -4:] = 1 - changed[..., -4:, -4:]
    with torch.no_grad():
        before, after = (tiny.decode(tiny.encode(i), ["dome"])[0, 0] for i in (image, changed))
    assert (before - after)[-1, -1].abs() > 1e-6


def test_saved_and_loaded_gives_the_same_maps_to_half_precision(tiny: TimmText, tmp_path: Path):
    tiny.save(tmp_path / "a.safetensors")
    again = TimmText(weights=str(tmp_path / "a.safetensors"), backbone="lcnet_050", channels=24, image_size=96)
    assert not again.training
    with torch.no_grad():
        expected, found = (s.decode(s.encode(photos(1, 3, 96, 96)), ["portal"]) for s in (tiny, again))
    assert expected.std() > 0
    # eleven bits of mantissa through some twenty layers
    torch.testing.assert_close(found, expected, atol=float(0.01 * expected.std()) + 1e-3, rtol=0)


def test_wrong_weights_are_refused(tiny: TimmText, tmp_path: Path):
    tiny.save(tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match=r"'channels': 16.*holds those of .*'channels': 24"):
        TimmText(weights=str(tmp_path / "a.safetensors"), backbone="lcnet_050", channels=16)
    with pytest.raises(MissingArtifact, match=r"segmenter\.weights=offline"):
        TimmText(weights=str(tmp_path / "none.safetensors"))
    (tmp_path / "b.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(BadInput, match="cannot be read"):
        TimmText(weights=str(tmp_path / "b.safetensors"))
    with pytest.raises(BadInput, match=r"features at strides 4, 8, 16 and 32"):
        TimmText(weights=None, backbone="test_vit")


@pytest.mark.usefixtures("one_thread")
def test_it_learns_words():
    """Left half bright is "left", right half is "right": a few steps suffice, and another word stays silent."""
    torch.manual_seed(0)
    segmenter = TimmText(weights=None, backbone="lcnet_050", channels=16, image_size=64).train()
    images, targets = torch.zeros(4, 3, 64, 64), torch.zeros(4, 3, 16, 16)
    images[..., :32] = torch.tensor([1.0, 0.1, 0.1]).view(3, 1, 1)
    images[..., 32:] = torch.tensor([0.1, 0.1, 1.0]).view(3, 1, 1)
    images[2:] = images[2:].flip(-1)
    targets[:2, 0, :, :8] = targets[:2, 1, :, 8:] = targets[2:, 0, :, 8:] = targets[2:, 1, :, :8] = 1
    optimiser = torch.optim.AdamW(segmenter.parameters(), lr=3e-3)
    for _ in range(60):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(segmenter(images, ["red", "blue", "dog"]), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1  # chance is 0.6
    assert ((segmenter(images, ["blue"])[:, 0] > 0) == (targets[:, 1] > 0.5)).float().mean() > 0.95


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_spelling_never_leaves_the_alphabet(text: str):
    spelt = spell(f"{text} dome")
    assert spelt.endswith("dome")
    assert spelt == spell(spelt)
    assert set(spelt) <= set(" abcdefghijklmnopqrstuvwxyz0123456789")


def test_spelling_known_words():
    assert spell("  Flèche_du-CHŒUR ") == "fleche du choeur"
    assert spell("Kościół Straße") == "kosciol strasse"
    with pytest.raises(BadInput, match="Latin letters"):
        spell("قبة")


def test_padding_does_not_change_a_word():
    torch.manual_seed(0)
    tower = LetterTower(size=16).eval()
    with torch.no_grad():
        alone, padded = tower(["dome"])[0], tower(["dome", "a much longer text"])[0]
    torch.testing.assert_close(alone, padded)


@pytest.mark.parametrize("backbone", ["test_convnext", "mambaout_femto", "pvt_v2_b0"])
def test_other_backbones_give_the_same_pyramid(backbone: str):
    """Convolutional, channels last, and a hierarchical transformer."""
    segmenter = TimmText(weights=None, backbone=backbone, channels=8, image_size=96).eval()
    with torch.no_grad():
        encoded = segmenter.encode(photos(1, 3, 50, 90))
    shapes = [tuple(encoded[f"level{level}"].shape) for level in range(4)]
    assert shapes == [(1, 8, 16, 24), (1, 8, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)]


def test_swin_accepts_any_size():
    model, levels = make_backbone("swin_tiny_patch4_window7_224")
    assert levels.channels_last
    with torch.no_grad():
        assert [tuple(level.shape[1:]) for level in levels.select(model.eval()(photos(1, 3, 32, 96)))] == [
            (96, 8, 24),
            (192, 4, 12),
            (384, 2, 6),
            (768, 1, 3),
        ]


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        ("test_vit", r"strides \[16, 16, 16\]"),
        ("no_such_model", "Unknown model"),
        ("maxvit_rmlp_pico_rw_256", "divisible by window"),
    ],
)
def test_unsuitable_backbones_are_reported(backbone: str, reason: str):
    with pytest.raises(BadInput, match=rf"'{backbone}' does not do: .*{reason}(.|\n)*segmenter\.backbone=regnety_002"):
        make_backbone(backbone)


def test_dense_features_cover_the_photo_without_padding():
    torch.manual_seed(0)
    segmenter = TimmText(weights=None, backbone="lcnet_050", channels=8, image_size=96).eval()
    encoded = segmenter.encode(torch.rand(2, 3, 60, 90))
    found = segmenter.dense_features(encoded)
    assert found.shape == (2, 32, 16, 24)
    assert torch.equal(found[:, :8], encoded["level0"][..., :16, :24])
    halves = {name: value.half() if value.is_floating_point() else value for name, value in encoded.items()}
    torch.testing.assert_close(segmenter.dense_features(halves), found, atol=1e-2, rtol=1e-2)
