"""Trains the packaged segmenter on real photos: first what a photo shows, then where in the photo it is.

    python experiments/real_words.py images [--data DIR] [--out DIR] [--steps 7000] [--until 5000]
    python experiments/real_words.py dense [--data DIR] [--renders DIR] [--out DIR] [--steps 3000]

`--data` holds `heritage_elements/heritage_elements.parquet` (columns split, label, jpeg) and `facades_cc_by/` (train,
valid, test: photos and <split>.json with polygons). `images` trains the backbone and the text tower together, on
labelled close-ups and on crops of polygons: the vector of a photo must be nearest to that of a word for what it shows.
`dense` goes on from its weights with photos that have masks, real and procedural, and with close-ups of which only the
label is known. Both write a checkpoint every `CHECKPOINT` steps to `--out` and go on from it.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, interpolate, normalize

from halonerf.data.labels.words import plural
from halonerf.data.training.procedural import RenderSettings, render_samples
from halonerf.files import atomic_path, write_json
from halonerf.geometry import resize_mean
from halonerf.metrics import average_precision
from halonerf.segmenters.timm_text import MEAN, STD, TEXT_WIDTH, TimmText
from halonerf.stages.train_segmenter import synonym_loss
from real_words_data import (
    ALL_WORDS,
    HERITAGE,
    HERITAGE_LABELS,
    POLYGONS,
    RENDERED,
    UNKNOWN,
    WORDS,
    DenseBatches,
    LabelledCrops,
    RenderedPhotos,
    StreetPhotos,
    augmented,
    erased,
    heritage,
    polygon_crops,
)

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("HALONERF_SHARED", ROOT.parent / "shared")) / "data"
OUT = Path(__file__).parent / "out" / "real_words"
CHECKPOINT = 500  # steps
FIRST_SEED, HELD_OUT_SEED = 1000, 1100  # of the buildings that teach, and of those that are held out
CLOSE_UPS = (0.05, 0.01)  # weight of the loss that tells close-ups apart by their maps, in either half of training
LABELS = [HERITAGE.get(label, label) for label in HERITAGE_LABELS]
EMA = 0.998  # decay a step of the averaged weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("images", "dense"))
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--renders", type=Path, default=OUT / "renders", help="rendered buildings, kept for later runs")
    parser.add_argument("--buildings", type=int, default=10, help="rendered of each kind")
    parser.add_argument("--steps", type=int, default=0, help="of training; 0: 7000 for images, 3000 for dense")
    parser.add_argument("--until", type=int, help="step at which to stop before the schedule's end")
    parser.add_argument("--start", type=Path, help="weights that dense goes on from; none: those of images in --out")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.buildings > HELD_OUT_SEED - FIRST_SEED:
        parser.error(f"expected at most {HELD_OUT_SEED - FIRST_SEED} buildings: the next one is held out")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part == "images":
        steps = options.steps or 7000
        learn_images(options.data, options.out, steps, min(options.until or steps, steps))
    else:
        start = options.start or options.out / "images.safetensors"
        steps = options.steps or 3000
        until = min(options.until or steps, steps)
        learn_dense(options.data, options.renders, options.buildings, start, options.out, steps, until)


class ImageText(nn.Module):
    """A segmenter's backbone and text tower, with a projection of the pooled features to a text's vector."""

    def __init__(self, segmenter: TimmText) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.project = nn.Linear(segmenter.lateral[-1].in_channels, TEXT_WIDTH)
        self.drop = nn.Dropout(0.2)
        self.scale = nn.Parameter(torch.tensor(2.5))

    def forward(self, images: Tensor, words: Sequence[str]) -> Tensor:
        """Logits [B, P]: scaled cosines of images [B, 3, H, W] in [0, 1] and words."""
        pixels = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        features = self.segmenter.backbone(pixels)[-1].float()
        pooled = self.project(self.drop(features.mean(dim=(2, 3))))
        texts = self.segmenter.text(words).float()
        return self.scale.exp().clamp(max=50) * normalize(pooled, dim=1) @ normalize(texts, dim=1).T


def learn_images(data: Path, out: Path, steps: int, until: int) -> None:
    """Train on labelled close-ups; `images.safetensors` holds the averaged weights, `images.json` the curve.

    steps: of the learning rate's cycle. until: step at which training ends.
    """
    images, labels = zip(heritage(data, "train"), polygon_crops(data, "train"), strict=True)
    crops = LabelledCrops(np.concatenate(images), np.concatenate(labels))
    print("close-ups:", dict(zip(WORDS, np.bincount(crops.labels.numpy(), minlength=len(WORDS)).tolist(), strict=True)))
    tests = {"heritage": heritage(data, "test"), "polygons": polygon_crops(data, "valid")}
    model = ImageText(TimmText()).train()
    model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.05)
    parts = {"model": model, "average": average, "optimiser": optimiser, "schedule": schedule}
    state = restored(parts, out / "images.ckpt")
    began = time.monotonic() - state["seconds"]
    for step in track(range(state["step"], until), "Image-level training", console=Console(stderr=True)):
        random, generator = np.random.default_rng((0, step)), torch.Generator().manual_seed(step)
        torch.manual_seed(step)
        size = 32 * int(random.choice([2, 3, 3, 4] if step < 0.6 * steps else [3, 4, 4]))
        photos, shown = crops.batch(64, generator)
        photos = erased(augmented(photos, size, random), random)
        words = [str(random.choice(forms)) for forms in WORDS.values()]
        words = [plural(word) if random.random() < 0.3 else word for word in words]
        other = torch.randperm(len(photos), generator=generator)
        share = float(random.beta(0.3, 0.3)) if random.random() < 0.5 else 1.0
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(share * photos + (1 - share) * photos[other], words)
        loss = share * cross_entropy(logits, shown, label_smoothing=0.1)
        loss = loss + (1 - share) * cross_entropy(logits, shown[other], label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        follow(average, model, min(EMA, (step + 1) / (step + 10)))
        if (step + 1) % CHECKPOINT == 0 or step + 1 == until:
            scores = {name: accuracy(average, *test) for name, test in tests.items()}
            seconds = time.monotonic() - began
            state = {
                "step": step + 1,
                "curve": [*state["curve"], {"step": step + 1, "loss": round(loss.item(), 3), **scores}],
                "seconds": round(seconds, 1),
            }
            print(progress(step, until, seconds), state["curve"][-1], flush=True)
            keep(parts, state, out / "images.ckpt")
            average.segmenter.save(out / "images.safetensors")
            write_json(out / "images.json", state)


def known_loss(logits: Tensor, targets: Tensor, power: float = 0.3) -> Tensor:
    """Binary cross-entropy over known targets, words weighted by rarity (as `balanced_loss` of train_segmenter)."""
    known = ~targets.isnan()
    filled = targets.nan_to_num(0.0)
    errors = binary_cross_entropy_with_logits(logits, filled, reduction="none") * known
    count = known.sum(dim=(0, 2, 3)).clamp(min=1)
    share = (filled * known).sum(dim=(0, 2, 3)) / count
    weight = share.clamp(min=0.01) ** -power
    return (errors.sum(dim=(0, 2, 3)) / count * weight / weight.mean()).mean()


def learn_dense(data: Path, renders: Path, buildings: int, start: Path, out: Path, steps: int, until: int) -> None:
    """Train on masks; `dense.safetensors` holds the averaged weights, `dense.json` the curve of validation scores.

    steps: of the learning rate's cycle. until: step at which training ends.
    """
    settings = RenderSettings(24, 0.3, 256, 8)
    kinds = ("cathedral", "mosque", "synagogue")
    samples = render_samples(renders, settings, kinds, range(FIRST_SEED, FIRST_SEED + buildings), 1)
    held_out = render_samples(renders, settings, kinds, range(HELD_OUT_SEED, HELD_OUT_SEED + 1), 1)
    batches = DenseBatches(
        StreetPhotos(data, "train"), RenderedPhotos(samples), LabelledCrops(*heritage(data, "train"))
    )
    tests = (StreetPhotos(data, "valid"), RenderedPhotos(held_out), heritage(data, "test"))
    model = TimmText(weights=str(start)).train()
    model.vocabulary = ALL_WORDS
    model.to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.5e-3, total_steps=steps, pct_start=0.05)
    parts = {"model": model, "average": average, "optimiser": optimiser, "schedule": schedule}
    state = restored(parts, out / "dense.ckpt")
    began, losses = time.monotonic() - state["seconds"], []
    for step in track(range(state["step"], until), "Dense training", console=Console(stderr=True)):
        random = np.random.default_rng((1, step))
        torch.manual_seed(step)
        size = int(random.choice([128, 128, 160, 192]))
        images, words, targets, labels = batches.batch(16, size, 10, random)
        model.image_size = size
        with torch.autocast("cpu", torch.bfloat16):
            encoded = model.encode(images.contiguous(memory_format=torch.channels_last))
            logits = model.decode(encoded, words)
            close = {name: values[-len(labels) :] for name, values in encoded.items()}
            shown = central_mean(model.decode(close, [str(random.choice(WORDS[label])) for label in LABELS]))
        loss = known_loss(logits.float(), known_mean(targets, *logits.shape[-2:]))
        target = torch.tensor([LABELS.index(list(WORDS)[int(label)]) for label in labels])
        loss = loss + CLOSE_UPS[2 * step >= steps] * cross_entropy(shown.float(), target, label_smoothing=0.1)
        if step % 2 == 0:
            texts = model.text([form for forms in ALL_WORDS.values() for form in forms])
            meaning = torch.tensor([k for k, forms in enumerate(ALL_WORDS.values()) for _ in forms])
            loss = loss + 0.1 * synonym_loss(texts, meaning)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        losses.append(loss.item())
        follow(average, model, min(EMA, (step + 1) / (step + 10)))
        if (step + 1) % CHECKPOINT == 0 or step + 1 == until:
            average.save(out / "dense.safetensors")
            seconds = time.monotonic() - began
            scores = validation(TimmText(weights=str(out / "dense.safetensors")), *tests)
            row = {"step": step + 1, "loss": round(float(np.mean(losses)), 4), **scores}
            state = {"step": step + 1, "curve": [*state["curve"], row], "seconds": round(seconds, 1)}
            losses = []
            print(progress(step, until, seconds), row, flush=True)
            keep(parts, state, out / "dense.ckpt")
            write_json(out / "dense.json", state)


def central_mean(maps: Tensor) -> Tensor:
    """Mean over the middle half of each side of maps [..., h, w]."""
    height, width = maps.shape[-2:]
    return maps[..., height // 4 : height - height // 4, width // 4 : width - width // 4].mean(dim=(-2, -1))


def known_mean(targets: Tensor, height: int, width: int) -> Tensor:
    """Targets [B, P, S, S] averaged to [B, P, height, width]; unknown where more than half of the pixels are."""
    known = (~targets.isnan()).float()
    share = resize_mean(known, height, width)
    mean = resize_mean(targets.nan_to_num(0.0), height, width) / share.clamp(min=1e-6)
    return torch.where(share > 0.5, mean, torch.full_like(mean, UNKNOWN))


@torch.no_grad()
def validation(
    model: TimmText, street: StreetPhotos, rendered: RenderedPhotos, close: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Of every second photo: AP of the street photos' and the renderings' concepts; accuracy of close-ups by map."""
    scores: dict[str, float] = {}
    for name, source, concepts in (
        ("street", street, list(dict.fromkeys(POLYGONS.values()))),
        ("rendered", rendered, list(RENDERED)),
    ):
        found: dict[str, list[float]] = {concept: [] for concept in concepts}
        for index in range(0, len(source), 2):
            pixels = torch.from_numpy(source.photos[index].copy()).permute(2, 0, 1)[None].float() / 255
            logits = model.decode(model.encode(pixels), concepts)
            maps = interpolate(logits, size=pixels.shape[-2:], mode="bilinear")[0].sigmoid().numpy()
            for row, concept in enumerate(concepts):
                truth = source.targets(index, [concept])[0] > 0.5
                if truth.any():
                    found[concept].append(average_precision(np.round(255 * maps[row]).astype(np.uint8), truth))
        scores |= {f"{name} {concept}": round(float(np.mean(values)), 3) for concept, values in found.items() if values}
        scores[name] = round(float(np.mean([np.mean(values) for values in found.values() if values])), 4)
    images, labels = close
    names, shown = list(WORDS), sorted(set(labels.tolist()))
    model.image_size = 128
    right = 0
    for begin in range(0, len(images), 64):
        batch = torch.from_numpy(images[begin : begin + 64]).float() / 255
        logits = central_mean(model.decode(model.encode(batch), [names[k] for k in shown]))
        right += int((np.array(shown)[logits.argmax(1).numpy()] == labels[begin : begin + 64]).sum())
    scores["heritage"] = round(right / len(labels), 4)
    return scores


