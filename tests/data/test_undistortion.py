"""Undistortion: positions against COLMAP's projection, pixels against known images."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest

from halonerf.data.undistortion import pinhole_points, source_map, undistort, working_size

CAMERAS = {
    "SIMPLE_PINHOLE": [300, 160, 120],
    "PINHOLE": [300, 310, 150, 118],
    "SIMPLE_RADIAL": [300, 160, 120, -0.15],
    "RADIAL": [300, 160, 120, 0.1, -0.05],
    "OPENCV": [300, 305, 158, 121, -0.2, 0.05, 0.001, -0.002],
    "FULL_OPENCV": [300, 305, 158, 121, -0.2, 0.05, 0.001, -0.002, 0.01, 0.02, -0.01, 0.005],
    "OPENCV_FISHEYE": [200, 200, 160, 120, 0.01, -0.02, 0.003, 0.0],
    "SIMPLE_RADIAL_FISHEYE": [200, 160, 120, 0.02],
    "FOV": [250, 250, 160, 120, 0.6],
}


def camera(name: str, width: int = 320, height: int = 240) -> pycolmap.Camera:
    return pycolmap.Camera(model=name, width=width, height=height, params=CAMERAS[name])


@pytest.mark.parametrize("name", CAMERAS)
def test_map_and_points_are_inverse(name: str):
    lens = camera(name)
    source, inside = source_map(lens, 320, 240)
    x, y = np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5)
    back = pinhole_points(lens, source[inside])
    # a hundredth of a pixel: COLMAP inverts distortion by iteration
    np.testing.assert_allclose(back, np.stack([x[inside], y[inside]], axis=1), atol=0.01)
    assert inside.mean() > 0.7


@pytest.mark.parametrize("name", CAMERAS)
def test_a_world_point_is_found_at_its_pinhole_pixel(name: str):
    """A bright dot photographed through the lens lands where the pinhole camera would show it."""
    lens = camera(name)
    ray = np.array([0.21, -0.13, 1.0])
    at = np.asarray(lens.img_from_cam(ray[None]))[0]
    x, y = np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5)
    photo = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 3.0**2))
    image, inside = undistort(lens, photo.astype(np.float32), 320, 240)
    weight = image / image.sum()
    found = np.array([(weight * x).sum(), (weight * y).sum()])
    focal = np.array([lens.focal_length_x, lens.focal_length_y])
    expected = ray[:2] * focal + (lens.principal_point_x, lens.principal_point_y)
    np.testing.assert_allclose(found, expected, atol=0.1)  # the lens shears the dot a little
    assert inside[int(expected[1]), int(expected[0])]


def test_a_pinhole_photo_is_only_shrunk():
    photo = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    image, inside = undistort(camera("SIMPLE_PINHOLE"), photo, 160, 120)
    mean = photo.reshape(120, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(image - mean).max() <= 1.0  # rounding
    assert inside.all()
    same, _ = undistort(camera("SIMPLE_PINHOLE"), photo, 320, 240)
    np.testing.assert_array_equal(same, photo)


def test_pixels_that_the_photo_does_not_cover_are_marked():
    image, inside = undistort(camera("SIMPLE_RADIAL"), np.full((240, 320), 200, np.uint8), 320, 240)
    assert inside.all()  # barrel distortion: the lens sees more than the pinhole
    lens = pycolmap.Camera(model="SIMPLE_RADIAL", width=320, height=240, params=[300, 160, 120, 0.3])
    image, inside = undistort(lens, np.full((240, 320), 200, np.uint8), 320, 240)
    assert not inside[0, 0]
    assert image[0, 0] == 0
    assert inside[120, 160]
    assert (image[inside] == 200).mean() > 0.99
    assert 0.5 < inside.mean() < 0.95


def test_a_folding_lens_polynomial_does_not_repeat_the_photo():
    lens = pycolmap.Camera(model="SIMPLE_RADIAL", width=320, height=240, params=[120, 160, 120, -0.4])
    _, inside = source_map(lens, 320, 240)
    radius = np.hypot(*((np.stack(np.meshgrid(np.arange(320), np.arange(240)), -1) + 0.5 - (160, 120)) / 120).T).T
    turning = 1 / np.sqrt(3 * 0.4)  # d/dr r(1 - 0.4 r^2) = 0
    assert not inside[radius > turning * 1.02].any()
    assert inside[radius < turning * 0.95].all()


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_masks_of_any_resolution_stay_masks(factor: float):
    lens = camera("SIMPLE_RADIAL")
    width, height = int(320 * factor), int(240 * factor)
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, : width // 2] = 255
    image, inside = undistort(lens, mask, 160, 120, nearest=True)
    assert set(np.unique(image)) == {0, 255}
    assert image[10:55, 10:75].min() == 255
    assert image[65:].max() == 0
    assert image[:, 85:].max() == 0
    assert inside.shape == (120, 160)


def test_an_image_of_another_aspect_is_refused():
    with pytest.raises(ValueError, match="aspect"):
        undistort(camera("PINHOLE"), np.zeros((320, 240), np.uint8), 160, 120)


def test_float_maps_with_many_channels_are_undistorted():
    maps = np.random.default_rng(0).random((240, 320, 5)).astype(np.float32)
    image, _ = undistort(camera("SIMPLE_PINHOLE"), maps, 160, 120)
    np.testing.assert_allclose(image, maps.reshape(120, 2, 160, 2, 5).mean(axis=(1, 3)), atol=1e-5)


@pytest.mark.parametrize(
    ("photo", "size", "expected"),
    [((4000, 3000), 512, (512, 384)), ((300, 200), 512, (300, 200)), ((1000, 3), 100, (100, 1))],
)
def test_working_size_never_enlarges(photo: tuple[int, int], size: int, expected: tuple[int, int]):
    assert working_size(*photo, size) == expected


@pytest.mark.parametrize(("source", "target"), [(1025, 1024), (520, 512), (640, 512), (400, 320), (341, 170)])
@pytest.mark.parametrize("name", ["SIMPLE_PINHOLE", "SIMPLE_RADIAL"])
def test_working_images_are_not_displaced(name: str, source: int, target: int):
    """Waves of 16 px of the result, across and down: less than 0.05 px of shift wherever the photo covers the view."""
    params = [source, source / 2, source / 2] + [1e-9] * (name == "SIMPLE_RADIAL")  # as good as no distortion
    lens = pycolmap.Camera(model=name, width=source, height=source, params=params)
    phase = 2 * np.pi * (np.arange(source) + 0.5) / (16 * source / target)
    wanted = np.exp(2j * np.pi * (np.arange(target) + 0.5) / 16)
    for axis in (0, 1):
        waves = [
            np.broadcast_to(wave[:, None] if axis == 0 else wave, (source, source))
            for wave in (np.cos(phase), np.sin(phase))
        ]
        images = [
            undistort(lens, np.rint(127 + 120 * wave).astype(np.uint8)[..., None].repeat(3, 2), target, target)[0]
            for wave in waves
        ]
        real, imaginary = (image[..., 0].astype(float) - 127 for image in images)
        shift = np.angle((real + 1j * imaginary) / (wanted[:, None] if axis == 0 else wanted)) * 16 / (2 * np.pi)
        assert np.sqrt((shift**2).mean()) < 0.02  # 8 bits of 120 levels: 0.01
        assert np.abs(shift).max() < 0.05
