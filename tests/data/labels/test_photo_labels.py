"""Merged and related labels, rows from folders, interleaved orders, and batches as functions of their index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.labels.photo_labels import (
    PhotoLabel,
    interleave,
    merge_labels,
    photo_labels,
    related_labels,
    split_photos,
)
from halonerf.data.labels.table import read_labels
from halonerf.data.labels.words import normalise_label
from halonerf.stages.adapt_clip.batches import LabelBatches, PairAugmentation, PhotoBatches, load_image
from halonerf.types import PseudoLabel
from helpers.made_labels import write_landmark

AUGMENTATION = PairAugmentation(("{label}", "a {label}, {x}"), plurals=0.5, min_crop=0.5, mirror=True, photo_size=40)


def rows(labels: list[str]) -> list[PhotoLabel]:
    return [PhotoLabel(Path(f"{index}.jpg"), label, 0.5, "x") for index, label in enumerate(labels)]


def test_labels_of_different_spelling_are_merged():
    labels = [
        normalise_label(x)
        for x in ("Rose  Window", "rose-windows", "rose window", "apsis", "galleries", "GALLERY", "Türme")
    ]
    same = merge_labels(labels)
    assert same["rose-windows"] == "rose window"
    assert same["galleries"] == "gallery"
    assert same["apsis"] == "apsis"
    assert same["türme"] == "türme"
    assert merge_labels(["portals", "portals", "portal"])["portal"] == "portals"  # the most frequent stands for both
    assert normalise_label("ｄｏｍｅ\n") == "dome"


def test_a_rose_window_is_related_to_a_window():
    found = related_labels(["window", "rose window", "rose", "dome", "window sill"])
    expected = np.zeros((5, 5), bool)
    for a, b in ((0, 1), (1, 2), (0, 4)):
        expected[a, b] = expected[b, a] = True
    assert (found == expected).all()
    assert related_labels([]).shape == (0, 0)


def test_rows_leave_out_unreadable_photos_and_uncertain_labels(tmp_path: Path):
    folders = write_landmark(tmp_path, "here", ["Dome", "", "portal"], ["dome", "dome", "portal"], seed=0)
    collection = Collection.read(folders["collect"])
    answers = read_labels(folders["distill"] / "labels.csv")
    answers += [
        PseudoLabel("é000.png", "dome", 0.95),
        PseudoLabel("é000.png", "tower", 0.3),
        PseudoLabel("gone", "a", 1),
    ]
    (collection.photos / "broken.jpg").write_bytes(b"not a photo")
    answers.append(PseudoLabel("broken.jpg", "dome", 1.0))
    found = photo_labels(collection, answers, "here")
    assert [(r.photo.name, r.label, r.confidence) for r in found] == [
        ("é000.png", "dome", 0.95),
        ("é002.png", "portal", 0.9),
        ("é000.png", "tower", 0.3),
    ]
    assert len(photo_labels(collection, answers, "here", min_confidence=0.5)) == 2


def test_interleaving_spreads_every_landmark():
    groups = ["big"] * 80 + ["small"] * 20
    order = interleave(groups, np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    for start in range(0, 100, 25):
        share = sum(groups[i] == "small" for i in order[start : start + 25])
        assert 4 <= share <= 6
    assert list(order) != list(interleave(groups, np.random.default_rng(1)))


def test_no_photo_is_on_both_sides_of_the_split():
    twice = [*rows(["dome", "portal", "tower"] * 4), *rows(["window"] * 12)]
    learnt, scored = split_photos(twice, 0.25, seed=0)
    assert len(learnt) + len(scored) == 24
    assert len({r.photo for r in scored}) == 3
    assert not {r.photo for r in scored} & {r.photo for r in learnt}
    assert split_photos(twice, 0.0, seed=0)[1] == []


def test_batches_state_the_texts_of_each_photo(tmp_path: Path):
    labels = ["window", "windows", "rose window", "dome", "dome"]
    write_landmark(tmp_path, "here", labels, ["window", "window", "window", "dome", "dome"], seed=0)
    given = [PhotoLabel(tmp_path / "here" / "photos" / f"é{i:03d}.png", x, 0.5, "here") for i, x in enumerate(labels)]
    given.append(PhotoLabel(given[0].photo, "dome", 0.2, "here"))  # the first photo shows two things
    batches = LabelBatches(given, merge_labels(labels), batch=10, augmentation=AUGMENTATION, epochs=2, seed=3)
    assert (batches.steps, len(batches)) == (1, 2)
    batch = batches[0]
    order = interleave(["here"] * 6, np.random.default_rng((3, 0)))
    place = {int(row): index for index, row in enumerate(order)}

    def at(matrix: torch.Tensor, photo: int, text: int) -> bool:
        return bool(matrix[place[photo], place[text]])

    assert at(batch["positive"], 0, 1), "a plural is the same label"
    assert at(batch["positive"], 0, 3), "another row says that the first photo shows a dome"
    assert at(batch["positive"], 3, 5)
    assert not at(batch["positive"], 1, 3), "the second photo does not"
    assert at(batch["related"], 0, 2)
    assert at(batch["related"], 2, 0)
    assert not at(batch["related"], 3, 2)
    assert not (batch["related"] & batch["positive"]).any()
    assert batch["positive"].diagonal().all()
    assert batch["weight"][place[5]].item() == pytest.approx(0.2)
    assert {image.shape[0] for image in batch["images"]} == {3}
    again, other = batches[0], batches[1]
    assert batch["texts"] == again["texts"]
    assert all(torch.equal(a, b) for a, b in zip(batch["images"], again["images"], strict=True))
    assert not all(a.shape == b.shape for a, b in zip(batch["images"], other["images"], strict=True))


def test_texts_use_templates_and_plurals():
    batches = LabelBatches(rows(["dome", "tower"]), {"dome": "dome", "tower": "tower"}, 2, AUGMENTATION, 1, 0)
    random = np.random.default_rng(0)
    found = {batches._text("dome", random) for _ in range(50)}
    assert found == {"dome", "domes", "a dome, {x}", "a domes, {x}"}


def test_epochs_are_divided_evenly_and_show_all():
    batches = LabelBatches(rows(["dome", "tower"] * 11), {"dome": "dome", "tower": "tower"}, 5, AUGMENTATION, 3, 0)
    assert batches.steps == 5
    sizes = [len(part) for part in np.array_split(np.arange(22), 5)]
    assert max(sizes) - min(sizes) == 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "CMYK"])
def test_photos_of_any_kind_are_read(tmp_path: Path, mode: str):
    path = tmp_path / f"photo.{'jpg' if mode == 'CMYK' else 'png'}"
    grey = (
        Image.fromarray(np.full((50, 80), 30000, np.uint16)) if mode == "I;16" else Image.new("RGB", (80, 50), "gray")
    )
    (grey if mode == "I;16" else grey.convert(mode)).save(path)
    image = load_image(path, 25)
    assert image.shape == (3, 25, 40)
    assert 0.3 < image.mean() < 0.6
    assert load_image(path, 100).shape == (3, 50, 80), "smaller photos are not blown up"
    assert load_image(path, 100, (0.5, 0.0, 1.0, 1.0)).shape == (3, 50, 40)


def test_photos_to_score_come_in_order(tmp_path: Path):
    for index in range(5):
        Image.new("RGB", (30, 20), (index * 50,) * 3).save(tmp_path / f"{index}.png")
    batches = PhotoBatches(sorted(tmp_path.iterdir()), 2, 10)
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert [round(float(image.mean()) * 255 / 50) for batch in batches for image in batch] == [0, 1, 2, 3, 4]
