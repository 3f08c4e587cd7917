"""Label retrieval metrics: known values, and agreement with scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from halonerf.errors import BadInput
from halonerf.metrics import label_retrieval


def test_known_values():
    similarity = np.array([[0.9, 0.1, 0.0], [0.8, 0.7, 0.1], [0.2, 0.1, 0.3], [0.5, 0.4, 0.6]])
    shows = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], bool)
    found = label_retrieval(similarity, shows, depth=2)
    assert found["accuracy"] == 0.5
    assert found["accuracy_per_label"] == pytest.approx((0.5 + 0.0 + 1.0) / 3)
    assert found["recall_at_2"] == 1.0
    assert found["map"] == pytest.approx(((1 / 1 + 2 / 3) / 2 + 1 / 1 + 1 / 2) / 3)
    assert found["chance"] == pytest.approx(1 / 3)


def test_agrees_with_scikit_learn():
    random = np.random.default_rng(0)
    label = random.integers(0, 6, 80)
    shows = label[:, None] == np.arange(6)
    similarity = random.random((80, 6)) + 0.3 * shows
    found = label_retrieval(similarity, shows, depth=3)
    assert found["recall_at_3"] == pytest.approx(top_k_accuracy_score(label, similarity, k=3))
    assert found["map"] == pytest.approx(average_precision_score(shows, similarity, average="macro"))


def test_photos_and_labels_without_truth_are_left_out():
    similarity = np.random.default_rng(0).random((6, 4))
    shows = np.zeros((6, 4), bool)
    shows[:4, 0] = shows[1, 2] = True
    kept = label_retrieval(similarity[:4][:, [0, 2]], shows[:4][:, [0, 2]])
    assert label_retrieval(similarity, shows) == kept


def test_nothing_to_score_is_not_zero():
    assert all(math.isnan(value) for value in label_retrieval(np.zeros((3, 2)), np.zeros((3, 2), bool)).values())
    with pytest.raises(BadInput, match="of one shape"):
        label_retrieval(np.zeros((3, 2)), np.zeros((2, 3), bool))
