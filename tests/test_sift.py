"""SIFT by COLMAP: the same features as its extractor for arrays gives, in a fixed order."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest
from scipy.ndimage import gaussian_filter

from halonerf.colmap_log import quiet_colmap
from halonerf.sift import extract_sift


def texture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 1.5)
    return np.rint(255 * (noise - noise.min()) / np.ptp(noise)).astype(np.uint8)


@pytest.mark.parametrize("max_features", [8192, 100])
def test_features_are_those_of_colmaps_extractor_largest_first(max_features: int):
    images = [texture(0), texture(1, 100, 140)]
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads = False, 1
    options.sift.max_num_features, options.sift.peak_threshold = max_features, 0.004
    with quiet_colmap():
        extractor = pycolmap.FeatureExtractor.create(options, pycolmap.Device.cpu)
    for image, found in zip(images, extract_sift(images, max_features, 0.004, threads=2), strict=True):
        points, descriptors = extractor.extract_from_uint8_array(image)
        place = np.array([(p.x, p.y, p.compute_scale()) for p in points], np.float32)
        order = np.argsort(-place[:, 2], kind="stable")[:max_features]
        assert len(found.points) == len(order) > 20
        np.testing.assert_array_equal(found.points, place[order, :2])
        np.testing.assert_allclose(found.scale, place[order, 2], rtol=1e-6)
        np.testing.assert_array_equal(found.descriptors, np.asarray(descriptors.data, np.uint8)[order])


def test_threads_do_not_change_the_features():
    images = [texture(seed) for seed in range(3)]
    one, two = (extract_sift(images, 8192, 0.004, threads) for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.points, b.points)
        np.testing.assert_array_equal(a.descriptors, b.descriptors)


def test_no_images_and_a_uniform_image():
    assert extract_sift([], 100, 0.004, threads=1) == []
    (found,) = extract_sift([np.full((50, 60), 128, np.uint8)], 100, 0.004, threads=1)
    assert (found.points.shape, found.scale.shape, found.descriptors.shape) == ((0, 2), (0,), (0, 128))


def test_the_log_level_is_restored_after_nested_use():
    before = pycolmap.logging.minloglevel
    with quiet_colmap(), quiet_colmap():
        assert pycolmap.logging.minloglevel == pycolmap.logging.ERROR.value
    assert pycolmap.logging.minloglevel == before
