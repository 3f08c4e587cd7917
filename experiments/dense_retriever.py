"""Can small projections of the frozen offline segmenter stand in for a dense CLIP, and are they a fair baseline?

    OMP_NUM_THREADS=1 python experiments/dense_retriever.py [--close] [--save FILE] [--weights FILE]

Trains `halonerf.retrievers.projected` on procedural buildings with exact masks (seeds below 500), on features that are
computed once: pixels against all concepts' names and a phrase (softmax, as LSeg), crops against the name of what they
show most of. Half of the photos show whole buildings: more than the segmenter was ever taught, so that the baselines
in 3D are no straw men; `--close` leaves them out. Scores it on landmarks of seeds from 500 on: average precision per
concept of photos that show it, of DFF's and LERF's relevancies of the dense maps, beside the segmenter's own maps.
Prints a table; writes experiments/out/dense_retriever.json, and the weights to FILE. Rendering takes about 20 s of one
core a building, once; features two minutes; training one. `--weights` scores what was trained before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from halonerf.data.labels.words import plural
from halonerf.data.training.procedural import WHOLE, RenderedSample, RenderSettings, render_samples
from halonerf.factory import build
from halonerf.heads.features import RIVALS, text_relevancy
from halonerf.metrics import average_precision, mean_defined
from halonerf.retrievers.projected import Projected, pooled_features

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).parent / "out"
KINDS = ("cathedral", "mosque", "synagogue")
PHRASES = ("object", "things", "stuff", "texture", "background", "building")  # names of what has no name
LEARNT, SCORED = range(200, 204), (501,)
TRAINING, LANDMARKS = RenderSettings(16, 0.5, 320, 8), RenderSettings(8, 1.0, 320, 8)
PIXELS = 1200  # a photo, half of them spread evenly over what it shows
CROPS = 24  # a photo
CROP = (0.12, 0.7)  # of a photo's short side
MOST = 0.15  # share of a crop that a concept must cover to name it
PRESENT = 0.02  # share from which a concept is not "not there"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, help="file for the weights, in half precision")
    parser.add_argument("--weights", help="score these and do not train")
    parser.add_argument("--close", action="store_true", help="learn from close-ups alone, as the segmenter did")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "retriever" / "projected.yaml"))
    words = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "training_data" / "procedural.yaml"))["words"]
    cache = OUT / "training_data" / "renders"
    landmarks = {
        f"{kind} {seed}": render_samples(cache, LANDMARKS, [kind], [seed], 1) for kind in KINDS for seed in SCORED
    }
    seconds: dict[str, float] = {}
    if options.weights:
        retriever = build({**config, "weights": options.weights})
    else:
        rendered = render_samples(cache, TRAINING, KINDS, LEARNT, 1)
        samples = [sample for sample in rendered if not (options.close and sample.subject == WHOLE)]
        torch.manual_seed(options.seed)
        retriever = build({**config, "weights": None})
        started = time.process_time()
        table = Table(retriever, samples, list(words), options.seed)
        seconds["features"] = time.process_time() - started
        train(retriever, table, words, options.steps, options.seed)
        seconds["training"] = time.process_time() - started - seconds["features"]
        if options.save:
            half = {name: value.half().contiguous() for name, value in retriever.projections().items()}
            save_file(half, options.save)
            retriever = build({**config, "weights": str(options.save)})  # as it was rounded
    report(retriever.eval(), landmarks, list(words), seconds)


class Table:
    """Frozen features of pixels [N, F] and of crops [M, F], and what each shows, bool [N, K] and shares [M, K]."""

    def __init__(self, retriever: Projected, samples: Sequence[RenderedSample], concepts: list[str], seed: int) -> None:
        chance = np.random.default_rng(seed)
        pixels, shows, crops, shares = [], [], [], []
        for sample in samples:
            image = photo(sample)
            height, width = image.shape[1:]
            masks = torch.stack([torch.from_numpy(sample.mask(c, height, width).copy()) for c in concepts]).float()
            with torch.no_grad():
                features = retriever.segmenter.dense_features(retriever.segmenter.encode(image[None]))[0]
            truth = adaptive_avg_pool2d(masks, features.shape[1:])
            picks = chosen_pixels(truth.flatten(1) > 0.5, chance)
            pixels.append(features.flatten(1)[:, picks].T.half())
            shows.append(truth.flatten(1)[:, picks].T > 0.5)
            boxes = [chosen_crop(height, width, chance) for _ in range(CROPS)]
            for top, left, side in boxes:
                crop = image[None, :, top : top + side, left : left + side]
                with torch.no_grad():
                    crops.append(pooled_features(retriever.crops.encode(crop)).half())
                shares.append(masks[:, top : top + side, left : left + side].mean(dim=(1, 2)))
        self.pixels, self.shows = torch.cat(pixels), torch.cat(shows)
        self.crops, self.shares = torch.cat(crops), torch.stack(shares)


def photo(sample: RenderedSample) -> Tensor:
    """[3, H, W] in [0, 1]."""
    return torch.from_numpy(sample.image().copy()).permute(2, 0, 1).float() / 255


def chosen_pixels(truth: Tensor, chance: np.random.Generator) -> Tensor:
    """Indices of `PIXELS` pixels: half of them any, half the same number of each concept in sight. truth: [K, N]."""
    picks = [chance.integers(truth.shape[1], size=PIXELS // 2)]
    seen = [np.flatnonzero(row) for row in truth.numpy()]
    seen = [row for row in seen if len(row)] or [np.arange(truth.shape[1])]
    for index, row in enumerate(seen):
        wanted = (PIXELS // 2 * (index + 1)) // len(seen) - (PIXELS // 2 * index) // len(seen)
        picks.append(chance.choice(row, wanted))
    return torch.from_numpy(np.concatenate(picks))


def chosen_crop(height: int, width: int, chance: np.random.Generator) -> tuple[int, int, int]:
    """Top, left and side, px; sides are spread evenly over their logarithm."""
    side = round(min(height, width) * float(np.exp(chance.uniform(*np.log(CROP)))))
    return int(chance.integers(height - side + 1)), int(chance.integers(width - side + 1)), side


def train(retriever: Projected, table: Table, words: dict[str, list[str]], steps: int, seed: int) -> None:
    """AdamW on pixels and crops together; every step asks for each concept by one of its names."""
    forms = {concept: [form for name in names for form in (name, plural(name))] for concept, names in words.items()}
    spoken = [form for names in forms.values() for form in names] + list(PHRASES)
    with torch.no_grad():
        embeddings = retriever.segmenter.text(spoken)
    starts = np.cumsum([0, *(len(names) for names in forms.values())])
    learnt = [*retriever.pixel.parameters(), *retriever.whole.parameters(), *retriever.words.parameters()]
    optimiser = torch.optim.AdamW(learnt, lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    chance = np.random.default_rng(seed)
    retriever.train()
    for step in range(steps):
        ends = [chance.integers(a, b) for a, b in itertools.pairwise(starts)]
        names = [*ends, chance.integers(starts[-1], len(spoken))]
        told = retriever.text_vectors(embeddings[torch.tensor(names)])
        rows = torch.from_numpy(chance.integers(len(table.pixels), size=2048))
        seen = retriever.pixel_vectors(table.pixels[rows].float().T[None, :, :, None])[0, :, :, 0].T
        loss = named_loss(retriever.scale * seen @ told.T, table.shows[rows], table.shows[rows])
        rows = torch.from_numpy(chance.integers(len(table.crops), size=256))
        seen = retriever.whole_vectors(table.crops[rows].float())
        shares = table.shares[rows]
        most = (shares == shares.amax(dim=1, keepdim=True)) & (shares > MOST)
        loss_crops = named_loss(retriever.scale * seen @ told.T, most, shares > PRESENT)
        optimiser.zero_grad()
        (loss + loss_crops).backward()
        optimiser.step()
        schedule.step()
        if step % 250 == 0 or step == steps - 1:
            print(f"step {step}: pixels {loss.item():.3f}, crops {loss_crops.item():.3f}", flush=True)


def named_loss(logits: Tensor, named: Tensor, present: Tensor) -> Tensor:
    """-log of a name's softmax against the phrase and the names of what is not there; of the phrase where none fits.

    logits: [N, K + 1], the phrase's last. named: bool [N, K], what the row should be called; present: bool [N, K].
    """
    names, phrase = logits[:, :-1], logits[:, -1:]
    others = torch.cat([names.masked_fill(present, -torch.inf), phrase], dim=1).logsumexp(dim=1, keepdim=True)
    each = torch.logaddexp(names, others) - names
    count = named.sum(dim=1)
    of_names = (each * named).sum(dim=1) / count.clamp(min=1)
    return torch.where(count > 0, of_names, others[:, 0] - phrase[:, 0]).mean()


def report(
    retriever: Projected, landmarks: dict[str, list[RenderedSample]], concepts: list[str], seconds: dict[str, float]
) -> None:
    """Print and write what each way scores."""
    ways = ["segmenter", *(f"dense, rivals={rivals}" for rivals in RIVALS), "crops named right"]
    results: dict[str, dict[str, Any]] = {}
    for landmark, samples in landmarks.items():
        shown = [c for c in concepts if any(c in sample.masks for sample in samples)]
        found = {way: {c: [] for c in shown} for way in ways[:-1]}
        for sample in samples:
            for way, maps in maps_of(retriever, photo(sample), shown).items():
                for concept, drawn in zip(shown, maps, strict=True):
                    truth = sample.mask(concept, *drawn.shape)
                    if truth.any():
                        found[way][concept].append(average_precision(drawn, truth))
        rows = {way: {c: mean_defined(values) for c, values in each.items()} for way, each in found.items()}
        results[landmark] = {way: {**row, "mean": mean_defined(row.values())} for way, row in rows.items()}
        results[landmark]["crops named right"] = named_right(retriever, samples, concepts)
    for landmark, rows in results.items():
        print(f"\n{landmark:<24}", *(f"{concept:>12}" for concept in rows["segmenter"]))
        for way in ways[:-1]:
            print(f"{way:<24}", *(f"{value:>12.3f}" for value in rows[way].values()))
        print(f"{ways[-1]:<24} {rows[ways[-1]]:>12.3f}")
    print("\nCPU seconds:", {part: round(value, 1) for part, value in seconds.items()})
    OUT.mkdir(exist_ok=True)
    (OUT / "dense_retriever.json").write_text(json.dumps({"seconds": seconds, "scores": results}, indent=2))


@torch.no_grad()
def maps_of(retriever: Projected, image: Tensor, concepts: list[str]) -> dict[str, np.ndarray]:
    """Maps [K, H, W] of each way."""
    size = image.shape[1:]
    dense, told = retriever.embed_dense(image[None])[0], retriever.embed_texts([*concepts, *PHRASES[:4]])
    cosines = torch.einsum("dhw,pd->hwp", dense, told).split([len(concepts), 4], dim=-1)
    maps = {f"dense, rivals={rivals}": text_relevancy(*cosines, retriever.scale, rivals) for rivals in RIVALS}
    logits = retriever.segmenter.decode(retriever.segmenter.encode(image[None]), concepts)
    drawn = {"segmenter": logits.sigmoid(), **{way: m.permute(2, 0, 1)[None] for way, m in maps.items()}}
    return {way: interpolate(m, size, mode="bilinear", align_corners=False)[0].numpy() for way, m in drawn.items()}


@torch.no_grad()
def named_right(retriever: Projected, samples: Sequence[RenderedSample], concepts: list[str]) -> float:
    """Share of crops, of those that show a concept on more than `MOST`, whose nearest name is in them."""
    chance, right = np.random.default_rng(0), []
    told = retriever.embed_texts(concepts)
    for sample in samples:
        image = photo(sample)
        for _ in range(CROPS):
            top, left, side = chosen_crop(*image.shape[1:], chance)
            inside = (slice(top, top + side), slice(left, left + side))
            shares = np.array([sample.mask(c, *image.shape[1:])[inside].mean() for c in concepts])
            if shares.max() > MOST:
                best = int((retriever.embed_images([image[:, *inside]]) @ told.T).argmax())
                right.append(shares[best] > PRESENT)
    return float(np.mean(right))


if __name__ == "__main__":
    main()
