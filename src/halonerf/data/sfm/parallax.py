"""Parallax of a collection: what turning the camera does not explain of how matched points move between photos.

Without parallax there is no depth. Photos taken by turning on the spot, and copies of one photo, match as well as any,
and a mapper may join them by a handful of chance points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pycolmap

from halonerf.data.sfm.verification import VerifiedPair
from halonerf.sift import SiftFeatures

FOCAL_LENGTHS = np.geomspace(0.4, 6.0, 12)  # tried, long sides: 102 to 10 degrees seen
TRIM = 0.75  # share of the matches, those that fit best, to which the turn is fitted again
MIN_RESIDUAL = 2e-3  # of the long side; turning on the spot leaves 0.0006, the closest of real pairs 0.0025, most 0.01
MAX_WITHOUT = 0.8  # share of pairs without parallax from which on a collection is suspect
MIN_TRIANGULATED = 0.1  # share of matched features; 0.38 of real photos, 0.003 to 0.008 of those from one spot
MAX_PAIRS, MAX_MATCHES = 200, 400  # looked at
COPY_SHIFT = 0.004  # of the long side: copies of one photo have their points in the same places, up to rounding


class PairParallax(NamedTuple):
    """Of a pair's matches, medians: what the best turn of the camera leaves, and the shift between the photos.

    residual, shift: of the long side. angle: the residual in degrees, under the focal length that fits best.
    """

    residual: float
    angle: float
    shift: float


def pair_parallax(
    features: tuple[SiftFeatures, SiftFeatures],
    cameras: tuple[pycolmap.Camera, pycolmap.Camera],
    inliers: np.ndarray,
) -> PairParallax:
    """Parallax of two photos of one, unknown focal length.

    The rotation between the rays of the matches is fitted (Kabsch 1976) for each of `FOCAL_LENGTHS`, and again to the
    matches that fit best.

    Args:
        features, cameras: of either photo, in the same pixels.
        inliers: [M, 2], feature indices in either photo.
    """
    first, second = (
        (f.points[inliers[:, side]] - np.array([c.width, c.height]) / 2) / max(c.width, c.height)
        for side, (f, c) in enumerate(zip(features, cameras, strict=True))
    )
    shift = float(np.median(np.linalg.norm(first - second, axis=1)))
    best = (np.inf, np.inf)
    for focal in FOCAL_LENGTHS:
        a, b = _unit(first, focal), _unit(second, focal)
        distance = _turned(a, b, np.ones(len(a), bool))
        kept = distance <= np.quantile(distance, TRIM)
        angle = float(np.median(_turned(a, b, kept)))
        best = min(best, (angle * focal, angle))
    return PairParallax(best[0], float(np.degrees(best[1])), shift)


def _unit(points: np.ndarray, focal: float) -> np.ndarray:
    rays = np.column_stack([points / focal, np.ones(len(points))])
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _turned(first: np.ndarray, second: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Angles [M], radians, between unit vectors [M, 3] after the rotation that fits those in `fitted` best."""
    u, _, vt = np.linalg.svd(second[fitted].T @ first[fitted])
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return 2 * np.arcsin(np.clip(np.linalg.norm(first @ rotation.T - second, axis=1) / 2, 0, 1))


class CollectionParallax(NamedTuple):
    """Parallax of the pairs of a collection that have enough matches.

    pairs: that were looked at. without, copies: those among them without parallax, and those of equal photos.
    residual, angle: medians over the pairs, see `PairParallax`.
    """

    pairs: int
    without: int
    copies: int
    residual: float
    angle: float

    @property
    def lacking(self) -> bool:
        """Whether so many pairs are without parallax that a model needs other evidence."""
        return self.pairs > 0 and self.without >= MAX_WITHOUT * self.pairs

    def explain(self) -> str:
        """What is wrong with the photos, and what to do, for an error."""
        if 2 * self.copies > self.pairs:
            cause = f"{self.copies} of {self.pairs} pairs show the same picture: they are copies of one photo"
        else:
            cause = (
                f"in {self.without} of {self.pairs} pairs turning the camera explains the whole difference: the photos "
                "were taken from one spot"
            )
        return (
            f"{cause}. The median triangulation angle is at most {self.angle:.2f} degrees, {1000 * self.residual:.1f} "
            f"px of photos of 1000 px; depth needs more than {1000 * MIN_RESIDUAL:g} px, and 1.5 degrees of it.\n"
            "Take or add photos from places some steps apart, a tenth of the distance to the building or more"
        )


def collection_parallax(
    features: Sequence[SiftFeatures], cameras: Sequence[pycolmap.Camera], pairs: Sequence[VerifiedPair], matches: int
) -> CollectionParallax:
    """Parallax over at most `MAX_PAIRS` pairs, evenly spaced from most to fewest matches.

    Args:
        pairs: of indices into `features` and `cameras`.
        matches: that a pair must have to be looked at; where none has them, all are.
    """
    ranked = sorted((p for p in pairs if len(p.inliers) >= matches), key=lambda p: -len(p.inliers)) or list(pairs)
    chosen = ranked[:: -(-len(ranked) // MAX_PAIRS)] if ranked else []
    found = [
        pair_parallax(
            (features[p.first], features[p.second]),
            (cameras[p.first], cameras[p.second]),
            p.inliers[:: -(-len(p.inliers) // MAX_MATCHES)],
        )
        for p in chosen
    ]
    return CollectionParallax(
        pairs=len(found),
        without=sum(bool(p.residual < MIN_RESIDUAL) for p in found),
        copies=sum(bool(p.residual < MIN_RESIDUAL and p.shift < COPY_SHIFT) for p in found),
        residual=float(np.median([p.residual for p in found])) if found else 0.0,
        angle=float(np.median([p.angle for p in found])) if found else 0.0,
    )


def triangulated_share(model: pycolmap.Reconstruction, ids: Mapping[int, int], pairs: Sequence[VerifiedPair]) -> float:
    """Share in [0, 1] of the matched features of registered photos that observe a point of the model.

    Args:
        ids: index of a photo in `pairs` to its image id in the model.
    """
    matched: dict[int, set[int]] = {index: set() for index in ids}
    for pair in pairs:
        if pair.first in matched and pair.second in matched:
            matched[pair.first].update(pair.inliers[:, 0].tolist())
            matched[pair.second].update(pair.inliers[:, 1].tolist())
    total = sum(map(len, matched.values()))
    seen = sum(model.image(image_id).num_points3D for image_id in ids.values())
    return seen / total if total else 0.0
