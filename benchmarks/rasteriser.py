"""How fast is the rasteriser, by Gaussians, channels, picture and threads?

    python benchmarks/rasteriser.py [--quick]

Prints a table and writes benchmarks/out/rasteriser.json. Forward and backward are medians over repetitions of whole
calls, projection and sorting included; Mpixel/s counts a picture once forward and backward.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numba
import torch

from halonerf.splatting.rasterise import lift, rasterise
from halonerf.types import View

OUT = Path(__file__).parent / "out" / "rasteriser.json"
CASES = [  # Gaussians, channels, width, height
    (4_000, 3, 256, 192),
    (16_000, 3, 256, 192),
    (64_000, 3, 256, 192),
    (64_000, 3, 512, 384),
    (64_000, 19, 256, 192),
]


def scene(number: int, channels: int) -> list[torch.Tensor]:
    """A cloud that fills the view some ten layers deep, whatever the number of Gaussians."""
    random = torch.Generator().manual_seed(0)
    means = torch.randn(number, 3, generator=random) * torch.tensor([0.5, 0.4, 0.3])
    scales = 2.0 / number**0.5 * torch.exp(0.4 * torch.randn(number, 3, generator=random))
    rotations = torch.randn(number, 4, generator=random)
    opacities = torch.rand(number, generator=random)
    return [means, scales, rotations, opacities, torch.rand(number, channels, generator=random)]


def measure(number: int, channels: int, width: int, height: int, repetitions: int) -> dict[str, float]:
    """Milliseconds of forward, backward and lift."""
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.0
    view = View(width, height, float(width), float(width), width / 2, height / 2, pose)
    values = [t.requires_grad_() for t in scene(number, channels)]
    offsets = torch.zeros(number, 2, requires_grad=True)
    maps = torch.rand(height, width, channels)
    times: dict[str, list[float]] = {"forward": [], "backward": [], "lift": []}
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        shown = rasterise(*values, view, offsets)
        middle = time.perf_counter()
        torch.autograd.grad(shown.features, [*values, offsets], torch.ones_like(shown.features))
        end = time.perf_counter()
        lift(*values[:4], maps, view)
        times["forward"].append(middle - start)
        times["backward"].append(end - middle)
        times["lift"].append(time.perf_counter() - end)
    return {name: 1e3 * statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two repetitions of the smallest cases")
    quick = parser.parse_args().quick
    rows = []
    print(" threads  Gaussians  channels     picture   forward ms  backward ms   lift ms   Mpixel/s")
    for threads in sorted({1, numba.config.NUMBA_NUM_THREADS}):
        numba.set_num_threads(threads)
        for number, channels, width, height in CASES[: 2 if quick else None]:
            ms = measure(number, channels, width, height, repetitions=2 if quick else 15)
            speed = width * height / 1e3 / (ms["forward"] + ms["backward"])
            case = {"threads": threads, "gaussians": number, "channels": channels, "width": width, "height": height}
            rows.append({**case, **{f"{name}_ms": round(value, 2) for name, value in ms.items()}, "mpixel_s": speed})
            print(
                f"{threads:8d} {number:10d} {channels:9d} {width:6d}x{height:<5d}"
                f"{ms['forward']:12.1f} {ms['backward']:12.1f} {ms['lift']:9.1f} {speed:10.2f}"
            )
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
