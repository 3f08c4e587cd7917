"""The weights that come with the package: small, and they know parts of a building that they never saw."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import torch

from halonerf.data.procedural.closeups import close_ups
from halonerf.metrics import average_precision
from halonerf.prediction import resized_probabilities
from halonerf.segmenters.timm_text import TimmText


def test_they_are_small():
    assert len(files("halonerf.segmenters").joinpath("weights", "offline.safetensors").read_bytes()) <= 8_000_000


@pytest.fixture(scope="module")
def scored() -> dict[str, tuple[float, float]]:
    """Average precision and share of positive pixels by word, singular and plural: means over views of a building."""
    segmenter, words = TimmText(), {"tower": "towers", "window": "windows", "rose window": "rose windows"}
    found: dict[str, list[tuple[float, float]]] = {}
    for shot in close_ups("synagogue", 7, 4, width=200, samples=4, overviews=1.0):
        images = torch.from_numpy(shot.picture.copy()).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            logits = segmenter(images, [*words, *words.values(), "piano"])[0]
        maps = resized_probabilities(logits, *shot.picture.shape[:2])[0].numpy()
        for index, (one, many) in enumerate(words.items()):
            truth = shot.masks[one]
            if truth.any():
                for name, score in ((one, maps[index]), (many, maps[index + len(words)])):
                    found.setdefault(name, []).append((average_precision(score, truth), float(truth.mean())))
        found.setdefault("piano", []).append((float(maps[-1].mean()), 0.0))
    return {name: tuple(np.mean(values, axis=0)) for name, values in found.items()}


@pytest.mark.parametrize("word", ["tower", "towers", "window", "windows", "rose window", "rose windows"])
def test_they_find_parts_by_singular_and_plural(scored: dict[str, tuple[float, float]], word: str):
    precision, share = scored[word]
    assert precision > max(0.4, 2 * share)  # a map that knows nothing scores the share of positive pixels


def test_they_do_not_find_a_piano(scored: dict[str, tuple[float, float]]):
    assert scored["piano"][0] < 0.05


def test_they_say_which_words_they_were_never_taught():
    assert list(TimmText().untaught(["piano", "windows", "rose window", "altar"])) == ["piano", "altar"]
