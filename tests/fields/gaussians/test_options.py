"""The options of a field of Gaussians: source of codes, appearance model, view-dependent colour."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.fields.gaussians.harmonics import harmonics_basis
from halonerf.losses import photometric
from halonerf.types import View

NAMES = ("a.jpg", "b.jpg")


def field(**options: Any) -> Gaussians:
    random = torch.Generator().manual_seed(0)
    made = Gaussians(budget=50, **options)
    made.initialise(torch.randn(40, 3, generator=random) * 0.5, torch.rand(40, 3, generator=random), NAMES, seed=0)
    return made


def view(turn: float = 0.0) -> View:
    """From 2.5 units away, `turn` radians around the origin."""
    c, s = math.cos(turn), math.sin(turn)
    pose = torch.tensor([[c, 0.0, s, -2.5 * s], [0.0, 1.0, 0.0, 0.0], [-s, 0.0, c, -2.5 * c]])
    return View(32, 24, 40.0, 40.0, 16.0, 12.0, pose)


def fit(made: Gaussians, pictures: dict[str, torch.Tensor], steps: int = 60) -> float:
    """Fit one view under every photo's appearance; the last loss."""
    made.train()
    optimiser, loss = made.optimiser(), torch.zeros(())
    for _ in range(steps):
        loss = torch.zeros(())
        for name, picture in pictures.items():
            shown = made.render(view(), made.training_appearance(name, picture))
            loss = loss + photometric(shown.colour, picture, torch.ones(24, 32))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


def two_appearances() -> dict[str, torch.Tensor]:
    """One image twice: its left half is bright in one photo, its right half in the other."""
    left = torch.linspace(0.9, 0.1, 32).expand(24, 32)[..., None].expand(-1, -1, 3).contiguous()
    return {"a.jpg": left, "b.jpg": left.flip(1)}


def test_a_network_fits_local_changes_of_appearance_and_an_affine_tint_does_not():
    losses = {tint: fit(field(tint=tint), two_appearances()) for tint in ("network", "affine", "none")}
    assert losses["network"] < 0.8 * losses["affine"]
    assert losses["affine"] <= losses["none"] + 0.01


def test_without_a_tint_all_photos_have_the_same_appearance():
    made = field(tint="none")
    fit(made, two_appearances(), steps=5)
    codes = torch.randn(2, 16)
    assert torch.equal(made.render(view(), codes[0]).colour, made.render(view(), codes[1]).colour)


def test_an_encoder_computes_codes_of_photos_that_were_not_fitted(tmp_path: Path):
    made = field(codes="encoder")
    assert made.encodes
    pictures = two_appearances()
    fit(made, pictures, steps=10)
    made.train(False)
    for name, picture in pictures.items():
        assert torch.equal(made.training_appearance(name, picture), made.appearance(name))
    assert torch.equal(made.appearance("unseen.jpg"), made.mean_appearance())
    assert not torch.allclose(made.encode(1 - pictures["a.jpg"]), made.appearance("a.jpg"), atol=1e-4)
    made.save(tmp_path / "field.safetensors")
    twin = Gaussians(budget=50, codes="encoder")
    twin.load(tmp_path / "field.safetensors")
    assert torch.equal(twin.encode(pictures["b.jpg"]), made.encode(pictures["b.jpg"]))
    assert torch.equal(twin.appearance("b.jpg"), made.appearance("b.jpg"))


def test_learnt_codes_cannot_be_computed_from_a_photo():
    with pytest.raises(BadInput, match=r"field\.codes=encoder"):
        field().encode(torch.zeros(24, 32, 3))


def test_harmonics_are_orthonormal():
    random = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=random), dim=1)
    values = torch.cat([torch.full((200_000, 1), math.sqrt(1 / (4 * math.pi))), harmonics_basis(directions, 3)], dim=1)
    products = 4 * math.pi * values.T @ values / len(values)
    torch.testing.assert_close(products, torch.eye(16), atol=0.02, rtol=0)  # Monte Carlo: 1 / sqrt(200,000) is 0.002


def test_harmonics_change_colours_with_the_viewing_direction():
    made = field(sh_degree=2)
    code = made.mean_appearance()
    before = [made.render(view(turn), code).colour for turn in (0.0, math.pi / 2)]
    with torch.no_grad():
        made.harmonics[:, 1::8] = 2.0  # the harmonic that grows along z
    after = [made.render(view(turn), code).colour for turn in (0.0, math.pi / 2)]
    changes = [(b - a).abs().mean().item() for a, b in zip(before, after, strict=True)]
    assert changes[0] > 3 * changes[1]


def test_a_file_with_numbers_that_are_not_finite_is_refused(tmp_path: Path):
    made = field()
    with torch.no_grad():
        made.log_scales[[3, 7], 1] = math.nan
        made.opacity_logits[5] = math.inf
    made.save(tmp_path / "field.safetensors")
    expected = r"NaN or infinity: (.|\n)*1 of 40 in opacity_logits(.|\n)*learning_rates"
    with pytest.raises(BadInput, match=expected):
        field().load(tmp_path / "field.safetensors")
    with pytest.raises(BadInput, match="2 of 120 in log_scales"):
        field().load(tmp_path / "field.safetensors")


def test_a_diverged_field_is_reported_when_it_is_rendered():
    made = field()
    with torch.no_grad():
        made.rotations[4] = math.nan
    with pytest.raises(BadInput, match=r"1 of 40 rotations\.\n.*learning_rates"):
        made.render(view(), made.mean_appearance())
    with pytest.raises(BadInput, match="1 of 40 rotations"):
        made.lift(view(), torch.ones(24, 32, 1), torch.ones(24, 32))
