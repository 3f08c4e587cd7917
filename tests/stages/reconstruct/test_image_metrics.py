"""Metrics of held-out photos: the code is fitted to the left half, the right half is scored by the known formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from halonerf.fields.gaussians.field import Gaussians
from halonerf.stages.reconstruct.image_metrics import (
    ALEXNET,
    fit_appearance,
    image_metrics,
    mean_metrics,
    open_lpips,
    score_heldout_photo,
    score_training_photo,
)
from halonerf.types import Rendering, View
from helpers.made_fields import Panorama

VIEW = View(41, 30, 30.0, 30.0, 20.5, 15.0, torch.eye(3, 4))
LIGHTS = [torch.tensor([0.4, 0.0, -0.4]), torch.tensor([-0.9, 0.3, 0.8])]
SEEN = 21  # W - W // 2 columns


@pytest.fixture
def field() -> Panorama:
    made = Panorama()
    made.initialise(torch.zeros(4, 3), torch.zeros(4, 3), ["a.jpg"], seed=0)
    return made.train(False).requires_grad_(False)


@pytest.fixture
def photo(field: Panorama) -> torch.Tensor:
    """The field's own picture by a warmer light, in 8 bits, with noise."""
    random = torch.Generator().manual_seed(1)
    warm = field.render(VIEW, torch.tensor([0.8, 0.1, -0.7])).colour
    return ((warm + 0.05 * torch.randn(30, 41, 3, generator=random)).clamp(0, 1) * 255).round() / 255


def everything() -> torch.Tensor:
    return torch.ones(30, 41, dtype=torch.bool)


def test_the_code_is_fitted_to_the_left_half_alone(field: Panorama, photo: torch.Tensor):
    other = photo.clone()
    other[:, SEEN:] = 0.0
    code = fit_appearance(field, VIEW, photo, everything(), LIGHTS, steps=25)
    assert torch.equal(code, fit_appearance(field, VIEW, other, everything(), LIGHTS, steps=25))
    other[:, SEEN - 1] = 0.0
    assert not torch.equal(code, fit_appearance(field, VIEW, other, everything(), LIGHTS, steps=25))
    torch.testing.assert_close(code, torch.tensor([0.8, 0.1, -0.7]), atol=0.1, rtol=0)  # noise of 0.05


def test_pixels_that_are_not_valid_do_not_affect_the_code(field: Panorama, photo: torch.Tensor):
    other, valid = photo.clone(), everything()
    other[:10], valid[:10] = 0.0, False
    code = fit_appearance(field, VIEW, other, valid, LIGHTS, steps=25)
    torch.testing.assert_close(code, torch.tensor([0.8, 0.1, -0.7]), atol=0.15, rtol=0)


def test_a_field_that_encodes_starts_from_the_left_half(field: Panorama, photo: torch.Tensor):
    given: list[torch.Tensor] = []

    def encode(part: torch.Tensor) -> torch.Tensor:
        given.append(part)
        return torch.tensor([0.1, 0.2, 0.3])

    field.encodes, field.encode = True, encode  # type: ignore[method-assign]
    code = fit_appearance(field, VIEW, photo, everything(), LIGHTS, steps=0)
    assert torch.equal(code, torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(given[0], photo[:, :SEEN])


def test_otherwise_it_starts_from_the_fitted_code_of_smallest_error(field: Panorama, photo: torch.Tensor):
    assert torch.equal(fit_appearance(field, VIEW, photo, everything(), LIGHTS, steps=0), LIGHTS[0])
    dark = field.render(VIEW, LIGHTS[1]).colour
    dark[:, SEEN:] = 1.0
    assert torch.equal(fit_appearance(field, VIEW, dark, everything(), LIGHTS, steps=0), LIGHTS[1])
    neutral = field.render(VIEW, field.mean_appearance()).colour
    assert torch.equal(fit_appearance(field, VIEW, neutral, everything(), LIGHTS, steps=0), field.mean_appearance())


def test_nothing_but_the_code_moves(field: Panorama, photo: torch.Tensor):
    before = {key: value.clone() for key, value in field.state_dict().items()}
    score_heldout_photo(field, VIEW, photo, everything(), LIGHTS, 10, None)
    assert all(torch.equal(before[key], value) for key, value in field.state_dict().items())


def test_scores_are_those_of_scikit_image_on_the_right_half(field: Panorama, photo: torch.Tensor):
    scores = score_heldout_photo(field, VIEW, photo, everything(), LIGHTS, 10, None)
    code = fit_appearance(field, VIEW, photo, everything(), LIGHTS, 10)
    shown = field.render(VIEW, code).colour.numpy()[:, SEEN:]
    eight_bit = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    truth = np.rint(photo.numpy()[:, SEEN:] * 255).astype(np.uint8)
    assert eight_bit.shape[1] == 41 // 2
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, eight_bit, data_range=255), abs=1e-4)
    expected = structural_similarity(truth, eight_bit, data_range=255, channel_axis=2)
    assert scores["ssim"] == pytest.approx(expected, abs=1e-4)
    whole = score_training_photo(field, VIEW, photo, everything(), code, None)
    assert whole["psnr"] != scores["psnr"]
    assert scores["lpips"] is None


