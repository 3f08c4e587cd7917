"""How long does a word take, from the text to a 320 x 240 map in 3D, and what do fewer photos cost?

    python benchmarks/queries.py [--photos 8 16 32] [--words 30] [--threads 2] [--clipseg] [OVERRIDES …]

Opens a finished scene (made first where it is not there; OVERRIDES as on the command line) with `halonerf.Scene` and
asks it words. Prints a table; writes benchmarks/out/queries.json.

first: a scene is opened anew, everything but text is warm (opening asks one other word, on a small map), and a word is
asked. next: every further word, each asked once. Seconds of decode, lift, render and total are those of
`QuerySession.query`, as least, p50 and p95; encode is nothing, since the index has encoded the photos. cpu_s: processor
seconds of a next word, parts in 3D included: on a machine with other work (load, the mean number of processes that
want to run in the last minute) the clock says more than the word takes. Threads that wait sleep, as in `halonerf`.
ap: average precision of the scene's concepts in its photos' views against the scene's masks, at working size, mean over
photos and then concepts; null without masks. Fewer photos are the first of more: the index picks them greedily.
--clipseg: the same with a CLIPSeg of the published size and random weights, photos encoded once a shape.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"
PARTS = ("decode", "lift", "render", "total")
WORDS = (
    "rose window", "portal", "bell tower", "tympanum", "minaret", "flying buttress", "statue", "arch", "balcony",
    "column", "cornice", "cross", "door", "dome", "facade", "gable", "gargoyle", "lancet", "lantern", "mosaic", "nave",
    "niche", "pediment", "pilaster", "pinnacle", "roof", "spire", "stairs", "turret", "window",
)  # fmt: skip
VIEWS = 16  # photos in whose views the maps are scored, evenly spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[16], help="that a word looks at")
    parser.add_argument("--words", type=int, default=len(WORDS), help=f"at most {len(WORDS)}")
    parser.add_argument("--openings", type=int, default=3, help="scenes opened anew for first words")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's; NUMBA_NUM_THREADS says numba's")
    parser.add_argument("--clipseg", action="store_true", help="a CLIPSeg of the published size, too")
    parser.add_argument("overrides", nargs="*", help="of the scene, as on the command line")
    options = parser.parse_intermixed_args()

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it; before PyTorch loads its OpenMP
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    import torch

    from halonerf import Scene

    torch.set_num_threads(options.threads)
    most = max(options.photos)
    overrides = [f"index.max_photos={most}", *options.overrides]
    base = memory_mb()
    scene = Scene.open(*overrides)
    results: dict[str, Any] = {"memory_mb": memory_mb(), "base_memory_mb": base, "open_s": scene.open_s}
    results |= {"elements": scene.field.elements, "photos": len(scene.data)}
    results["rows"] = [measure(scene, number, options) for number in options.photos]
    for row in results["rows"]:
        row["first"] = summary([first_word(overrides, row["photos"], k) for k in range(options.openings)])
        row["ap"] = average_precision(scene, row["photos"])
    if options.clipseg:
        results["clipseg"] = clipseg(scene, options)
    results |= {"peak_memory_mb": peak_mb(), "threads": options.threads, "cores": os.cpu_count()}
    show(results)
    OUT.mkdir(exist_ok=True)
    (OUT / "queries.json").write_text(json.dumps(results, indent=2) + "\n")


def measure(scene: Any, photos: int, options: argparse.Namespace, words: int | None = None) -> dict[str, Any]:
    """Seconds of words that follow others, of a scene that looks at `photos` photos."""
    few = only(scene, photos)
    few.query("any other word")
    seconds, processor, load = [], [], os.getloadavg()[0]
    for word in WORDS[: words or options.words]:
        before = time.process_time()
        answer = few.query(word)
        processor.append(time.process_time() - before)
        seconds.append(answer.seconds)
    height, width = answer.maps[0].probability.shape[:2]
    times = {"next": summary(seconds), "cpu_s": spread(processor), "load": load}
    return {"photos": len(few.photos), "map": f"{width}x{height}", **times}


def first_word(overrides: list[str], photos: int, number: int) -> dict[str, float]:
    """Seconds of the first word of a scene just opened."""
    from halonerf import Scene

    return only(Scene.open(*overrides), photos).query(WORDS[number % len(WORDS)]).seconds


def only(scene: Any, photos: int) -> Any:
    """The same scene, looking at the first `photos` of its photos alone; no word's map is remembered."""
    import copy

    from halonerf.queries.word_maps import WordMapCache

    few = copy.copy(scene)
    few.photos = scene.photos[:photos]
    few.word_maps = WordMapCache(
        scene.word_maps.segmenter, few.photos, scene.word_maps.batch, scene.word_maps.sky, scene.device
    )
    return few


