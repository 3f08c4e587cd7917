"""A folder of photos: search, metadata, facts about photos, and errors."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.photo_io import focal_from_exif, inspect_photo, read_photo
from halonerf.data.sfm.photo_checks import check_photos, split_usable
from halonerf.data.sources.photo_folder import PhotoFolder, list_photos
from halonerf.errors import BadInput


def save(path: Path, seed: int = 0, size: tuple[int, int] = (96, 80), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_finds_photos_of_any_name_and_depth(tmp_path: Path):
    names = ["a.JPG", "b c.jpeg", "église/Tour №1.png", "x/y/z/ü.webp", "scan.TIF"]
    for seed, name in enumerate(names):
        save(tmp_path / name, seed)
    save(tmp_path / ".thumbnails" / "t.jpg")
    save(tmp_path / "._a.jpg")
    (tmp_path / "notes.txt").write_text("no photo")
    assert list_photos(tmp_path) == sorted(names)


def test_collects_without_touching_the_folder(tmp_path: Path):
    folder, out = tmp_path / "Notre-Dame" / "photos", tmp_path / "out"
    save(folder / "one.jpg")
    out.mkdir()
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    PhotoFolder(str(folder), concepts=["rose window"], building_type="cathedral").collect(out)
    collection = Collection.read(out)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert collection.photos == folder
    assert collection.name == "Notre-Dame"
    assert collection.concepts == ("rose window",)
    (record,) = collection.records()
    assert (record.image_id, record.landmark, record.building_type) == ("one.jpg", "Notre-Dame", "cathedral")


def test_identity_depends_on_contents_not_dates(tmp_path: Path):
    path = save(tmp_path / "one.png")
    source = PhotoFolder(str(tmp_path))
    first = source.identity()
    os.utime(path, (1, 1))
    assert source.identity() == first
    save(path, seed=1)
    second = source.identity()
    assert second != first
    path.rename(tmp_path / "two.png")
    assert source.identity() != second
    assert PhotoFolder(str(tmp_path), concepts=["dome"]).identity() != source.identity()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda d: None, "found nothing"),
        (lambda d: d.mkdir(), "found nothing"),
        (lambda d: d.write_text("a file"), "found a file"),
        (lambda d: (d.mkdir(), (d / "a.txt").write_text("x"), (d / "b.md").write_text("y")), "2 files of other kinds"),
    ],
)
def test_a_folder_without_photos_is_refused(tmp_path: Path, make, found: str):
    make(tmp_path / "photos")
    with pytest.raises(BadInput, match=found):
        PhotoFolder(str(tmp_path / "photos")).collect(tmp_path)


def test_text_files_with_a_photos_ending_are_refused(tmp_path: Path):
    (tmp_path / "a.jpg").write_text("not a photo")
    with pytest.raises(BadInput, match=r"none of its 1 files.*can be\s+read"):
        PhotoFolder(str(tmp_path)).collect(tmp_path)


def test_metadata_by_path_or_by_unambiguous_file_name(tmp_path: Path):
    for seed, name in enumerate(["a/one.jpg", "b/one.jpg", "two.jpg"]):
        save(tmp_path / "photos" / name, seed)
    table = tmp_path / "table.csv"
    table.write_text(
        "Filename,caption,categories,landmark\n"
        'a/one.jpg,"Façade, west",Churches|Portals of Reims,Reims\n'
        "one.jpg,which of the two?,,\n"
        'somewhere/two.jpg,"two\nlines",Towers; Bells,\n',
        encoding="utf-8-sig",
    )
    out = tmp_path / "out"
    out.mkdir()
    PhotoFolder(str(tmp_path / "photos"), name="x", metadata=str(table)).collect(out)
    records = {r.image_id: r for r in Collection.read(out).records()}
    assert records["a/one.jpg"].caption == "Façade, west"
    assert records["a/one.jpg"].categories == ("Churches", "Portals of Reims")
    assert records["a/one.jpg"].landmark == "Reims"
    assert records["b/one.jpg"].caption == ""
    assert records["two.jpg"].caption == "two\nlines"
    assert records["two.jpg"].categories == ("Towers", "Bells")
    assert records["two.jpg"].landmark == "x"


@pytest.mark.parametrize(("text", "message"), [("title,caption\n", "title, caption"), (None, "cannot be read")])
def test_metadata_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, message: str):
    save(tmp_path / "one.jpg")
    if text is not None:
        (tmp_path / "m.csv").write_text(text)
    with pytest.raises(BadInput, match=message):
        PhotoFolder(str(tmp_path), metadata=str(tmp_path / "m.csv")).collect(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path: Path, orientation: int):
    upright = np.zeros((80, 112, 3), np.uint8)
    upright[:40, :56] = 250  # bright top left quarter
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }  # how a camera held that way stores the scene (EXIF 2.3, tag 0x0112)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo[orientation](upright))).save(tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "p.png"), upright)
    facts = inspect_photo(tmp_path, "p.png")
    assert (facts.width, facts.height) == (112, 80)


def test_focal_length_from_the_35_mm_equivalent():
    # a full-frame camera with a 50 mm lens, 3:2: the sensor is 36 mm wide
    assert focal_from_exif({0xA405: 50}, 3600, 2400) == pytest.approx(50 * 3600 / 36, rel=1e-3)
    assert focal_from_exif({0xA405: 50}, 2400, 3600) == pytest.approx(50 * 3600 / 36, rel=1e-3)


def test_focal_length_from_lens_and_sensor():
    # 10 mm lens, 4000 px on 20 mm: 200 px a mm; the photo was later halved
    block = {0x920A: 10.0, 0xA20E: 2000.0, 0xA210: 3, 0xA002: 4000}
    assert focal_from_exif(block, 4000, 3000) == pytest.approx(2000.0)
    assert focal_from_exif(block, 2000, 1500) == pytest.approx(1000.0)
    assert focal_from_exif(block, 1500, 2000, turned=True) == pytest.approx(1000.0)


@pytest.mark.parametrize("block", [{}, {0xA405: 0}, {0xA405: "wide"}, {0x920A: 10.0}, {0xA405: 60000}])
def test_no_focal_length_rather_than_a_wrong_one(block: dict):
    assert focal_from_exif(block, 4000, 3000) is None


def test_photos_are_set_aside_with_a_reason(tmp_path: Path):
    good = save(tmp_path / "a good.jpg", size=(160, 120))
    (tmp_path / "b same file.jpg").write_bytes(good.read_bytes())
    Image.fromarray(read_photo(good)).save(tmp_path / "c same pixels.png")
    (tmp_path / "d truncated.jpg").write_bytes(good.read_bytes()[:4000])
    save(tmp_path / "e tiny.png", size=(200, 63))
    (tmp_path / "f text.jpg").write_text("hello")
    (tmp_path / "g empty.jpg").write_bytes(b"")
    save(tmp_path / "h other.jpg", seed=1)
    usable, aside = split_usable(check_photos(tmp_path, list_photos(tmp_path), workers=2))
    assert [f.image_id for f in usable] == ["a good.jpg", "h other.jpg"]
    reasons = {f.image_id[0]: f.problem for f in aside}
    assert reasons["b"] == "duplicate: the same file as a good.jpg"
    assert reasons["c"] == "duplicate: the same pixels as a good.jpg"
    assert reasons["d"].startswith("unreadable")
    assert reasons["e"].startswith("tiny: 200x63 px")
    assert reasons["f"].startswith("unreadable")
    assert reasons["g"].startswith("unreadable")


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path):
    ramp = np.linspace(0, 65535, 100 * 80).reshape(80, 100).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    pixels = read_photo(tmp_path / "deep.png")
    assert pixels.shape == (80, 100, 3)
    assert np.abs(pixels[..., 0] - ramp / 257.0).max() <= 0.51  # rounding to 8 bits
