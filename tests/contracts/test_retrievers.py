"""What every retriever keeps: unit vectors, any photo size, independence, gradients, and a save that can be built."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from halonerf.factory import build
from halonerf.protocols import DenseRetriever, Retriever, TrainableRetriever
from helpers.places import CONF
from helpers.tiny_clip import write_tiny

GROUP = CONF / "retriever"
OPTIONS = sorted(  # pyramid embeds no texts: tests/retrievers/test_pyramid.py
    path.stem for path in GROUP.glob("*.yaml") if path.stem != "pyramid"
)
WORDS = ("portal", "rose window", "DOME")
SIZES = ((40, 90), (90, 31), (8, 5), (32, 32))  # height, width


def tiny_options(option: str, folder: Path) -> dict[str, Any]:
    """Arguments that make an option small, and free of the network."""
    if option == "clip":
        return {"weights": str(write_tiny("clip", folder / "weights"))}
    if option == "projected":
        torch.manual_seed(0)
        tower = {"_target_": "halonerf.segmenters.TimmText", "backbone": "lcnet_050", "channels": 8}
        build(tower, weights=None).save(folder / "tower.safetensors")
        tower["weights"] = str(folder / "tower.safetensors")
        return {
            "segmenter": {**tower, "image_size": 96},
            "crops": {**tower, "image_size": 64},
            "weights": None,
            "width": 16,
        }
    raise AssertionError(f"name a tiny offline instance of retriever '{option}' here")


@pytest.fixture(scope="module", params=OPTIONS)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    listed = OmegaConf.to_container(OmegaConf.load(GROUP / f"{request.param}.yaml"))
    assert isinstance(listed, dict)
    return {**listed, **tiny_options(request.param, tmp_path_factory.mktemp(request.param))}


@pytest.fixture
def retriever(config: dict[str, Any]) -> TrainableRetriever:
    return build(config)


@pytest.fixture
def photos() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in SIZES]


def test_is_a_retriever(retriever: TrainableRetriever):
    assert isinstance(retriever, Retriever)
    assert isinstance(retriever, TrainableRetriever)
    assert isinstance(retriever, torch.nn.Module)
    assert retriever.scale > 0


def test_vectors_have_unit_length(retriever: TrainableRetriever, photos: list[torch.Tensor]):
    seen, told = retriever.embed_images(photos), retriever.embed_texts(WORDS)
    assert seen.shape == (len(SIZES), told.shape[1])
    assert told.shape[0] == len(WORDS)
    for vectors in (seen, told):
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
        assert (vectors[1:] - vectors[0]).abs().amax(dim=1).min() > 1e-3  # and differ


def test_photos_and_texts_are_embedded_independently(retriever: TrainableRetriever, photos: list[torch.Tensor]):
    with torch.no_grad():
        apart = torch.cat([retriever.embed_images([photo]) for photo in photos])
        torch.testing.assert_close(retriever.embed_images(photos), apart, atol=1e-5, rtol=1e-4)
        stack = torch.stack([photos[3], photos[3].flip(-1)])
        torch.testing.assert_close(retriever.embed_images(stack)[:1], apart[3:], atol=1e-5, rtol=1e-4)
        apart = torch.cat([retriever.embed_texts([word]) for word in WORDS])
        torch.testing.assert_close(retriever.embed_texts(WORDS), apart, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_pixels_are_unit_vectors_beside_texts(retriever: TrainableRetriever, photos: list[torch.Tensor]):
    assert isinstance(retriever, DenseRetriever)
    told = retriever.embed_texts(WORDS)
    for photo in photos:
        pair = torch.stack([photo, photo.flip(-1)])
        seen = retriever.embed_dense(pair)
        assert seen.dtype == torch.float32
        assert seen.shape[:2] == (2, told.shape[1])
        rows, columns = seen.shape[2:]
        height, width = photo.shape[1:]
        assert abs(math.log(columns / rows * height / width)) < 0.7  # whole patches, of which some photos have one
        torch.testing.assert_close(seen.norm(dim=1), torch.ones(2, rows, columns))
        torch.testing.assert_close(retriever.embed_dense(pair[:1]), seen[:1], atol=1e-4, rtol=0)


def test_trainable_parameters_get_gradients(retriever: TrainableRetriever, photos: list[torch.Tensor]):
    assert isinstance(retriever, torch.nn.Module)
    for parameter in retriever.parameters():  # at a fresh correction the lower half has none yet
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    loss = (retriever.embed_images(photos)[:3] * retriever.embed_texts(WORDS)).sum()
    if isinstance(retriever, DenseRetriever):
        loss = loss + retriever.embed_dense(photos[0][None])[0, 0].sum()
    loss.backward()
    learnt = [parameter for parameter in retriever.parameters() if parameter.requires_grad]
    assert learnt
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in learnt)


def test_saved_weights_embed_the_same(
    retriever: TrainableRetriever, config: dict[str, Any], photos: list[torch.Tensor], tmp_path: Path
):
    assert isinstance(retriever, torch.nn.Module)
    with torch.no_grad():
        for parameter in retriever.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        retriever.save(tmp_path / "model")
        retriever.save(tmp_path / "model")  # replaces
        saved = build(config, weights=str(tmp_path / "model"))
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        # merged weights are rounded once
        torch.testing.assert_close(saved.embed_images(photos), retriever.embed_images(photos), atol=1e-5, rtol=0)
        torch.testing.assert_close(saved.embed_texts(WORDS), retriever.embed_texts(WORDS), atol=1e-5, rtol=0)
        fresh = build(config).embed_images(photos)
    assert (fresh - retriever.embed_images(photos)).abs().max() > 1e-3, "what was saved had learnt nothing"