def average_precision(scene: Any, photos: int) -> dict[str, float] | None:
    """Of each of the scene's concepts that has masks, and their mean."""
    import numpy as np

    from halonerf import metrics
    from halonerf.data.collection import Collection
    from halonerf.lifting import render_known
    from halonerf.masks import MaskFolder

    collection = Collection.read(scene.inputs["ingest"].parents[1] / "collect" / collect_key(scene))
    if collection.masks is None:
        return None
    masks, few = MaskFolder.open(collection.masks, complete=True), only(scene, photos)
    concepts = [concept.replace("_", " ") for concept in masks.concepts]
    answer = few.query(concepts)
    found: dict[str, list[float]] = {concept: [] for concept in concepts}
    for view in range(0, len(scene.data), max(1, len(scene.data) // VIEWS)):
        camera, name = scene.data.views[view], scene.data.names[view]
        known = scene.data.valid(view).numpy()
        light = scene.field.appearance(name)
        maps, _ = render_known(scene.field, camera, light, answer.probability, answer.confidence)
        for number, (concept, folder) in enumerate(zip(concepts, masks.concepts, strict=True)):
            if masks.find(folder, name) is None:
                continue
            drawn = masks.read(folder, name).astype(np.uint8)
            truth = scene.data.undistort(view, drawn, nearest=True) > 0
            if (truth & known).any():
                found[concept].append(metrics.average_precision(maps[..., number].numpy(), truth, known))
    means = {concept: statistics.mean(values) for concept, values in found.items() if values}
    return {**means, "mean": statistics.mean(means.values())} if means else None


def collect_key(scene: Any) -> str:
    """The fingerprint of the collection that the scene's ingest read."""
    return json.loads((scene.inputs["ingest"] / "manifest.json").read_text())["inputs"]["collect"]


def clipseg(scene: Any, options: argparse.Namespace) -> dict[str, Any]:
    """The same scene with a CLIPSeg of random weights, at the default number of photos."""
    import copy

    import torch

    from halonerf.queries.word_maps import WordMapCache
    from segmenters import clipseg as make

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        segmenter = make(Path(folder)).eval()
        encodings: dict[tuple[int, ...], dict[str, Any]] = {}
        photos = []
        for photo in scene.photos[:16]:
            image = scene.data.photo(photo.view).permute(2, 0, 1)[None].float() / 255
            shape = tuple(image.shape)
            if shape not in encodings:
                encoded = segmenter.encode(image)
                encodings[shape] = {k: v.half() if v.is_floating_point() else v for k, v in encoded.items()}
            photos.append(dataclasses.replace(photo, encoding=encodings[shape]))
        other = copy.copy(scene)
        other.photos = photos
        other.word_maps = WordMapCache(segmenter, photos, scene.word_maps.batch, None, scene.device)
        return measure(other, len(photos), options, words=3)


def summary(seconds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """p50 and p95 of each part."""
    return {part: spread([entry[part] for entry in seconds]) for part in PARTS}


def spread(values: list[float]) -> dict[str, float]:
    """p50, p95 (the smallest value that 95 % do not exceed), and the least."""
    ranked = sorted(values)
    return {
        "least": ranked[0],
        "p50": statistics.median(ranked),
        "p95": ranked[max(0, -(-95 * len(ranked) // 100) - 1)],
    }


def memory_mb() -> float:
    """Resident memory of this process."""
    return round(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def peak_mb() -> float:
    """The largest that it was."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20), 1)


def show(results: dict[str, Any]) -> None:
    """Print the table: least / p50 / p95 in milliseconds."""
    print(
        f"\n{results['elements']} elements, {results['photos']} photos; {results['threads']} threads of "
        f"{results['cores']} cores; opened in {results['open_s']:.1f} s; "
        f"{results['memory_mb']:.0f} MB, {results['base_memory_mb']:.0f} of them libraries"
    )
    print(
        f"{'looked at':<16} {'word':<6}"
        + "".join(f"{part:>19}" for part in PARTS)
        + f"{'cpu':>19} {'AP':>6} {'load':>5}"
    )
    rows = [(f"{row['photos']} photos", row) for row in results["rows"]]
    rows += [("16, CLIPSeg", results["clipseg"])] if "clipseg" in results else []
    for name, row in rows:
        for kind in ("first", "next"):
            if kind in row:
                cells = "".join(f"{_ms(row[kind][part]):>19}" for part in PARTS)
                cells += f"{_ms(row['cpu_s']) if kind == 'next' else '':>19}"
                score = f"{row['ap']['mean']:.3f}" if kind == "next" and row.get("ap") else ""
                print(f"{name:<16} {kind:<6}{cells} {score:>6} {row['load']:5.1f}")


def _ms(value: dict[str, float]) -> str:
    return " / ".join(f"{1000 * value[name]:.0f}" for name in ("least", "p50", "p95"))


if __name__ == "__main__":
    main()
