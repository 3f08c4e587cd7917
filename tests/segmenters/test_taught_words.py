"""Words that a segmenter was taught, and those that it was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from halonerf.prediction import untaught_notes
from halonerf.protocols import TaughtSegmenter
from halonerf.segmenters.taught_words import TaughtWords
from halonerf.segmenters.timm_text import TimmText

WORDS = {
    "window": ["window", "fenster", "fenêtre"],
    "tower": ["tower", "bell tower", "turm", "tour"],
    "stained glass": ["stained glass"],
    "dome": ["dome", "cupola"],
}


@pytest.fixture
def segmenter() -> TimmText:
    torch.manual_seed(0)
    model = TimmText(weights=None, backbone="lcnet_050", channels=8, image_size=64).eval()
    model.vocabulary = WORDS
    return model


@pytest.mark.parametrize(
    "prompt",
    ["window", "windows", "the windows", "gothic window", "windwo", "Fenêtres", "FENETRE", "kirchenfenster",
     "Glockenturm", "bell towers", "stained-glass", "cuppola", "domes of the mosque"],
)  # fmt: skip
def test_a_taught_word_is_known_in_other_forms(segmenter: TimmText, prompt: str):
    assert segmenter.untaught([prompt]) == {}


@pytest.mark.parametrize(
    "prompt",
    [
        "piano",
        "arch",
        "glass of water",
        "obelisk",
        "clock",
        "tourist",
        "downpour",
        "domestic",
        "contour",
        "mode",
        "wrote",
        "colonel",
    ],
)
def test_another_word_is_not(segmenter: TimmText, prompt: str):
    assert list(segmenter.untaught(["dome", prompt])) == [prompt]


def test_the_nearest_taught_words_are_named(segmenter: TimmText):
    assert segmenter.untaught(["towel"])["towel"][0] == "tower"
    assert segmenter.untaught(["xyz"])["xyz"] == list(WORDS)


def test_the_vocabulary_is_saved_with_the_weights(segmenter: TimmText, tmp_path: Path):
    segmenter.save(tmp_path / "a.safetensors")
    opened = TimmText(weights=str(tmp_path / "a.safetensors"), backbone="lcnet_050", channels=8, image_size=64)
    assert opened.vocabulary == WORDS
    assert isinstance(opened, TaughtSegmenter)
    assert untaught_notes(opened, ["portcullis", "tower"])[0].startswith(
        "'portcullis': this segmenter was never taught"
    )


def test_without_a_vocabulary_nothing_is_judged(segmenter: TimmText):
    segmenter.vocabulary = {}
    assert segmenter.untaught(["piano"]) == {}
    assert TaughtWords([]).known("piano")


def test_adaptation_adds_words(segmenter: TimmText):
    assert segmenter.untaught(["pulpit"])
    segmenter.add_words(["pulpit", "dome"])
    assert segmenter.untaught(["pulpit", "pulpits"]) == {}
    assert segmenter.vocabulary["dome"] == WORDS["dome"]