def test_what_is_not_defined_is_none():
    flat = torch.full((5, 40, 3), 0.5)
    scores = image_metrics(flat, (flat * 255).round() / 255, torch.ones(5, 40, dtype=torch.bool), None)
    assert scores == {"psnr": None, "ssim": None, "lpips": None}  # infinite, too low for a window, no weights
    assert image_metrics(flat, flat + 0.1, torch.zeros(5, 40, dtype=torch.bool), None)["psnr"] is None


def test_means_leave_out_what_is_not_defined():
    photos = [{"psnr": 20.0, "ssim": 0.5, "lpips": None}, {"psnr": 30.0, "ssim": None, "lpips": None}]
    assert mean_metrics(photos) == {"psnr": 25.0, "ssim": 0.5, "lpips": None}
    assert mean_metrics([]) == {"psnr": None, "ssim": None, "lpips": None}


def test_without_weights_on_disk_there_is_no_lpips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert open_lpips() is None


def test_lpips_is_torchmetrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity
    from torchvision.models import alexnet

    torch.manual_seed(0)
    (tmp_path / "checkpoints").mkdir()
    torch.save(alexnet(weights=None).state_dict(), tmp_path / "checkpoints" / ALEXNET)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    measure = open_lpips()
    assert measure is not None
    random = torch.Generator().manual_seed(2)
    image, other = torch.rand(2, 40, 52, 3, generator=random)
    planes = [t.permute(2, 0, 1)[None] for t in (image, other)]
    expected = learned_perceptual_image_patch_similarity(*planes, net_type="alex", normalize=True).item()
    assert expected > 1e-3
    assert measure(image, other) == pytest.approx(expected, rel=1e-4)
    assert measure(image, image) == 0
    known = torch.ones(40, 52, dtype=torch.bool)
    eight_bit = (image * 255).round() / 255
    assert image_metrics(image, other, known, measure)["lpips"] == pytest.approx(measure(eight_bit, other))
    known[:, :20] = False
    altered = other.clone()
    altered[:, :20] = 0.3
    assert (
        image_metrics(image, other, known, measure)["lpips"] == image_metrics(image, altered, known, measure)["lpips"]
    )
    assert image_metrics(image[:20], other[:20], known[:20], measure)["lpips"] is None


class Spotted(Panorama):
    """Shows one bright column on the left of the whole picture, by its place there."""

    def render(
        self, view: View, appearance: torch.Tensor, channels: torch.Tensor | None = None, normals: bool = False
    ) -> Rendering:
        shown = super().render(view, appearance)
        left = view.bounds[0]
        assert view.width + left <= SEEN * view.height / 30 + 1e-6 or not torch.is_grad_enabled()
        return shown


def test_only_the_left_half_is_rendered_while_the_code_is_fitted(photo: torch.Tensor):
    made = Spotted()
    made.initialise(torch.zeros(4, 3), torch.zeros(4, 3), ["a.jpg"], seed=0)
    made.train(False).requires_grad_(False)
    assert score_heldout_photo(made, VIEW, photo, everything(), LIGHTS, 3, None)["psnr"] is not None


def test_a_field_without_appearance_keeps_its_code(photo: torch.Tensor):
    made = Gaussians(tint="none")
    random = torch.Generator().manual_seed(0)
    made.initialise(torch.randn(30, 3, generator=random), torch.rand(30, 3, generator=random), ["a.jpg"], seed=0)
    made.train(False).requires_grad_(False)
    code = fit_appearance(made, VIEW, photo, everything(), [made.appearance("a.jpg")], steps=5)
    assert torch.equal(code, made.appearance("a.jpg"))
