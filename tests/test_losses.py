"""Losses: known values, limits, and an independent implementation."""

from __future__ import annotations

import pytest
import torch

from halonerf.losses import (
    box_mean,
    cosine_by_epoch,
    depth_at_points,
    photometric,
    ssim_map,
    transient_mask,
    weighted_mean,
)


def picture(seed: int, height: int = 24, width: int = 31) -> torch.Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


def test_box_mean_is_the_mean_of_the_box_inside_the_image():
    image = picture(0)[..., 0]
    means = box_mean(image[None, None], 7)[0, 0]
    assert means[10, 12].item() == pytest.approx(image[7:14, 9:16].mean().item(), abs=1e-6)
    assert means[0, 30].item() == pytest.approx(image[:4, 27:].mean().item(), abs=1e-6)


def test_ssim_agrees_with_scikit_image_inside():
    metrics = pytest.importorskip("skimage.metrics")
    one, other = picture(0), 0.7 * picture(0) + 0.3 * picture(1)
    _, truth = metrics.structural_similarity(
        one.numpy(), other.numpy(), channel_axis=2, data_range=1.0, full=True, use_sample_covariance=False
    )
    inside = (slice(3, -3), slice(3, -3))
    torch.testing.assert_close(ssim_map(one, other)[inside], torch.from_numpy(truth)[inside], atol=1e-4, rtol=0)


def test_equal_images_have_no_loss():
    photo = picture(0)
    assert photometric(photo, photo, torch.ones(24, 31)).item() == pytest.approx(0.0, abs=1e-6)


def test_without_weight_a_pixel_does_not_count():
    photo, wrong = picture(0), picture(0)
    wrong[:, :10] = 0.0
    weight = torch.ones(24, 31)
    weight[:, :10] = 0.0
    assert photometric(wrong, photo, weight, ssim_share=0.0).item() == 0.0
    assert photometric(wrong, photo, torch.zeros(24, 31)).item() == 0.0


def test_photometric_loss_has_the_gradient_of_finite_differences():
    photo, image = picture(0, 9, 8).double(), picture(1, 9, 8).double().requires_grad_()
    weight = torch.rand(9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda x: photometric(x, photo, weight), [image], eps=1e-7, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(24, 31), (3, 40), (9, 2)])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_compiled_loss_is_the_plain_one(height: int, width: int, share: float):
    photo, weight = picture(0, height, width), picture(3, height, width)[..., 0]
    image = (0.6 * photo + 0.4 * picture(1, height, width)).requires_grad_()
    fast = photometric(image, photo, weight, share)
    plain = photometric(image.double(), photo.double(), weight.double(), share)  # in double: by torch
    assert fast.item() == pytest.approx(plain.item(), abs=2e-6)
    (found,), (expected,) = torch.autograd.grad(3 * fast, image), torch.autograd.grad(3 * plain, image)
    # Largest measured: 2e-6 of the largest entry; variances are differences of float32 means.
    torch.testing.assert_close(found, expected, atol=2e-5 * expected.abs().max().item(), rtol=0)


def test_weighted_mean_broadcasts_its_weight():
    values = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert weighted_mean(values, torch.tensor([[1.0], [3.0]])).item() == pytest.approx(5.0)


def test_depth_loss_is_the_relative_error_at_the_points():
    depth, opacity = torch.full((6, 8), 2.2), torch.ones(6, 8)
    pixels, truth = torch.tensor([[3.5, 2.5], [6.0, 4.0], [-5.0, 1.0]]), torch.tensor([2.0, 2.0, 9.0])
    assert depth_at_points(depth, opacity, pixels, truth).item() == pytest.approx(0.1, abs=1e-6)
    assert depth_at_points(depth, opacity, torch.zeros(0, 2), torch.zeros(0)).item() == 0.0


def test_a_transient_is_a_large_coherent_error():
    valid = torch.ones(60, 80, dtype=torch.bool)
    residual = torch.full((60, 80), 0.02)
    residual[20:40, 30:50] = 0.5
    residual[5, 5] = 1.0  # one bright pixel: noise, not a person
    masked = transient_mask(residual, valid, quantile=0.88, floor=0.12)
    assert masked[25:35, 35:45].all()
    assert not masked[:12].any()
    assert not masked[:, 60:].any()


def test_a_photo_of_small_errors_has_no_transients():
    valid = torch.ones(40, 40, dtype=torch.bool)
    residual = 0.1 * torch.rand(40, 40, generator=torch.Generator().manual_seed(0))
    assert not transient_mask(residual, valid, quantile=0.88, floor=0.12).any()
    assert not transient_mask(residual + 1.0, ~valid, quantile=0.88, floor=0.12).any()


@pytest.mark.parametrize(("epochs", "last"), [(1, 0.0), (5, 1e-8), (20, 1e-3)])
def test_a_cosine_by_epoch_is_pytorchs(epochs: int, last: float):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=epochs, eta_min=last)
    for epoch in range(epochs):
        assert cosine_by_epoch(0.4, epoch, epochs, last) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        schedule.step()
