"""The one rule from which probability on something is found: scale, weights, extremes, and guesses."""

from __future__ import annotations

import numpy as np
import pytest

from halonerf.thresholds import HALF, Decision, decide, otsu


def two_groups(low: float, high: float, share: float = 0.1, count: int = 1000) -> np.ndarray:
    """Probabilities around `low`, and a `share` of them around `high`."""
    random = np.random.default_rng(0)
    values = np.full(count, low)
    values[: round(share * count)] = high
    return values + random.uniform(-0.1, 0.1, count) * min(low, high)


def test_the_threshold_lies_between_two_groups():
    found = decide(two_groups(0.1, 0.4), np.ones(1000))
    assert 0.11 < found.threshold < 0.36
    assert found.highest == pytest.approx(0.4, abs=0.04)


def test_it_equals_a_search_over_all_thresholds():
    random = np.random.default_rng(1)
    values, weights = random.beta(0.4, 2.0, 300), random.uniform(0, 3, 300)

    def between(threshold: float) -> float:
        above = values >= threshold
        one, two = weights[~above].sum(), weights[above].sum()
        if one == 0 or two == 0:
            return 0.0
        means = [np.average(values[part], weights=weights[part]) for part in (~above, above)]
        return float(one * two * (means[0] - means[1]) ** 2)

    best = max(map(between, np.linspace(0.001, 0.999, 5000)))
    assert between(otsu(values, weights)) >= best * (1 - 1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.01])
def test_it_does_not_depend_on_the_scale(scale: float):
    values, weights = two_groups(0.05, 0.45), np.linspace(0.5, 2, 1000)
    assert decide(scale * values, weights).threshold == pytest.approx(scale * decide(values, weights).threshold)


def test_elements_count_by_their_weight():
    values = np.array([0.05, 0.2, 0.45])
    assert decide(values, [1, 100, 1]).threshold == pytest.approx(0.325)
    assert decide(values, [100, 50, 1]).threshold == pytest.approx(0.125)
    values = np.concatenate([np.full(10, 0.05), np.full(10, 0.2), np.full(10, 0.9)])
    nothing = np.concatenate([np.ones(20), np.zeros(10)])
    assert decide(values, nothing).highest == 0.2, "what is unknown is nowhere"


def test_what_is_more_probable_than_not_is_found():
    assert decide(two_groups(0.6, 0.95), np.ones(1000)).threshold == HALF
    assert decide([0.0, 1.0], [1.0, 1.0]) == Decision(HALF, 1.0)


@pytest.mark.parametrize(("values", "weights"), [([], []), ([0.3, 0.3], [1, 1]), ([0.1, 0.9], [0, 0]), ([np.nan], [1])])
def test_without_two_values_it_is_one_half(values: list[float], weights: list[float]):
    assert decide(values, weights).threshold == HALF


def test_a_guess_is_nowhere_more_probable_than_not():
    assert decide([0.0, 0.2, 0.4], np.ones(3)).guess
    assert not decide([0.0, 0.2, 0.5], np.ones(3)).guess
    assert not decide([0.0, 0.0], np.ones(2)).guess, "nothing is no guess"
    assert not Decision(0.3, 0.4, given=True).guess, "whoever sets a threshold knows what is shown"
