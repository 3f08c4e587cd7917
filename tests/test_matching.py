"""Mutual nearest neighbours, against the plain definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from halonerf import matching
from halonerf.matching import mutual_nearest


def random_descriptors(count: int, seed: int, length: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, length, generator=generator), dim=1)


def pairs_by_definition(
    first: torch.Tensor, second: torch.Tensor, ratio: float, min_cosine: float, angular: bool
) -> list[list[int]]:
    """Mutual nearest neighbours one at a time, in double precision."""
    cosine = np.clip(first.double().numpy() @ second.double().numpy().T, -1, 1)
    distance = np.arccos(cosine) if angular else np.sqrt(2 - 2 * cosine)
    found = []
    for i in range(len(first)):
        j = int(distance[i].argmin())
        others = np.concatenate([np.delete(distance[i], j), np.delete(distance[:, j], i)])
        stands_out = ratio == 1.0 or distance[i, j] < ratio * others.min()
        if distance[:, j].argmin() == i and cosine[i, j] >= min_cosine and stands_out:
            found.append([i, j])
    return found


@pytest.mark.parametrize(("ratio", "min_cosine"), [(1.0, -1.0), (0.8, -1.0), (1.0, 0.7), (0.9, 0.6)])
@pytest.mark.parametrize("angular", [False, True])
@pytest.mark.parametrize("rows", [7, 2048])
def test_matches_the_definition(
    ratio: float, min_cosine: float, angular: bool, rows: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(matching, "BLOCK_ROWS", rows)
    first, second = random_descriptors(40, 0), random_descriptors(30, 1)
    expected = pairs_by_definition(first, second, ratio, min_cosine, angular)
    pairs, cosine = mutual_nearest(first, second, ratio, min_cosine, angular)
    assert pairs.tolist() == expected
    assert expected
    torch.testing.assert_close(cosine, (first[pairs[:, 0]] * second[pairs[:, 1]]).sum(dim=1))


@pytest.mark.parametrize("noise", [0.02, 0.06, 0.2])
def test_noisy_copies_are_found_among_others(noise: float):
    random = np.random.default_rng(0)
    first = random.random((90, 128)).astype(np.float32)
    second = np.concatenate([first[random.permutation(90)[:60]], random.random((40, 128), dtype=np.float32)])
    second += noise * random.standard_normal(second.shape).astype(np.float32)
    both = [torch.nn.functional.normalize(torch.from_numpy(values), dim=1) for values in (first, second)]
    expected = pairs_by_definition(*both, 0.8, math.cos(0.7), angular=True)
    assert mutual_nearest(*both, 0.8, math.cos(0.7), angular=True)[0].tolist() == expected
    if noise == 0.02:
        assert len(expected) == 60


def test_equal_descriptors_match_once_and_fail_the_ratio_test():
    first = random_descriptors(1, 0).repeat(3, 1)
    assert mutual_nearest(first, first[:1])[0].tolist() == [[0, 0]]
    assert mutual_nearest(first, first[:1], 0.99)[0].shape == (0, 2)


def test_empty_and_single_sets():
    assert mutual_nearest(random_descriptors(0, 0), random_descriptors(5, 1), 0.8)[0].shape == (0, 2)
    assert mutual_nearest(random_descriptors(5, 0), random_descriptors(0, 1), 0.8)[0].shape == (0, 2)
    one = random_descriptors(1, 0)
    assert mutual_nearest(one, one, 0.8)[0].tolist() == [[0, 0]]
