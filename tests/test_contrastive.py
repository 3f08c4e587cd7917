"""The contrastive loss: the paper's as a special case, and nothing that pushes equal labels apart."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from halonerf.losses import contrastive

SCALE = 20.0


def unit(count: int, seed: int) -> torch.Tensor:
    vectors = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return normalize(vectors, dim=1).requires_grad_()


def masks(labels: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """What equal labels make of a batch: positives, and the rest as negatives."""
    label = torch.tensor(labels)
    same = label[:, None] == label
    return same, ~same


def test_the_papers_loss_is_a_special_case():
    """sentence-transformers' MultipleNegativesRankingLoss: cross-entropy of each photo's own text, cosines times 20."""
    images, texts, itself = unit(5, 0), unit(5, 1), torch.eye(5, dtype=torch.bool)
    found = contrastive(images, texts, itself, ~itself, torch.ones(5), SCALE, both=False)
    torch.testing.assert_close(found, cross_entropy(SCALE * images @ texts.T, torch.arange(5)))
    both = contrastive(images, texts, itself, ~itself, torch.ones(5), SCALE)
    back = cross_entropy(SCALE * texts @ images.T, torch.arange(5))
    torch.testing.assert_close(both, (found + back) / 2)


def test_equal_labels_are_not_pushed_apart():
    """The pull on the cosine of photo 0 and text 1, which name one thing: up here, down in the paper's loss."""
    images, texts = unit(4, 0), unit(4, 1)
    similarity = {}
    for name, (positive, negative) in {
        "ours": masks([0, 0, 1, 2]),
        "paper": (torch.eye(4, dtype=torch.bool), ~torch.eye(4, dtype=torch.bool)),
    }.items():
        cosines = (images @ texts.T).detach().requires_grad_()
        # rows of the identity make the product the matrix of cosines itself
        loss = contrastive(cosines, torch.eye(4, dtype=torch.float64), positive, negative, torch.ones(4), SCALE)
        (similarity[name],) = torch.autograd.grad(loss, cosines)
    assert similarity["ours"][0, 1] < 0  # a step against the gradient raises it
    assert similarity["paper"][0, 1] > 0
    assert similarity["ours"][0, 2] > 0
    assert similarity["paper"][0, 2] > 0


def test_left_out_pairs_have_no_gradient():
    itself = torch.eye(3, dtype=torch.bool)
    negative = ~itself
    negative[0, 1] = negative[1, 0] = False
    cosines = torch.rand(3, 3, dtype=torch.float64).requires_grad_()
    contrastive(cosines, torch.eye(3, dtype=torch.float64), itself, negative, torch.ones(3), SCALE).backward()
    assert cosines.grad is not None
    assert cosines.grad[0, 1] == cosines.grad[1, 0] == 0
    assert (cosines.grad[2, :2] > 0).all()


def test_perfect_similarities_cost_nothing_with_repeated_labels():
    vectors = torch.eye(3)[[0, 0, 0, 1, 2]]
    positive, negative = masks([0, 0, 0, 1, 2])
    assert contrastive(vectors, vectors, positive, negative, torch.ones(5), 100.0).item() < 1e-6
    itself = torch.eye(5, dtype=torch.bool)
    repeated = contrastive(vectors, vectors, itself, ~itself, torch.ones(5), 100.0).item()
    assert repeated == pytest.approx(3 / 5 * math.log(3))  # of the three, each can only guess which text is its own


def test_pairs_count_by_their_weight():
    images, texts = unit(3, 0), unit(3, 1)
    positive, negative = masks([0, 1, 2])
    each = [contrastive(images, texts, positive, negative, row, SCALE) for row in torch.eye(3, dtype=torch.float64)]
    weight = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)
    expected = (0.5 * each[0] + 2.0 * each[2]) / 2.5
    torch.testing.assert_close(contrastive(images, texts, positive, negative, weight, SCALE), expected)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0]])
def test_a_batch_of_one_label_has_zero_loss_and_gradient(labels: list[int]):
    images, texts = unit(len(labels), 0), unit(len(labels), 1)
    loss = contrastive(images, texts, *masks(labels), torch.ones(len(labels)), SCALE)
    loss.backward()
    assert loss.item() == 0
    assert images.grad is not None
    assert images.grad.abs().max() == 0


def test_gradients_are_those_of_differences():
    positive, negative = masks([0, 0, 1, 2])
    weight = torch.tensor([1.0, 0.5, 0.2, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: contrastive(a, b, positive, negative, weight, 3.0), (unit(4, 0), unit(4, 1))
    )
