"""A small T5, taught the rules' answers for some buildings, reads others' records through `hf_generate`."""

from __future__ import annotations

import importlib
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from halonerf.distillers.hf_generate import HfGenerate
from halonerf.distillers.rules import Rules
from halonerf.types import ImageRecord
from helpers.places import ROOT

EXPERIMENTS = ROOT / "experiments"
PRESET = "defaults: [hf_generate, _self_]\nweights: {}\nprompt: paper\nanswers: plain\nlabels: 1\ntokens: 8\n"
WORDS = ("portal", "Westportal", "portail", "tower", "Turm", "torre", "nave", "Mittelschiff", "organ", "orgue", "choir")
NOTHING = ("view", "Ansicht", "2011")


@pytest.fixture
def small_t5(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("small_t5")


@pytest.fixture
def distillers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("distillers")


def made(places: range, count: int, seed: int) -> list[ImageRecord]:
    """Records of buildings in made-up towns; no town is in two ranges."""
    chance = random.Random(seed)
    records = []
    for number in range(count):
        town = random.Random(chance.choice(places)).choices(["ba", "lo", "mun", "ster", "ka", "ri", "wyn"], k=3)
        word, named = chance.choice(WORDS + NOTHING), "".join(town).title()
        caption = chance.choice((f"{word} of {named}", f"{named}, {word}", f"The {word} in {named}"))
        records.append(ImageRecord(f"{seed}/{number}.jpg", "", f"{named}_{number}.jpg", caption, (named,), "church"))
    return records


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A model of one narrow layer, and its losses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXPERIMENTS))
        teach = importlib.import_module("small_t5").teach
    folder = tmp_path_factory.mktemp("learnt") / "small"
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    losses = teach(
        folder, made(range(60), 600, 1), Rules().distill, width=64, layers=1, words=400, steps=150, batch=32, rate=4e-3
    )
    torch.set_num_threads(before)
    return folder, losses


@pytest.mark.usefixtures("one_thread")
def test_learnt_labels_generalise_to_other_landmarks(learnt: tuple[Path, list[float]]):
    """Measured: loss 6.4 to 0.19, all answers right; the most frequent one is right for 0.27."""
    folder, losses = learnt
    assert sum(losses[-20:]) < 0.2 * sum(losses[:20])
    others = made(range(100, 130), 200, 2)
    wanted = [label.label for label in Rules().distill(others)]
    one = HfGenerate(str(folder), "paper", "plain", labels=1, tokens=8, batch=64, device="cpu")
    given = [label.label for label in one.distill(others)]
    right = sum(a == b for a, b in zip(given, wanted, strict=True)) / len(wanted)
    assert right > 0.9
    assert Counter(wanted).most_common(1)[0][1] / len(wanted) < 0.4
    assert "" in given, "a record that says nothing gets no label"


def test_the_prompts_own_words_are_one_token_each(small_t5: Any):
    fixed = small_t5.fixed_words("paper")
    prompt = small_t5.Prompt("paper", 100)
    record = ImageRecord("1.jpg", "Köln", "Façade_2.JPG", "Rose window", ("Köln", "Windows"))
    text = small_t5.text_of(prompt, record)
    assert all(text.count(words) == 1 for words in fixed)
    tokenizer = small_t5.learnt_tokens(fixed, [text], 120)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
    assert [token for token in tokens if token in fixed] == fixed
    assert tokens[-1] == "</s>"
    assert tokenizer.decode(tokenizer("rose window").input_ids, skip_special_tokens=True).strip() == "rose window"


def test_mixed_records_are_of_known_parts(small_t5: Any):
    one = ImageRecord("1.jpg", "", "West_door_1.jpg", "The west door of a church", ("Churches", "Doors"), "church")
    other = ImageRecord("2.jpg", "", "2.jpg", "Eine Orgel", ("Orgeln",))
    chance = random.Random(0)
    parts = [small_t5.mixed(one, other, ["any"], ["dome"], chance) for _ in range(1000)]
    captions = {part.caption for part in parts}
    assert {"", one.caption, other.caption, "west door of a church", "Orgel"} < captions, "whole and in pieces"
    known = {"any", "dome", *one.caption.split(), *other.caption.split()}
    assert {word for caption in captions for word in caption.split()} == known
    assert {one.categories, ("Doors",), (), ("Orgeln",)} < {part.categories for part in parts}
    assert {(part.image_id, part.building_type) for part in parts} == {("1.jpg", "church")}
    assert small_t5.piece("", chance) == ""


def test_one_sweep_and_one_table_compare_distillers(
    learnt: tuple[Path, list[float]], distillers: Any, halonerf: Callable[..., CompletedProcess[str]], tmp_path: Path
):
    preset = tmp_path / "conf" / "distiller" / "mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text(PRESET.format(learnt[0]))
    lines = [f"W/churches/1/pictures/{r.filename}:[]:{r.caption}:{r.categories[0]}" for r in made(range(9), 40, 4)]
    (tmp_path / "others.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = halonerf(
        "-m", "stage=distill", "corpus=wikiscenes_text", "corpus.path=others.txt", "distiller=rules,mine",
        "--config-dir", "conf",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    runs = distillers.finished(tmp_path / "artifacts")
    assert sorted(run["name"] for run in runs) == ["HfGenerate small", "Rules"]
    one, other = runs
    assert distillers.same(one, runs)[one["name"]] == 1.0
    assert distillers.same(one, runs)[other["name"]] == distillers.same(other, runs)[one["name"]] > 0.7
    assert {len(run["labels"]) for run in runs} == {40}
    rows = distillers.table(runs).splitlines()
    assert len(rows) == 3
    assert len({len(row) for row in rows}) == 1
