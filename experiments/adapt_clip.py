"""What do repeated labels in a batch cost, and what does it help to know that they are repeated?

    python experiments/adapt_clip.py [--seeds 6] [--epochs 16]

The stage `adapt_clip` teaches a tiny CLIP, from nothing, made-up landmarks: eight parts, each a hue under the light
and the noise of its landmark; rare and frequent ones; labels as metadata give them: half of them plain, a fifth
plurals, the rest with a word before them ("west portal"), a tenth wrong. Four landmarks are learnt from, two others
score against the plain labels. A batch of 64 holds each part some eight times. Only the loss differs between rows.
Prints a table; writes experiments/out/adapt_clip.json. Some minutes of one core.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import transformers
from PIL import Image

from halonerf.data.collection import write_collection
from halonerf.data.labels.table import write_labels
from halonerf.stages.adapt_clip.stage import AdaptClip
from halonerf.types import ImageRecord, PseudoLabel

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "out"
PARTS = ("portal", "dome", "tower", "window", "nave", "altar", "minaret", "crypt")
BEFORE = ("west", "great", "old", "main")
LEARNT, SCORED = ("a", "b", "c", "d"), ("e", "f")
PHOTOS = 64  # a landmark
LOSSES: dict[str, dict[str, Any]] = {
    "paper: photo to text, all others negative": {"repeated_labels": "negative", "symmetric": False},
    "both ways, all others negative": {"repeated_labels": "negative", "symmetric": True},
    "both ways, equal and related labels left out": {"repeated_labels": "ignore", "symmetric": True},
    "photo to text, equal labels positive": {"repeated_labels": "positive", "symmetric": False},
    "both ways, equal labels positive (default)": {"repeated_labels": "positive", "symmetric": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="of landmarks, weights and order")
    parser.add_argument("--epochs", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in LOSSES}
    started = time.process_time()
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as place:
            write_data(Path(place), seed)
            for name, loss in LOSSES.items():
                results[name].append(learn(Path(place), seed, options.epochs, loss))
                print(f"seed {seed}, {name}: mAP {results[name][-1]['map']:.3f}", file=sys.stderr, flush=True)
    print(f"\n{'loss':<44} {'mAP':>15} {'accuracy':>15}   after {options.epochs} epochs, {options.seeds} seeds")
    for name, runs in results.items():
        cells = [[run[figure] for run in runs] for figure in ("map", "accuracy")]
        print(f"{name:<44}", *(f"{np.mean(c):>8.3f} ± {np.std(c, ddof=min(1, len(c) - 1)):.3f}" for c in cells))
    before = np.mean([run["before"] for run in results[name]])
    print(f"before: {before:.3f} mAP; {time.process_time() - started:.0f} CPU s")
    OUT.mkdir(exist_ok=True)
    (OUT / "adapt_clip.json").write_text(json.dumps(results, indent=2))


def write_data(root: Path, seed: int) -> None:
    """A tiny CLIP and the landmarks' folders."""
    sys.path.insert(0, str(ROOT / "tests"))
    from helpers.tiny_clip import write_tiny

    write_tiny("clip", root / "clip", deviation=None)
    for index, landmark in enumerate((*LEARNT, *SCORED)):
        random = np.random.default_rng((seed, index))
        often = 0.75 ** np.arange(len(PARTS))
        shown = random.choice(len(PARTS), PHOTOS, p=often / often.sum())
        light = random.uniform(0.6, 1.1, 3)
        for stage in ("photos", "collect", "distill"):
            (root / landmark / stage).mkdir(parents=True)
        names, labels = [f"{number:03d}.png" for number in range(PHOTOS)], []
        for name, part in zip(names, shown, strict=True):
            hue = (part + random.normal(0, 0.12)) / len(PARTS)
            colour = np.array(colorsys.hsv_to_rgb(hue % 1, 0.6, 0.8)) * 255 * light
            pixels = np.clip(colour + random.normal(0, 50, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / landmark / "photos" / name)
            labels.append(PARTS[part] if landmark in SCORED else said(int(part), random))
        records = [ImageRecord(name, landmark=landmark) for name in names]
        write_collection(root / landmark / "collect", landmark, root / landmark / "photos", records)
        answers = [PseudoLabel(name, label, 1.0) for name, label in zip(names, labels, strict=True)]
        write_labels(root / landmark / "distill" / "labels.csv", answers)


def said(part: int, random: np.random.Generator) -> str:
    """What the metadata of a photo of a part might say."""
    word = PARTS[random.integers(len(PARTS)) if random.random() < 0.1 else part]
    draw = random.random()
    return word if draw < 0.5 else f"{word}s" if draw < 0.7 else f"{BEFORE[random.integers(len(BEFORE))]} {word}"


def learn(root: Path, seed: int, epochs: int, loss: dict[str, Any]) -> dict[str, float]:
    """Figures on the scored landmarks after the last epoch, and the mAP before the first."""
    lightning.seed_everything(seed, verbose=False)
    stage = AdaptClip(
        {"_target_": "halonerf.retrievers.Clip", "weights": str(root / "clip"), "trainable": "full"},
        landmarks={name: {} for name in LEARNT},
        validation={name: {} for name in SCORED},
        scale=20.0,
        templates=["{label}"],
        plurals=0.0,
        min_crop=1.0,
        mirror=False,
        photo_size=32,
        batch=64,
        epochs=epochs,
        patience=None,
        rate=2e-3,
        workers=0,
        **loss,
    )
    inputs = {f"{name}/{step}": root / name / step for name in (*LEARNT, *SCORED) for step in stage.needs}
    with tempfile.TemporaryDirectory() as folder:
        stage.bind(Path(folder), inputs, seed)
        stage.prepare()
        data = stage.datamodule()
        lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            max_epochs=epochs,
        ).fit(stage, datamodule=data)
    last = {name: float(value or 0.0) for name, value in stage.history[-1].items()}
    return {**last, "before": float(stage.history[0]["map"] or 0.0)}


if __name__ == "__main__":
    main()
