"""Dense features of a segmenter's pyramid."""

from __future__ import annotations

import pytest
import torch

from halonerf.errors import BadInput
from halonerf.protocols import DenseEncoder, Retriever
from halonerf.retrievers import Pyramid
from halonerf.segmenters import TimmText


@pytest.fixture(scope="module")
def pyramid() -> Pyramid:
    torch.manual_seed(0)
    return Pyramid(TimmText(weights=None, backbone="lcnet_050", channels=8, image_size=96))


def test_embeds_densely_and_no_texts(pyramid: Pyramid):
    assert isinstance(pyramid, DenseEncoder)
    assert not isinstance(pyramid, Retriever)


@pytest.mark.parametrize(("height", "width", "grid"), [(48, 96, (12, 24)), (90, 60, (24, 16)), (300, 400, (18, 24))])
def test_all_levels_at_a_quarter_of_the_size(pyramid: Pyramid, height: int, width: int, grid: tuple[int, int]):
    found = pyramid.embed_dense(torch.rand(2, 3, height, width))
    assert found.shape == (2, 4 * 8, *grid)
    assert not found.requires_grad


def test_features_lie_where_the_photo_has_them(pyramid: Pyramid):
    photo = torch.zeros(1, 3, 64, 96)
    changed = photo.clone()
    changed[..., 40:56, 72:88] = 1.0
    difference = (pyramid.embed_dense(changed) - pyramid.embed_dense(photo))[0, :8].abs().sum(dim=0)  # the finest level
    row, column = divmod(int(difference.argmax()), difference.shape[1])
    assert abs(row - 12) <= 3
    assert abs(column - 20) <= 3


def test_a_segmenter_without_pyramid_is_refused():
    with pytest.raises(BadInput, match="dense features, got Linear"):
        Pyramid(torch.nn.Linear(1, 1))
