"""Mutual nearest neighbours, against the plain definition."""

from __future__ import annotations

import pytest
import torch

from halonerf.miners import nearest
from halonerf.miners.nearest import mutual_nearest


def described(count: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize(("ratio", "least"), [(1.0, -1.0), (0.8, -1.0), (1.0, 0.7), (0.9, 0.6)])
def test_is_the_plain_definition(ratio: float, least: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nearest, "ROWS", 7)
    first, second = described(40, 0), described(30, 1)
    distance = torch.cdist(first.double(), second.double())
    expected = []
    for i in range(40):
        j = int(distance[i].argmin())
        row, column = distance[i].sort().values, distance[:, j].sort().values
        far = float(first[i] @ second[j]) < least
        alone = ratio == 1.0 or bool(row[0] < ratio * row[1] and column[0] < ratio * column[1])
        if int(distance[:, j].argmin()) == i and not far and alone:
            expected.append([i, j])
    pairs, cosine = mutual_nearest(first, second, ratio, least)
    assert pairs.tolist() == expected
    assert expected
    torch.testing.assert_close(cosine, (first[pairs[:, 0]] * second[pairs[:, 1]]).sum(dim=1))


def test_nothing_and_one():
    assert mutual_nearest(described(0, 0), described(5, 1), 0.8)[0].shape == (0, 2)
    assert mutual_nearest(described(5, 0), described(0, 1), 0.8)[0].shape == (0, 2)
    one = described(1, 0)
    assert mutual_nearest(one, one, 0.8)[0].tolist() == [[0, 0]]
