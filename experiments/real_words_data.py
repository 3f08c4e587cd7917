"""Photos that teach `real_words.py`: labelled close-ups, street photos with polygons, renderings; how they are mixed.

What nobody knows of a photo is `UNKNOWN` in its targets and no part of the loss: a street photo has masks of its
windows and no domes, but whether it shows a portal nobody has said.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from halonerf.data.augmentation import crop_window, resampled
from halonerf.data.labels.words import plural
from halonerf.data.training.procedural import RenderedSample

SIDE = 64  # px, of the stored close-ups
WORDS: Mapping[str, Sequence[str]] = {  # of what real photos teach
    "altar": ["altar", "high altar", "autel", "hochaltar", "altare", "retablo"],
    "apse": ["apse", "abside", "apsis", "chevet", "ábside"],
    "tower": ["tower", "bell tower", "belfry", "campanile", "tour", "clocher", "turm", "glockenturm", "torre", "kule"],
    "column": ["column", "pillar", "colonne", "säule", "colonna", "columna", "pilier", "sütun"],
    "dome": ["dome", "cupola", "coupole", "kuppel", "cúpula", "kubbe"],
    "dome interior": ["dome interior", "inside of the dome", "dome ceiling", "intérieur de coupole", "kuppelgewölbe"],
    "flying buttress": ["flying buttress", "buttress", "arc boutant", "strebebogen", "arbotante", "arco rampante"],
    "gargoyle": ["gargoyle", "grotesque", "gargouille", "wasserspeier", "gárgola", "doccione"],
    "stained glass": ["stained glass", "vitrail", "vitraux", "glasmalerei", "vidriera", "vetrata", "vitray"],
    "vault": ["vault", "rib vault", "voûte", "gewölbe", "bóveda", "volta", "tonoz"],
    "window": ["window", "lancet window", "arched window", "fenêtre", "fenster", "finestra", "ventana", "pencere"],
    "tree": ["tree", "vegetation", "bush", "plant", "arbre", "baum", "albero", "árbol", "ağaç"],
    "street": ["street", "road", "pavement", "rue", "strasse", "strada", "calle", "cadde"],
    "car": ["car", "vehicle", "voiture", "auto", "macchina", "coche", "araba"],
    "shop": ["shop", "store", "storefront", "magasin", "laden", "negozio", "tienda", "dükkan"],
    "balcony": ["balcony", "railing", "balcon", "balkon", "balcone", "balcón"],
}  # fmt: skip
HERITAGE_LABELS = (
    "altar", "apse", "bell tower", "column", "dome", "dome (inside)", "flying buttress", "gargoyle", "stained glass",
    "vault",
)  # fmt: skip
HERITAGE = {"bell tower": "tower", "dome (inside)": "dome interior"}  # labels that have another name here
POLYGONS = {
    "window": "window", "vegetation": "tree", "street": "street", "car": "car", "shop": "shop",
    "balcony-fence": "balcony",
}  # fmt: skip
CROPS = {"window": 5, "tree": 4, "street": 2, "car": 3, "shop": 4, "balcony": 4}  # at most, of a photo

MASKED: Mapping[str, Sequence[str]] = {  # of what only rendered masks, or close-ups of something like it, teach
    "portal": ["portal", "door", "doorway", "entrance", "portail", "porte", "tür", "tor", "porta", "puerta", "kapı"],
    "rose window": ["rose window", "rosette", "round window", "wheel window", "rosace", "fensterrose", "rosone"],
    "spire": ["spire", "steeple", "flèche", "turmspitze", "guglia", "aguja"],
    "minaret": ["minaret", "minarett", "minareto", "alminar", "minare"],
    "statue": ["statue", "sculpture", "figure", "skulptur", "statua", "estatua", "heykel"],
}
ALL_WORDS: Mapping[str, Sequence[str]] = {**WORDS, **MASKED}
NEGATIVE = ["dog", "boat", "piano", "pulpit", "organ", "book", "bicycle", "mountain", "horse", "bed", "train", "sofa"]
RENDERED = ("portal", "window", "rose window", "tower", "spire", "dome", "minaret")  # with exact masks
NOT_RENDERED = ("altar", "dome interior", "vault", "gargoyle", "car", "shop", "statue")  # and never in a rendering
NOT_IN_STREETS = (
    "altar", "apse", "dome interior", "flying buttress", "gargoyle", "stained glass", "vault", "rose window",
    "minaret", "spire", "dome",
)  # fmt: skip
BESIDE: Mapping[str, Sequence[str]] = {  # what else a close-up may show; all other concepts it does not
    "altar": ["column", "vault", "dome interior", "stained glass", "window", "statue", "apse"],
    "apse": ["window", "column", "vault", "altar", "stained glass", "dome interior", "dome", "tower", "statue", "tree"],
    "tower": [
        "window", "spire", "dome", "column", "portal", "statue", "balcony", "rose window", "minaret", "tree", "street",
    ],
    "column": ["vault", "window", "portal", "statue", "altar", "tree", "street", "stained glass"],
    "dome": ["window", "tower", "spire", "minaret", "column", "statue", "tree"],
    "dome interior": ["window", "column", "vault", "stained glass", "dome", "statue"],
    "flying buttress": ["window", "spire", "gargoyle", "statue", "tower", "stained glass", "rose window", "tree"],
    "gargoyle": ["spire", "flying buttress", "window", "tower", "column"],
    "stained glass": ["window", "rose window", "column", "vault"],
    "vault": ["window", "stained glass", "column", "dome interior", "altar", "apse"],
}  # fmt: skip
ALIAS = {"gargoyle": "statue"}  # what shows the one shows the other
UNKNOWN = float("nan")


class LabelledCrops:
    """Square close-ups uint8 [N, 3, SIDE, SIDE] and the index of what each shows in `WORDS`."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = torch.from_numpy(images), torch.from_numpy(labels)
        counts = np.bincount(labels, minlength=len(WORDS)).clip(1)
        self.weights = torch.from_numpy((counts**-0.5)[labels])  # rare ones more often, but not as often as the common

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images in [0, 1] and labels of `size` random close-ups."""
        chosen = torch.multinomial(self.weights, size, replacement=True, generator=generator)
        return self.images[chosen].float() / 255, self.labels[chosen]


def heritage(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Close-ups of the Architectural Heritage Elements data set (Llamas et al. 2017): images and labels."""
    table = pandas.read_parquet(data / "heritage_elements" / "heritage_elements.parquet")
    table = table[table["split"] == split]
    names = list(WORDS)
    images = [np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB").resize((SIDE, SIDE))) for jpeg in table["jpeg"]]
    labels = [names.index(HERITAGE.get(label, label)) for label in table["label"]]
    return np.stack(images).transpose(0, 3, 1, 2).copy(), np.array(labels)


def polygon_crops(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Close-ups of the largest polygons of each photo of the street photos, with a margin: images and labels."""
    annotations = json.loads((data / "facades_cc_by" / f"{split}.json").read_text())
    names, images, labels = list(WORDS), [], []
    for name, entries in sorted(annotations.items()):
        photo = Image.open(data / "facades_cc_by" / split / name).convert("RGB")
        boxes: dict[str, list[tuple[float, ...]]] = {}
        for entry in entries:
            if entry["category"] in POLYGONS:
                points = np.concatenate([np.reshape(p, (-1, 2)) for p in entry["polygons"]])
                boxes.setdefault(POLYGONS[entry["category"]], []).append((*points.min(0), *points.max(0)))
        for concept, found in boxes.items():
            found.sort(key=lambda box: -(box[2] - box[0]) * (box[3] - box[1]))
            for left, top, right, bottom in found[: CROPS[concept]]:
                side = 1.25 * max(right - left, bottom - top)
                if side < 24:
                    continue
                x, y = (left + right) / 2, (top + bottom) / 2
                box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
                images.append(np.asarray(inside(photo, box).resize((SIDE, SIDE), Image.Resampling.BOX)))
                labels.append(names.index(concept))
    return np.stack(images).transpose(0, 3, 1, 2).copy(), np.array(labels)


def inside(photo: Image.Image, box: Sequence[float]) -> Image.Image:
    """A square of a photo, moved and shrunk until it lies in it."""
    left, top, right, _ = box
    side = min(right - left, *photo.size)
    left = min(max(left, 0), photo.width - side)
    top = min(max(top, 0), photo.height - side)
    return photo.crop((round(left), round(top), round(left + side), round(top + side)))


def augmented(images: Tensor, size: int, random: np.random.Generator) -> Tensor:
    """Images [B, 3, h, w] in [0, 1] mirrored, turned, cropped and recoloured, [B, 3, size, size]."""
    count = len(images)
    scale = np.sqrt(random.uniform(0.35, 1.0, count))
    aspect = np.exp(random.uniform(-0.25, 0.25, count))
    turn = random.normal(0, 0.1, count)
    mirror = np.where(random.random(count) < 0.5, -1.0, 1.0)
    shift = random.uniform(-1, 1, (count, 2)) * (1 - scale)[:, None]
    cos, sin = np.cos(turn), np.sin(turn)
    rows = [[cos * scale * aspect * mirror, -sin * scale, shift[:, 0]],
            [sin * scale * mirror, cos * scale / aspect, shift[:, 1]]]  # fmt: skip
    theta = torch.from_numpy(np.stack([np.stack(row, -1) for row in rows], 1)).float()
    grid = affine_grid(theta, [count, 3, size, size], align_corners=False)
    warped = grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return recoloured(warped, random)


def recoloured(images: Tensor, random: np.random.Generator) -> Tensor:
    """Images [B, 3, H, W] in [0, 1] of random exposure, colour and contrast; some blurred, grey or noisy."""
    count = len(images)
    draw = lambda low, high, *shape: torch.from_numpy(random.uniform(low, high, (count, *shape))).float()  # noqa: E731
    images = images.clamp(0, 1) ** torch.exp(draw(-0.4, 0.4, 1, 1, 1))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * draw(0.6, 1.4, 1, 1, 1) + mean * draw(0.7, 1.3, 1, 1, 1)
    images = images * draw(0.85, 1.15, 3, 1, 1)
    grey = images.mean(dim=1, keepdim=True)
    saturation = torch.where(draw(0, 1, 1, 1, 1) < 0.1, torch.zeros(1), draw(0.4, 1.5, 1, 1, 1))
    images = grey + (images - grey) * saturation
    small = interpolate(interpolate(images, scale_factor=0.5, mode="area"), size=images.shape[-2:], mode="bilinear")
    images = torch.where(draw(0, 1, 1, 1, 1) < 0.15, small, images)
    noise = torch.from_numpy(random.normal(0, 1, tuple(images.shape)).astype(np.float32))
    images = images + noise * draw(0, 0.04, 1, 1, 1)
    return images.clamp(0, 1)


def erased(images: Tensor, random: np.random.Generator) -> Tensor:
    """Images of which a third have a random box filled with noise."""
    images = images.clone()
    size = images.shape[-1]
    for image in images:
        if random.random() < 0.33:
            height, width = (int(size * random.uniform(0.15, 0.45)) for _ in range(2))
            top, left = int(random.integers(size - height)), int(random.integers(size - width))
            image[:, top : top + height, left : left + width] = torch.rand(3, height, width)
    return images


class StreetPhotos:
    """Street photos and masks of their polygons; a mask of every concept of `POLYGONS` is complete."""

    def __init__(self, data: Path, split: str) -> None:
        annotations = json.loads((data / "facades_cc_by" / f"{split}.json").read_text())
        self.photos, self.masks = [], []
        for name, entries in sorted(annotations.items()):
            photo = Image.open(data / "facades_cc_by" / split / name).convert("RGB")
            drawn = {concept: Image.new("1", photo.size) for concept in POLYGONS.values()}
            for entry in entries:
                for polygon in entry["polygons"] if entry["category"] in POLYGONS else []:
                    if len(polygon) >= 6:
                        ImageDraw.Draw(drawn[POLYGONS[entry["category"]]]).polygon(polygon, fill=1)
            self.photos.append(np.asarray(photo))
            self.masks.append({concept: np.packbits(np.asarray(mask), axis=1) for concept, mask in drawn.items()})

    def __len__(self) -> int:
        return len(self.photos)

    def targets(self, index: int, concepts: Sequence[str]) -> np.ndarray:
        """Masks [P, H, W] of the concepts, `UNKNOWN` where nobody knows."""
        height, width = self.photos[index].shape[:2]
        found = np.full((len(concepts), height, width), UNKNOWN, np.float32)
        for row, concept in enumerate(concepts):
            if concept in self.masks[index]:
                found[row] = np.unpackbits(self.masks[index][concept], axis=1, count=width)
            elif concept in NOT_IN_STREETS or concept in NEGATIVE:
                found[row] = 0
        return found


class RenderedPhotos:
    """Rendered photos of procedural buildings with exact masks."""

    def __init__(self, samples: Sequence[RenderedSample]) -> None:
        self.samples = samples
        self.photos = [sample.image() for sample in samples]

    def __len__(self) -> int:
        return len(self.samples)

    def targets(self, index: int, concepts: Sequence[str]) -> np.ndarray:
        """Masks [P, H, W] of the concepts, `UNKNOWN` where nobody knows."""
        height, width = self.photos[index].shape[:2]
        found = np.full((len(concepts), height, width), UNKNOWN, np.float32)
        for row, concept in enumerate(concepts):
            if concept in RENDERED:
                found[row] = self.samples[index].mask(concept, height, width)
            elif concept in NOT_RENDERED or concept in NEGATIVE:
                found[row] = 0
        return found


class DenseBatches:
    """Crops with the masks of some concepts, from street photos, rendered photos, and close-ups pasted into both."""

    def __init__(self, street: StreetPhotos, rendered: RenderedPhotos, close: LabelledCrops) -> None:
        self.street, self.rendered, self.close = street, rendered, close

    def batch(
        self, count: int, size: int, prompts: int, random: np.random.Generator
    ) -> tuple[Tensor, list[str], Tensor, Tensor]:
        """Images [B, 3, S, S] in [0, 1], words [P], targets [B, P, S, S] in [0, 1] or `UNKNOWN`, labels of close-ups.

        A quarter of the images, the last, are close-ups; the labels [B / 4] are their indices in `WORDS`.
        """
        closed = count // 4
        plan = [str(k) for k in random.choice(["street", "rendered", "paste"], count - closed, p=[0.35, 0.45, 0.2])]
        plan += ["close"] * closed
        generator = torch.Generator().manual_seed(int(random.integers(2**31)))
        close, labels = self.close.batch(2 * count, generator)
        close = recoloured(augmented(close, SIDE, random), random)
        concepts = self._concepts(plan, [list(WORDS)[int(k)] for k in labels], prompts, random)
        pairs = [
            self._crop(kind, size, concepts, close[2 * k : 2 * k + 2], labels[2 * k : 2 * k + 2], random)
            for k, kind in enumerate(plan)
        ]
        images, targets = (torch.stack(part) for part in zip(*pairs, strict=True))
        images = recoloured(styled(images, random), random)
        words = [str(random.choice(ALL_WORDS.get(concept, [concept]))) for concept in concepts]
        words = [plural(word) if random.random() < 0.4 else word for word in words]
        return images, words, targets, labels[::2][count - closed :]

    def _concepts(
        self, plan: Sequence[str], labels: Sequence[str], prompts: int, random: np.random.Generator
    ) -> list[str]:
        """Concepts of a step: some that its photos are likely to show, some others, and one that none shows."""
        likely = [
            *RENDERED,
            *POLYGONS.values(),
            *(label for k, label in enumerate(labels) if plan[k // 2] in ("paste", "close")),
        ]
        likely += ["statue"] if "gargoyle" in likely else []
        chosen: list[str] = []
        for name in random.permutation(likely):
            if name not in chosen and len(chosen) < prompts - 3:
                chosen.append(str(name))
        others = [name for name in ALL_WORDS if name not in chosen]
        return [*chosen, *(str(name) for name in random.choice(others, 2, replace=False)), str(random.choice(NEGATIVE))]

    def _crop(
        self, kind: str, size: int, concepts: Sequence[str], close: Tensor, labels: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        if kind == "close":
            image = torch.zeros(3, size, size)
            targets = torch.zeros(len(concepts), size, size)
            side = int(size * random.uniform(0.7, 1.0)) if random.random() < 0.5 else size
            if side < size:  # beside another close-up, or the same again
                image[:] = interpolate(close[1:2], size=(size, size), mode="bilinear")[0]
                mark(targets, concepts, list(WORDS)[int(labels[1])], 0, 0, size, central=False)
            top, left = (int(random.integers(size - side + 1)) for _ in range(2))
            paste(image, close[0], top, left, side)
            mark(targets, concepts, list(WORDS)[int(labels[0])], top, left, side)
            return image, targets
        source: Any = (
            self.rendered if kind == "rendered" or (kind == "paste" and random.random() < 0.4) else self.street
        )
        index = int(random.integers(len(source)))
        pixels = source.photos[index]
        height, width = pixels.shape[:2]
        low, high = (0.3, 1.0) if source is self.street else (0.5, 1.0)
        top, left, rows, columns = crop_window(height, width, low, high, 0.25, random)
        window = (slice(top, top + rows), slice(left, left + columns))
        targets = source.targets(index, concepts)[:, window[0], window[1]]
        both = np.concatenate([pixels[window].transpose(2, 0, 1) / 255.0, targets]).astype(np.float32)
        if random.random() < 0.5:
            both = both[..., ::-1]
        known = torch.from_numpy(np.ascontiguousarray(both))
        crop = resampled(known.nan_to_num(0.0), size)
        crop[3:][known[3:].isnan().any(dim=(1, 2))] = UNKNOWN  # a concept is known of a whole photo, or not at all
        image, target = crop[:3].clamp(0, 1), crop[3:]
        if kind == "paste":
            for k in range(int(random.integers(1, 3))):
                side = int(size * random.uniform(0.25, 0.7))
                top, left = (int(random.integers(size - side + 1)) for _ in range(2))
                paste(image, close[k], top, left, side)
                mark(target, concepts, list(WORDS)[int(labels[k])], top, left, side)
        return image, target


def paste(image: Tensor, close: Tensor, top: int, left: int, side: int) -> None:
    """Put a close-up [3, h, w] into an image [3, S, S], its edges faded over a tenth of its side."""
    scaled = resampled(close, side)
    ramp = torch.linspace(0, 1, side)
    edge = (torch.minimum(ramp, 1 - ramp) * 10).clamp(max=1) if side < image.shape[-1] else torch.ones(side)
    alpha = edge[:, None] * edge[None, :]
    part = image[:, top : top + side, left : left + side]
    part.copy_(alpha * scaled + (1 - alpha) * part)


def mark(
    targets: Tensor, concepts: Sequence[str], label: str, top: int, left: int, side: int, central: bool = True
) -> None:
    """Set the targets [P, S, S] within a pasted close-up: its middle shows the label, its rest may; others are absent.

    central: whether the middle is seen.
    """
    line = torch.linspace(-1, 1, side)
    middle = (line[:, None] ** 2 + line[None, :] ** 2) < 0.6**2
    for row, concept in enumerate(concepts):
        part = targets[row, top : top + side, left : left + side]
        if concept in (label, ALIAS.get(label)):
            part.copy_(torch.where(middle & torch.tensor(central), 1.0, UNKNOWN))
        else:
            part.fill_(UNKNOWN if concept in BESIDE.get(label, ALL_WORDS) else 0.0)


def styled(images: Tensor, random: np.random.Generator) -> Tensor:
    """Half of the images [B, 3, S, S] with the coarse amplitudes of another (Yang & Soatto, "FDA", CVPR 2020)."""
    spectrum = torch.fft.fft2(images)
    amplitude, phase = spectrum.abs(), spectrum.angle()
    other = amplitude[torch.from_numpy(random.permutation(len(images)))]
    frequency = torch.fft.fftfreq(images.shape[-1]).abs() * images.shape[-1]
    reach = torch.from_numpy(
        random.uniform(0.5, 4.5, (len(images), 1, 1, 1)) * (random.random((len(images), 1, 1, 1)) < 0.5)
    )
    coarse = torch.maximum(frequency[:, None], frequency[None, :])[None, None] < reach
    coarse[..., 0, 0] = False  # the mean colour stays
    return torch.fft.ifft2(torch.polar(torch.where(coarse, other, amplitude), phase)).real.float().clamp(0, 1)
