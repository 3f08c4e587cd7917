"""Outdoor light of one photo: sun and sky by time of day and weather, or floodlights at night. World frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from halonerf.data.procedural.mesh import Array

Hour = Literal["day", "overcast", "dusk", "night"]
HOUR_SHARES: dict[Hour, float] = {"day": 0.67, "overcast": 0.15, "dusk": 0.10, "night": 0.08}


@dataclass(frozen=True)
class OutdoorLight:
    """Light of a scene.

    sun: [3], towards it. turbidity: haze on the Preetham/Hosek scale. clouds: covered share of the sky.
    """

    hour: Hour
    sun: Array
    turbidity: float
    clouds: float
    floodlights: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...]  # place, aim, power
    colour: tuple[float, float, float]  # of the floodlights


def sample_light(rng: Generator, hour: Hour) -> OutdoorLight:
    """Random light of a time of day; the sun is mostly in front of the landmark, which faces -y."""
    elevation = {
        "day": rng.uniform(18, 62),
        "overcast": rng.uniform(25, 60),
        "dusk": rng.uniform(4.0, 9.0),
        "night": 30.0,
    }[hour]
    azimuth = rng.uniform(-105, 105) if hour != "dusk" else rng.choice([-1, 1]) * rng.uniform(20, 85)
    a, e = np.radians(azimuth), np.radians(elevation)
    sun = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    turbidity = rng.uniform(2.2, 5.5) if hour == "day" else rng.uniform(2.5, 4.0)
    clouds = {"day": max(0.0, rng.uniform(-0.3, 0.6)), "overcast": 1.0, "dusk": rng.uniform(0, 0.6), "night": 0.0}[hour]
    lamps = []
    if hour == "night":
        for x in np.linspace(-26, 26, 7):
            lamps.append(
                (
                    (float(x), -float(rng.uniform(9, 17)), 1.2),
                    (float(x) * 0.75, 4.0, float(rng.uniform(10, 20))),
                    float(rng.uniform(0.6, 1.2)),
                )
            )
        lamps.append(((0.0, -34.0, 14.0), (0.0, 0.0, 9.0), 1.2))
    warmth = rng.uniform(0.35, 0.8)
    return OutdoorLight(
        hour, sun, float(turbidity), float(clouds), tuple(lamps), (1.0, 0.62 + 0.25 * warmth, 0.2 + 0.55 * warmth)
    )


def choose_hours(rng: Generator, count: int) -> list[Hour]:
    """`count` times of day in the shares of `HOUR_SHARES`, rounded, in random order."""
    exact = np.array([share * count for share in HOUR_SHARES.values()])
    number = np.floor(exact).astype(int)
    for k in np.argsort(-(exact - number), kind="stable")[: count - number.sum()]:
        number[k] += 1
    hours: list[Hour] = [hour for hour, n in zip(HOUR_SHARES, number, strict=True) for _ in range(n)]
    return [hours[k] for k in rng.permutation(count)]


def overcast_sky(height: int = 32) -> Array:
    """Radiance of the CIE standard overcast sky, [height, 2 height, 3]: zenith of 1 in the top row, dim ground."""
    sine = np.cos((np.arange(height) + 0.5) / height * np.pi)
    value = np.where(sine > 0, (1 + 2 * sine) / 3, 0.12)
    return np.repeat((value[:, None] * np.array([0.96, 0.99, 1.05]))[:, None], 2 * height, axis=1)
