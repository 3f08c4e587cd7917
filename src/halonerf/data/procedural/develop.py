"""Development of render passes into photos: clouds, haze, exposure, white balance, vignetting, grain, tone curve."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from halonerf.data.procedural.camera import Camera
from halonerf.data.procedural.light import OutdoorLight
from halonerf.data.procedural.mesh import Array
from halonerf.data.procedural.renderer import RenderPasses
from halonerf.data.procedural.textures import noise
from halonerf.visualization.pictures import luminance


def develop_photo(passes: RenderPasses, camera: Camera, light: OutdoorLight, rng: Generator) -> NDArray[np.uint8]:
    """Photo, sRGB, uint8 [H, W, 3], with exposure, white balance, vignetting and grain drawn from `rng`."""
    sky_light = smooth(passes.irradiance, passes.depth)
    ground = passes.coverage > 0.5
    even = 0.16 * (passes.sun[ground].mean(0) * 1.6 + sky_light[ground].mean(0)) if ground.any() else np.zeros(3)
    scene = passes.sun + passes.colour * (sky_light + even)
    backdrop = cloudy(passes.backdrop, camera, light, rng)
    picture = scene + (1 - passes.coverage[..., None]) * backdrop
    haze = 1 - np.exp(-passes.depth / rng.uniform(900, 4000))
    picture += (haze * passes.coverage)[..., None] * (backdrop.mean((0, 1)) * 0.8 - picture)
    return _print(picture, ground, light, rng)


def smooth(irradiance: Array, depth: Array) -> Array:
    """Irradiance [H, W, 3] smoothed along surfaces by three passes of an edge-stopping 5 x 5 a-trous filter.

    (Dammertz et al., "Edge-avoiding a-trous wavelet transform", HPG 2010, with depth alone as the stop.)
    """
    kernel = np.array([1, 4, 6, 4, 1], np.float32) / 16
    near = np.where(depth > 0, depth, 1e4).astype(np.float32)
    current = irradiance.astype(np.float32)
    for step in (1, 2, 4):
        pad = 2 * step
        value = np.pad(current, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        beside = np.pad(near, pad, mode="edge")
        total, weight = np.zeros_like(current), np.zeros_like(near)
        for i in range(5):
            for j in range(5):
                rows = slice(i * step, i * step + depth.shape[0])
                columns = slice(j * step, j * step + depth.shape[1])
                w = kernel[i] * kernel[j] * np.exp(-np.abs(beside[rows, columns] - near) / (0.006 * near * step))
                total += w[..., None] * value[rows, columns]
                weight += w
        current = total / weight[..., None]
    return current.astype(np.float64)


def cloudy(backdrop: Array, camera: Camera, light: OutdoorLight, rng: Generator) -> Array:
    """The sky's radiance [H, W, 3] with random clouds, a flat layer in perspective."""
    layer = noise(rng, 256, 5, 5)
    drift = rng.uniform(0, 256, 2)
    if light.clouds <= 0:
        return backdrop
    rays = camera.rays()
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    reach = 45.0 / np.maximum(rays[..., 2] + 0.12, 0.05)
    place = [rays[..., 0] * reach + drift[0], rays[..., 1] * reach + drift[1]]
    cover = map_coordinates(layer, place, order=1, mode="grid-wrap")
    level = backdrop.mean() * (0.9 if light.hour == "overcast" else 1.9)
    if light.hour == "overcast":
        return backdrop * (1 + 0.16 * np.clip(cover, -2, 2))[..., None]
    tint = np.array([1.0, 0.97, 0.94]) if light.hour == "day" else np.array([1.25, 0.95, 0.75])
    share = np.clip((cover - (1.2 - 2.4 * light.clouds)) * 0.8, 0, 0.9)[..., None]
    return backdrop * (1 - share) + share * level * tint * (1 - 0.15 * np.clip(cover, 0, 2))[..., None]


def _print(picture: Array, ground: NDArray[np.bool_], light: OutdoorLight, rng: Generator) -> NDArray[np.uint8]:
    lit = picture[ground] if ground.sum() > 100 else picture.reshape(-1, 3)
    cast = lit.mean(0) / max(float(luminance(lit.mean(0))), 1e-9)
    correction = rng.uniform(0.55, 0.9) if light.hour != "dusk" else rng.uniform(0.2, 0.5)
    warmth, tint = rng.normal(0, 0.05), rng.normal(0, 0.02)
    picture = picture / cast**correction * np.exp([warmth, tint, -warmth])
    bright = np.percentile(luminance(lit), 95 if light.hour == "night" else 80)
    key = {"day": 0.42, "overcast": 0.42, "dusk": 0.34, "night": 0.6}[light.hour]
    picture = picture * key / max(bright, 1e-9) * 2 ** rng.normal(0.0, 0.3)
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5) / np.hypot(0.5, 0.5)
    picture = picture * (1 - rng.uniform(0, 0.3) * radius**2)[..., None]
    noisiness = rng.uniform(0.002, 0.008) * (2.2 if light.hour == "night" else 1.0)
    picture = picture + rng.normal(0, 1, picture.shape) * noisiness * np.sqrt(np.maximum(picture, 0) + 0.02)
    white = 2.2
    toned = np.maximum(picture, 0) * (1 + np.maximum(picture, 0) / white**2) / (1 + 0.55 * np.maximum(picture, 0))
    toned = np.clip(toned, 0, 1)
    encoded = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * toned ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)