def keep(parts: Mapping[str, Any], state: Mapping[str, Any], file: Path) -> None:
    """Write a checkpoint, which `restored` reads."""
    with atomic_path(file) as temporary:
        torch.save({**{name: part.state_dict() for name, part in parts.items()}, "state": state}, temporary)


def restored(parts: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Restore modules, optimiser and schedule from a checkpoint; the steps done, the curve and the seconds so far."""
    if not file.is_file():
        return {"step": 0, "curve": [], "seconds": 0.0}
    saved = torch.load(file, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return dict(saved["state"])


def progress(step: int, steps: int, seconds: float) -> str:
    """Steps done, seconds so far, and seconds that the rest will take."""
    left = seconds / (step + 1) * (steps - step - 1)
    return f"{step + 1}/{steps} {seconds:.0f} s, {left:.0f} s left,"


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights towards the trained ones."""
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


@torch.no_grad()
def accuracy(model: ImageText, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of close-ups whose nearest word, among those of the test's labels in English, is the right one."""
    names = list(WORDS)
    shown = sorted(set(labels.tolist()))
    right = 0
    for start in range(0, len(images), 128):
        batch = torch.from_numpy(images[start : start + 128]).float() / 255
        logits = model(interpolate(batch, size=(128, 128), mode="bilinear"), [names[k] for k in shown])
        right += int((torch.tensor(shown)[logits.argmax(1)].numpy() == labels[start : start + 128]).sum())
    return round(right / len(labels), 4)


if __name__ == "__main__":
    main()
