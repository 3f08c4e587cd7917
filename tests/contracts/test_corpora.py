"""The contract of corpora: a name, a deterministic identity, and records in one order, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from halonerf.factory import build
from halonerf.protocols import Corpus, LabelledCorpus, PhotoCorpus
from halonerf.types import ImageRecord
from helpers.places import CONF

GROUP = CONF / "corpus"
OPTIONS = sorted(path.stem for path in GROUP.glob("*.yaml"))
ONLINE = ("commons",)  # asks a wiki for its records: see tests/data/test_commons*.py


def tiny_options(option: str, folder: Path) -> dict[str, Any]:
    """Arguments that make a corpus small, and independent of what is on this machine."""
    if option == "wikiscenes":
        (folder / "0").mkdir()
        (folder / "category.json").write_text('{"pairs": {"A minster": "0"}}')
        (folder / "0" / "category.json").write_text('{"pictures": {"ü.jpg": {"caption": "Portal"}, "b.jpg": {}}}')
        return {"path": str(folder)}
    if option == "wikiscenes_text":
        (folder / "t.txt").write_text("a/b/ü.jpg:['portal']:Portal:Exterior\na/b/c.jpg:[]::\n")
        return {"path": str(folder / "t.txt")}
    if option == "original_csv":
        (folder / "t.csv").write_text(
            "name,fn,img_fn,caption,cats,building_type,spl\nA,ü.jpg,ü.jpg,,,,\nA,b.jpg,,,,,\n"
        )
        return {"path": str(folder / "t.csv")}
    if option == "table":
        (folder / "t.jsonl").write_text("".join(json.dumps({"id": name}) + "\n" for name in ("ü.jpg", "b.jpg")))
        return {"path": str(folder / "t.jsonl"), "columns": {"image_id": "id"}}
    return {"category": "A minster", "contact": "tests@example.org"}


@pytest.fixture(scope="module", params=OPTIONS)
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = OmegaConf.to_container(OmegaConf.load(GROUP / f"{request.param}.yaml"))
    assert isinstance(config, dict)
    options = tiny_options(request.param, tmp_path_factory.mktemp(request.param))

    def made() -> Any:
        return build({**config, **options})  # type: ignore[dict-item]

    return made


def test_follows_the_protocol(corpus: Any):
    assert isinstance(corpus(), Corpus)
    assert corpus().name


def test_the_identity_is_deterministic(corpus: Any):
    assert corpus().identity() == corpus().identity()


def test_records_come_one_at_a_time_in_one_order(corpus: Any):
    made = corpus()
    if isinstance(made, PhotoCorpus):
        pytest.skip("sends requests to a wiki")
    assert isinstance(made.records(), Iterator)
    records = list(made.records())
    assert len(records) == 2
    assert all(isinstance(record, ImageRecord) and record.image_id for record in records)
    assert [r.image_id for r in records] == [r.image_id for r in corpus().records()]
    assert any("ü.jpg" in r.image_id for r in records)


def test_weak_labels_are_aligned_with_the_records(corpus: Any):
    made = corpus()
    if not isinstance(made, LabelledCorpus):
        pytest.skip("has none")
    assert len(list(made.weak_labels())) == 2
