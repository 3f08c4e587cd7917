"""A category of a simulated Wikimedia Commons becomes a collection; other files are left out with a reason."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.commons.attribution import credit_line, read_attribution
from halonerf.data.commons.corpus import Commons
from halonerf.data.sfm.photo_checks import check_photos
from halonerf.data.sources.photo_folder import list_photos
from halonerf.protocols import PhotoCorpus, ResumableSource
from helpers.made_commons import CONTACT, MadeCommons, photo_bytes, serving

ROOT = "Cologne Cathedral"
QUICK = {"rate": 1000.0, "pause": 0.01, "retries": 2, "timeout": 5.0, "min_pixels": 0, "contact": CONTACT}


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeCommons]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = MadeCommons()
    made.categories = {ROOT: ["Portals of Cologne Cathedral"], "Portals of Cologne Cathedral": []}
    with serving(made):
        yield made


def source(wiki: MadeCommons, category: str = ROOT, **options: Any) -> Commons:
    return Commons(category, **{**QUICK, "api": wiki.api, **options})


def collected(commons: Commons, folder: Path) -> Collection:
    folder.mkdir(parents=True, exist_ok=True)
    commons.collect(folder)
    return Collection.read(folder)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_commons_is_a_photo_corpus(wiki: MadeCommons):
    assert isinstance(source(wiki), PhotoCorpus)
    assert isinstance(source(wiki), ResumableSource)


def test_captions_and_categories_are_plain_text(wiki: MadeCommons, tmp_path: Path):
    wiki.add(
        "Kölner Dom – Portal.jpg",
        "Portals of Cologne Cathedral",
        "Taken in 2019",
        labels={"de": "Das Hauptportal", "en": "The main portal"},
        extra={
            "ImageDescription": {
                "de": "<p>Portal &amp; <b>Tympanon</b></p>",
                "fr": "Le portail<br>principal\u202e\x07",
                "_type": "lang",
            },
            "Artist": '<a href="//x">Ada</a><span style="display: none">creator</span>',
            "Credit": {"en": "Own work", "de": "Eigenes Werk", "_type": "lang"},
            "Restrictions": "trademarked",
        },
    )
    collection = collected(source(wiki, building_type="cathedral", concepts=["portal"]), tmp_path)
    (record,) = collection.records()
    assert record.image_id == record.filename == "Kölner Dom – Portal.jpg"
    assert record.caption == "The main portal\nDas Hauptportal\nPortal & Tympanon\nLe portail principal"
    assert record.categories == (ROOT, "Taken in 2019", "Portals of Cologne Cathedral")
    assert (record.landmark, record.building_type) == (ROOT, "cathedral")
    assert (collection.name, collection.concepts) == (ROOT, ("portal",))
    (row,) = read_attribution(tmp_path)
    assert row.photo == record.image_id
    assert (row.author, row.credit, row.licence) == ("Ada", "Own work", "CC BY-SA 4.0")
    assert row.licence_url == "https://creativecommons.org/licenses/by-sa/4.0"
    assert row.source_url.startswith(f"{wiki.host}/wiki/File:K")
    assert (row.restrictions, row.changes) == ("trademarked", "")
    assert credit_line(row).startswith("Kölner Dom – Portal.jpg, by Ada, CC BY-SA 4.0, https://")
    said = [(line["kind"], line["language"]) for line in table(tmp_path / "captions.csv")]
    assert said == [("caption", "en"), ("caption", "de"), ("description", "de"), ("description", "fr")]


def test_originals_have_the_wikis_checksum_and_copies_state_their_scaling(wiki: MadeCommons, tmp_path: Path):
    wiki.add("wide.jpg", ROOT, width=200, height=100)
    wiki.add("small.jpg", ROOT)
    collected(source(wiki, width=0), tmp_path / "originals")
    for row in table(tmp_path / "originals" / "downloads.csv"):
        body = (tmp_path / "originals" / "photos" / row["photo"]).read_bytes()
        assert body == wiki.files[row["photo"]].body
        assert row["original_sha1"] == hashlib.sha1(body).hexdigest()
        assert row["sha256"] == hashlib.sha256(body).hexdigest()
    collected(source(wiki, width=120), tmp_path / "copies")
    rows = {row["photo"]: row for row in table(tmp_path / "copies" / "downloads.csv")}
    assert (rows["wide.jpg"]["width"], rows["wide.jpg"]["height"]) == ("120", "60")
    assert (rows["small.jpg"]["width"], rows["small.jpg"]["height"]) == ("64", "48")
    with Image.open(tmp_path / "copies" / "photos" / "wide.jpg") as photo:
        assert photo.size == (120, 60)
    changes = {row.photo: row.changes for row in read_attribution(tmp_path / "copies")}
    assert changes == {"small.jpg": "", "wide.jpg": "scaled by the wiki from 200 x 100 pixels to 120 x 60"}


def test_files_that_are_not_free_photos_are_left_out_with_a_reason(wiki: MadeCommons, tmp_path: Path):
    wiki.add("kept.jpg", ROOT, seed=0)
    wiki.add("plan.svg", ROOT, mime="image/svg+xml")
    wiki.add("book.pdf", ROOT, mime="application/pdf")
    wiki.add("film.webm", ROOT, mime="video/webm")
    wiki.add("scan.tif", ROOT, mime="image/tiff")
    wiki.add("gone.jpg", ROOT, deleted=True)
    wiki.add("vanished.jpg", ROOT)
    wiki.add("nc.jpg", ROOT, extra={"LicenseShortName": "CC BY-NC 2.0", "License": "cc-by-nc-2.0"})
    wiki.add("mute.jpg", ROOT, extra={"LicenseShortName": "", "License": "", "LicenseUrl": ""})
    wiki.add("fair.jpg", ROOT, extra={"NonFree": "true"})
    wiki.add("tiny.jpg", ROOT, width=10, height=10)
    wiki.add("heavy.jpg", ROOT, body=b"\xff" * 60_000)
    wiki.add("again.jpg", ROOT, seed=0)
    wiki.add("torn.jpg", ROOT, body=b"not a photo at all")
    wiki.add("swapped.jpg", ROOT, sha1="0" * 40)
    wiki.picture = _without(wiki, "vanished.jpg")  # type: ignore[method-assign]
    collection = collected(source(wiki, min_pixels=200, max_bytes=50_000), tmp_path)
    assert [record.image_id for record in collection.records()] == ["kept.jpg"]
    reasons = {row["title"]: row["reason"] for row in table(tmp_path / "left_out.csv")}
    assert reasons.keys() == wiki.files.keys() - {"kept.jpg"}
    expected = {
        "plan.svg": "not a photo: image/svg+xml",
        "book.pdf": "not a photo: application/pdf",
        "film.webm": "not a photo: video/webm",
        "scan.tif": "not a photo: image/tiff",
        "gone.jpg": "deleted or hidden",
        "vanished.jpg": "HTTP 404",
        "nc.jpg": "licence: CC BY-NC 2.0",
        "mute.jpg": "licence: none stated",
        "fair.jpg": "licence: not free",
        "tiny.jpg": "size: 10 x 10 pixels",
        "heavy.jpg": "size: 60000 bytes",
        "again.jpg": "duplicate: the same file as kept.jpg",
    }
    assert {title: reasons[title] for title in expected} == expected
    assert reasons["torn.jpg"].startswith("cannot be read as a photo")
    assert reasons["swapped.jpg"].startswith("damaged in 3 attempts: SHA-1")
    assert sorted(p.name for p in (tmp_path / "photos").iterdir()) == ["kept.jpg"]
    assert not (tmp_path / "progress").exists()


def _without(wiki: MadeCommons, title: str) -> Any:
    usual = wiki.picture
    return lambda path: None if path.endswith(title) else usual(path)


def test_categories_are_visited_once_and_up_to_the_depth(wiki: MadeCommons, tmp_path: Path):
    wiki.categories = {
        "a": ["b", "c", "maps of a"],
        "b": ["a", "c", "d"],
        "c": ["c"],
        "d": ["e"],
        "e": [],
        "maps of a": [],
    }
    for name in wiki.categories:
        wiki.add(f"photo {name}.jpg", name)
    wiki.add("both.jpg", "b", "c")
    found = {
        depth: [
            r.image_id
            for r in collected(source(wiki, "a", depth=depth, skip=["Maps *"]), tmp_path / str(depth)).records()
        ]
        for depth in (0, 1, 2, 9)
    }
    assert found[0] == ["photo a.jpg"]
    assert found[1] == ["both.jpg", "photo a.jpg", "photo b.jpg", "photo c.jpg"]
    assert found[2] == [*found[1], "photo d.jpg"]
    assert found[9] == [*found[2], "photo e.jpg"]
    paths = {r.image_id: r.categories for r in Collection.read(tmp_path / "9").records()}
    assert paths["photo e.jpg"] == ("a", "b", "d", "e")


def test_continued_queries_are_merged(wiki: MadeCommons, tmp_path: Path):
    wiki.split, wiki.page_size = True, 7
    for i in range(20):
        wiki.add(f"{i:02d}.jpg", ROOT)
    records = collected(source(wiki), tmp_path).records()
    assert [r.image_id for r in records] == [f"{i:02d}.jpg" for i in range(20)]
    assert all(row.author == "Ada" for row in read_attribution(tmp_path))
    assert wiki.count("gcmtitle=Category:Cologne") == 6


def test_unusual_titles_give_safe_and_unique_names(wiki: MadeCommons, tmp_path: Path):
    titles = [
        "../../up.jpg",
        "a/b.jpg",
        "a_b.jpg",
        "A_B.JPG",
        ".hidden.jpg",
        "con.jpg",
        "大聖堂.jpg",
        "x" * 230 + ".jpg",
    ]
    titles += [
        "y" * 200 + "1.jpg",
        "y" * 200 + "2.jpg",
        "tab\there.jpg",
        "=cmd().jpg",
        "photo",
        "photo.png",
        'q"u?.jpeg',
    ]
    for title in titles:
        wiki.add(title, ROOT)
    usual = wiki.picture
    wiki.picture = lambda path: usual("/images/" + path.removeprefix("/images/").replace("/", "%2F"))  # type: ignore
    names = [record.image_id for record in collected(source(wiki), tmp_path).records()]
    assert len({Path(name).stem.casefold() for name in names}) == len(titles)
    assert sorted(list_photos(tmp_path / "photos")) == sorted(names)
    assert "大聖堂.jpg" in names
    assert {"_.._up.jpg", "_con.jpg", "hidden.jpg", "tab here.jpg", "photo.jpg"} <= set(names)
    assert all("/" not in name and len(name.encode()) < 255 for name in names)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(
            "photos",
            "records.csv",
            "collection.json",
            "attribution.csv",
            "captions.csv",
            "downloads.csv",
            "left_out.csv",
        )
    }
    assert {row.photo for row in read_attribution(tmp_path)} == set(names)


def test_the_next_stage_can_open_every_photo(wiki: MadeCommons, tmp_path: Path):
    wiki.add("portrait.jpg", ROOT, width=90, height=120)
    wiki.add("grey.png", ROOT, mime="image/png", width=90, height=80, body=photo_bytes(3, 90, 80, "PNG"))
    wiki.add("modern.webp", ROOT, mime="image/webp", width=90, height=80, body=photo_bytes(4, 90, 80, "WEBP"))
    collection = collected(source(wiki), tmp_path)
    facts = check_photos(collection.photos, [r.image_id for r in collection.records()], workers=1)
    assert [(fact.image_id, fact.problem) for fact in facts] == [
        ("grey.png", ""),
        ("modern.webp", ""),
        ("portrait.jpg", ""),
    ]


def test_records_without_photos_are_those_of_the_collection(wiki: MadeCommons, tmp_path: Path):
    for i in range(3):
        wiki.add(f"{i}.jpg", ROOT, labels={"en": f"portal {i}"})
    wiki.add("plan.svg", ROOT, mime="image/svg+xml")
    commons = source(wiki, photos=2)
    streamed = list(commons.records())
    assert wiki.count("/images/") == 0
    assert streamed == collected(commons, tmp_path).records()
    assert [record.caption for record in streamed] == ["portal 0", "portal 1"]
    assert table(tmp_path / "left_out.csv") == []


def test_a_photo_that_failed_does_not_count(wiki: MadeCommons, tmp_path: Path):
    for i in range(4):
        wiki.add(f"{i}.jpg", ROOT)
    wiki.picture = _without(wiki, "1.jpg")  # type: ignore[method-assign]
    assert [r.image_id for r in collected(source(wiki, photos=2), tmp_path).records()] == ["0.jpg", "2.jpg"]


def test_redirected_categories_are_followed(wiki: MadeCommons, tmp_path: Path):
    wiki.category_redirects = {"Koelner Dom": ROOT}
    wiki.add("a.jpg", ROOT)
    (record,) = collected(source(wiki, "Koelner_Dom"), tmp_path).records()
    assert record.categories == (ROOT,)


def test_the_command_line_collects_and_the_next_stage_reads(wiki: MadeCommons, tmp_path: Path):
    from halonerf.cli import composed, run

    for i in range(3):
        wiki.add(f"{i}.jpg", ROOT, labels={"de": "Das Portal des Doms"})
    options = ["corpus=commons", f"corpus.category='{ROOT}'", f"corpus.contact={CONTACT}", f"corpus.api={wiki.api}"]
    options += ["corpus.rate=1000", "corpus.min_pixels=0", f"artifacts={tmp_path}"]
    folder = run(composed(["stage=collect", *options]))
    assert isinstance(folder, Path)
    assert folder.parent == tmp_path / "Cologne_Cathedral" / "collect"
    assert len(read_attribution(folder)) == len(list((folder / "photos").iterdir())) == 3
    labels = run(composed(["stage=distill", *options]))
    assert isinstance(labels, Path)
    assert [row["label"] for row in table(labels / "labels.csv")] == ["portal"] * 3
    assert wiki.count("/images/") == 3, "what is there is not fetched again"
