"""Projections of a segmenter's features: padding stays out, sizes are kept apart, weights fit or are refused."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from halonerf.data.procedural.closeups import close_ups
from halonerf.errors import BadInput, MissingArtifact
from halonerf.factory import build
from halonerf.metrics import average_precision
from halonerf.retrievers.projected import PACKAGED, Projected, pooled_features
from helpers.places import CONF

GROUP = CONF / "retriever" / "projected.yaml"


class Tower(nn.Module):
    """Two levels in a padded grid: values inside, huge ones in the padding."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.channels = channels

    def encode(self, images: Tensor, names: None = None) -> dict[str, Tensor]:
        height, width = images.shape[2] // 4, images.shape[3] // 4
        fine = torch.full((len(images), self.channels, height + 3, width + 2), 1e4)
        fine[..., :height, :width] = images.mean(dim=(1, 2, 3))[:, None, None, None]
        coarse = torch.full((len(images), self.channels, -(-height // 2) + 2, -(-width // 2) + 1), -1e4)
        coarse[..., : -(-height // 2), : -(-width // 2)] = 2.0
        return {"level0": fine, "level1": coarse, "size": torch.tensor([[height, width]]).expand(len(images), 2)}

    def dense_features(self, encoded: dict[str, Tensor]) -> Tensor:
        height, width = encoded["size"][0].tolist()
        return encoded["level0"][..., :height, :width].repeat(1, 2, 1, 1)

    def text(self, texts: list[str]) -> Tensor:
        return torch.tensor([[len(text), 1.0] for text in texts])


def test_padding_is_left_out():
    encoded = Tower().encode(torch.full((1, 3, 20, 28), 0.5))
    pooled = pooled_features(encoded)
    assert pooled.tolist() == [[0.5, 0.5, 0.5, 0.5, 2.0, 2.0, 2.0, 2.0]]  # mean and largest of two channels, twice


def test_photos_of_several_sizes_keep_their_order():
    torch.manual_seed(0)
    retriever = Projected(Tower(), Tower(), weights=None, width=8)
    photos = [torch.full((3, *size), value) for size, value in (((20, 28), 0.1), ((32, 40), 0.9), ((20, 28), 0.5))]
    together = retriever.embed_images(photos)
    for photo, vector in zip(photos, together, strict=True):
        torch.testing.assert_close(retriever.embed_images([photo])[0], vector)
    assert not torch.allclose(together[0], together[2])


def test_towers_stay_frozen():
    options: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(GROUP))
    for part in ("segmenter", "crops"):
        options[part] |= {"weights": None, "backbone": "lcnet_050", "channels": 8, "image_size": 64}
    retriever = build(options, weights=None)
    retriever.train()
    before = {name: value.clone() for name, value in retriever.segmenter.state_dict().items()}
    retriever.embed_dense(torch.rand(2, 3, 40, 40))
    assert all(torch.equal(before[name], value) for name, value in retriever.segmenter.state_dict().items())
    assert {n.split(".")[0] for n, p in retriever.named_parameters() if p.requires_grad} == {"pixel", "whole", "words"}


def test_other_weights_are_refused(tmp_path: Path):
    small = Projected(Tower(), Tower(), weights=None, width=8)
    small.save(tmp_path / "small")
    assert torch.equal(Projected(Tower(), Tower(), str(tmp_path / "small"), 8).pixel[0].weight, small.pixel[0].weight)
    with pytest.raises(BadInput, match=r"'pixel\.0\.weight' is \(128, 4, 1, 1\) and not \(128, 6, 1, 1\)"):
        Projected(Tower(3), Tower(), str(tmp_path / "small"), 8)
    with pytest.raises(MissingArtifact, match=r"retriever\.weights=offline"):
        Projected(Tower(), Tower(), str(tmp_path / "nowhere"))
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(BadInput, match="cannot be read"):
        Projected(Tower(), Tower(), str(tmp_path / "broken.safetensors"))
    with pytest.raises(BadInput, match=r"got Linear without encode and text"):
        Projected(nn.Linear(1, 1), Tower())


def test_the_packages_weights_are_small_and_know_parts_of_a_building():
    """Of a building that they never saw; `experiments/dense_retriever.py` has the figures."""
    for name in PACKAGED:
        assert len(files("halonerf.retrievers").joinpath("weights", f"{name}.safetensors").read_bytes()) < 500_000
    retriever = build(OmegaConf.to_container(OmegaConf.load(GROUP)))
    (shot,) = close_ups("synagogue", 7, 1, width=160, samples=4, overviews=1.0)
    image = torch.from_numpy(shot.picture.copy()).permute(2, 0, 1).float() / 255
    with torch.no_grad():
        told = retriever.embed_texts(["tower", "towers", "texture"])
        dense = retriever.embed_dense(image[None])[0]
    maps = torch.einsum("dhw,pd->phw", dense, told)
    shown = torch.nn.functional.interpolate((maps[:2] - maps[2])[None], image.shape[1:], mode="bilinear")[0].numpy()
    truth = shot.masks["tower"]
    for drawn in shown:
        assert average_precision(drawn, truth) > max(0.5, 2 * truth.mean())
    rows, columns = np.nonzero(truth)
    top, left, side = max(0, int(rows.mean()) - 20), max(0, int(columns.mean()) - 20), 40
    crop, empty = image[:, top : top + side, left : left + side], image[:, :side, :side]
    with torch.no_grad():
        seen = retriever.embed_images([crop, empty])
    assert (seen[0] - seen[1]) @ told[0] > 0.1
