"""A graph of neighbouring elements, weighted by how alike they are, and the smoothest values on it that fit given ones.

Random walks on such a graph segment images from scribbles (Grady, "Random Walks for Image Segmentation", PAMI 2006):
values diffuse between like neighbours and stop at edges. Here the nodes are elements of a field, so that a stroke on
one photo spreads over the part that it touches, for all photos at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import cg
from scipy.spatial import cKDTree

LINK = 1e-5  # least weight of two neighbours, so that no element is cut off
TOLERANCE = 1e-3  # relative residual of the solution
ITERATIONS = 200  # of conjugate gradients at most; some 30 suffice


def element_graph(
    centres: NDArray[np.floating], features: NDArray[np.floating], neighbours: int, contrast: float
) -> csr_array:
    """Symmetric weights [N, N] of each of N elements and its nearest ones.

        w_ij = exp(-(d_ij / 2 h_i)^2 - contrast |f_i - f_j|^2 / D),  h_i the median distance of i's neighbours.

    Args:
        centres: [N, 3]. features: f, [N, D], of comparable scale. neighbours: of an element, at least one.
        contrast: how strongly a difference of features separates neighbours, non-negative.
    """
    count = len(centres)
    number = min(neighbours + 1, count)
    if number < 2:
        return csr_array((count, count))
    distance, near = (table[:, 1:] for table in cKDTree(centres).query(centres, k=number))
    width = np.maximum(2 * np.median(distance, axis=1, keepdims=True), 1e-12)
    unlike = np.stack([((features - features[near[:, k]]) ** 2).mean(axis=1) for k in range(number - 1)], axis=1)
    weights = np.exp(-contrast * unlike - (distance / width) ** 2) + LINK
    rows = np.repeat(np.arange(count), number - 1)
    one_way = coo_array((weights.ravel(), (rows, near.ravel())), shape=(count, count)).tocsr()
    return csr_array((one_way + one_way.T) / 2)


def diffused(
    graph: csr_array,
    given: NDArray[np.floating],
    certainty: NDArray[np.floating],
    prior: NDArray[np.floating],
    prior_weight: float,
) -> NDArray[np.float64]:
    """The values x [N] in [0, 1] that minimise, over the edges of a graph and its nodes,

        sum_ij w_ij (x_i - x_j)^2 / 2 + sum_i certainty_i (x_i - given_i)^2 + prior_weight sum_i (x_i - prior_i)^2.

    Args:
        graph: w, from `element_graph`. given: [N] in [0, 1]. certainty: [N], non-negative, 0 where nothing is given.
        prior: [N] in [0, 1], what an element is taken for far from given ones. prior_weight: positive.
    """
    own = certainty + prior_weight
    system = diags_array(graph.sum(axis=1) + own) - graph
    solution, _ = cg(system, certainty * given + prior_weight * prior, x0=prior, rtol=TOLERANCE, maxiter=ITERATIONS)
    return np.clip(solution, 0.0, 1.0)
