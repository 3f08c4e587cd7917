"""MaskCLIP's dense embeddings against transformers' own blocks, where those can be made to look at one patch alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize
from transformers import AutoImageProcessor, AutoModel, BertConfig, BertModel

from halonerf.errors import BadInput
from halonerf.retrievers.clip import Clip
from halonerf.retrievers.maskclip import dense_embeddings
from helpers.tiny_clip import SIDE, write_tiny

PATCH = 8  # px, of all tiny models
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write_tiny(kind, tmp_path_factory.mktemp(kind)) for kind in ("clip", "siglip", "siglip2")}


def photo(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height + width))


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
@torch.no_grad()
def test_of_a_single_patch_it_is_the_photos_own_embedding(folders: dict[str, Path], kind: str):
    """Attention over one token is its value path, whatever the query."""
    model = AutoModel.from_pretrained(folders[kind]).eval()
    processor = AutoImageProcessor.from_pretrained(folders[kind])
    image = photo(PATCH, PATCH)
    options = {"max_num_patches": 1} if kind == "siglip2" else {"do_resize": False}
    pixels = processor(image[0], do_rescale=False, input_data_format="channels_first", return_tensors="pt", **options)
    more = {} if kind == "siglip2" else {"interpolate_pos_encoding": True}
    expected = normalize(model.get_image_features(**pixels, **more).pooler_output, dim=-1)
    found = Clip(str(folders[kind]), trainable="none").embed_dense(image)
    assert found.shape == (1, expected.shape[1], 1, 1)
    torch.testing.assert_close(found[..., 0, 0], expected, **CLOSE)


@torch.no_grad()
def test_of_clip_it_is_the_last_block_in_which_every_token_sees_itself_alone(folders: dict[str, Path]):
    model = AutoModel.from_pretrained(folders["clip"]).eval()
    processor = AutoImageProcessor.from_pretrained(folders["clip"])
    image = photo(SIDE, SIDE)
    pixels = processor(
        image[0], do_resize=False, do_rescale=False, input_data_format="channels_first", return_tensors="pt"
    )
    vision = model.vision_model
    before = vision(**pixels, output_hidden_states=True).hidden_states[-2]
    count = before.shape[1]
    alone = torch.full((count, count), -torch.inf).fill_diagonal_(0.0)[None, None]
    after = vision.post_layernorm(vision.encoder.layers[-1](before, attention_mask=alone))
    expected = model.visual_projection(after)[0, 1:].T.unflatten(1, (SIDE // PATCH, SIDE // PATCH))
    found = dense_embeddings(model, processor, image)[0]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, **CLOSE)
    plain = model.visual_projection(vision.post_layernorm(vision.encoder.layers[-1](before, attention_mask=None)))
    assert (plain[0, 1:].T.flatten() - expected.flatten()).abs().max() > 0.05  # the attention does matter


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
@torch.no_grad()
def test_maps_have_the_photos_aspect_and_follow_its_size(folders: dict[str, Path], kind: str):
    retriever = Clip(str(folders[kind]), trainable="none")
    for height, width in ((48, 96), (96, 48), (40, 40), (3, 5)):
        found = retriever.embed_dense(photo(height, width))
        rows, columns = found.shape[-2:]
        assert rows * columns <= max(1, round(height / PATCH)) * max(1, round(width / PATCH))
        assert abs(rows - height / PATCH) <= 1
        assert abs(columns - width / PATCH) <= 1
        torch.testing.assert_close(found.norm(dim=1), torch.ones(1, rows, columns))
    wide = photo(48, 96)
    torch.testing.assert_close(  # photos do not see each other
        retriever.embed_dense(torch.cat([wide, wide.flip(-1)]))[:1], retriever.embed_dense(wide), atol=1e-4, rtol=0
    )


@torch.no_grad()
def test_embeddings_are_local(folders: dict[str, Path]):
    """A change in one corner changes that corner's embeddings most."""
    for folder in folders.values():
        retriever = Clip(str(folder), trainable="none")
        image = photo(64, 64)
        other = image.clone()
        other[..., :16, :16] = 1 - other[..., :16, :16]
        change = (retriever.embed_dense(other) - retriever.embed_dense(image)).norm(dim=1)[0]
        rows, columns = change.shape
        corner = change[: rows // 4, : columns // 4].mean()
        assert corner > 2 * change[rows // 2 :, columns // 2 :].mean()


def test_adapters_are_used_and_trained(folders: dict[str, Path]):
    for folder in folders.values():
        retriever = Clip(str(folder), trainable="lora")
        retriever.embed_dense(photo(16, 24))[0, 0].sum().backward()
        learnt = {n for n, p in retriever.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert any(name.endswith("layers.0.self_attn.v_proj.lora_up") for name in learnt)


def test_other_models_are_refused():
    bert = BertModel(BertConfig(vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(BadInput, match=r"got a BertModel"):
        dense_embeddings(bert, None, photo(16, 16))
