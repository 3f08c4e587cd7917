"""A folder of photos: search, metadata, facts about photos, and errors."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.cli import composed
from halonerf.data.collection import Collection
from halonerf.data.photo_io import focal_from_exif, inspect_photo, read_photo
from halonerf.data.sfm.photo_checks import check_photos, split_usable
from halonerf.data.sources.colmap_folder import ColmapFolder
from halonerf.data.sources.photo_folder import PhotoFolder, find_photos, list_photos
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.pipeline.plan import resolve


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


NAMES = [
    "nb\u00a0space.jpg", "Screenshot at 1.00\u202fPM.png", "\u200f\u05e9\u05dc\u05d5\u05dd.jpg",
    "family 👨\u200d👩\u200d👧.jpg", "soft\u00adhyphen.jpg", "12:30:11.jpg", "two\nlines.jpg",
    "line\u2028separator.jpg", "=1+1.jpg",
]  # fmt: skip


def test_any_name_that_is_text_is_kept(tmp_path: Path):
    for seed, name in enumerate(NAMES):
        save(tmp_path / "photos" / name, seed)
    out = tmp_path / "out"
    out.mkdir()
    PhotoFolder(str(tmp_path / "photos")).collect(out)
    collection = Collection.read(out)
    assert [record.image_id for record in collection.records()] == sorted(NAMES)
    assert collection.passed_over == {}
    assert [f.problem for f in check_photos(tmp_path / "photos", sorted(NAMES), workers=2)] == [""] * len(NAMES)


def test_what_cannot_be_used_is_passed_over_with_the_reason(tmp_path: Path):
    photos = tmp_path / "photos"
    save(photos / "a.jpg")
    save(tmp_path / "other" / "c.jpg", 1)
    save(tmp_path / "other" / "deep" / "d.jpg", 2)
    (photos / "broken.jpg").symlink_to("nowhere.jpg")
    (photos / "linked.jpg").symlink_to(tmp_path / "other" / "c.jpg")
    (photos / "linked").symlink_to(tmp_path / "other")
    (photos / "loop").symlink_to(photos)
    (photos / "again").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "deep" / "up").symlink_to(tmp_path / "other")
    os.mkfifo(photos / "pipe.jpg")
    (photos / os.fsdecode(b"caf\xe9.jpg")).write_bytes((photos / "a.jpg").read_bytes())
    names, passed = find_photos(photos)
    assert names == ["a.jpg", "again/c.jpg", "again/deep/d.jpg", "linked.jpg"]
    assert passed == {
        "broken.jpg": "a link to nothing",
        "pipe.jpg": "not a file",
        "caf\\udce9.jpg": "its name is not valid UTF-8; rename it to use it",
        "linked": "a link to a folder that is searched already",
        "loop": "a link to a folder that is searched already",
        "again/deep/up": "a link to a folder that is searched already",
    }
    (tmp_path / "out").mkdir()
    source = PhotoFolder(str(photos))
    source.collect(tmp_path / "out")
    assert source.identity()
    assert Collection.read(tmp_path / "out").passed_over == passed


def test_a_folder_is_listed_under_its_own_name_rather_than_a_links(tmp_path: Path):
    save(tmp_path / "z real" / "a.jpg")
    (tmp_path / "a link").symlink_to(tmp_path / "z real")
    assert find_photos(tmp_path) == (["z real/a.jpg"], {"a link": "a link to a folder that is searched already"})


@pytest.mark.parametrize("path", ["", "  ", None])
def test_an_empty_path_is_not_the_current_folder(path: str | None):
    with pytest.raises(BadInput, match=r"scene\.path=DIR"):
        PhotoFolder(path)
    with pytest.raises(BadInput, match=r"scene\.path=DIR"):
        ColmapFolder(path)


def test_a_number_is_a_name(tmp_path: Path):
    save(tmp_path / "2023" / "a.jpg")
    given = ["scene.name=2024", "scene.concepts=[1]", "scene.building_type=7"]
    config = composed(["stage=collect", "scene=photos", f"scene.path={tmp_path / '2023'}", *given])
    source = build(resolve(config).goal.config["scene"])
    assert (source.name, source.concepts, source.building_type) == ("2024", ("1",), "7")
    assert source.identity()
    (tmp_path / "out").mkdir()
    source.collect(tmp_path / "out")
    assert Collection.read(tmp_path / "out").name == "2024"


def odd_exif(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """EXIF data with an orientation of 6 and one more tag, little-endian."""
    entries = [struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0), struct.pack("<HHI", tag, kind, count) + value]
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(sorted(entries)) + bytes(4) + bytes(64)


@pytest.mark.parametrize(
    ("tag", "kind", "count", "value"),
    [
        (0x011A, 2, 4, b"abc\0"),  # XResolution as text
        (0x0131, 5, 1, struct.pack("<I", 40)),  # Software as a fraction, 0 / 0
        (0x011A, 10, 1, struct.pack("<I", 40)),  # XResolution as a signed fraction
        (0x8769, 2, 4, b"abc\0"),  # the EXIF block's place as text
        (0x010F, 7, 4, b"\xff\xfe\0\0"),  # the maker as bytes
        (0x8769, 4, 1, struct.pack("<I", 2**31)),  # the EXIF block far beyond the end
    ],
)
def test_odd_exif_tags_cost_no_photo(tmp_path: Path, tag: int, kind: int, count: int, value: bytes):
    save(tmp_path / "a.jpg", size=(112, 80), exif=odd_exif(tag, kind, count, value))
    facts = inspect_photo(tmp_path, "a.jpg")
    assert (facts.problem, facts.width, facts.height, facts.orientation) == ("", 80, 112, 6)


RAMP = np.linspace(0, 1, 100 * 80).reshape(80, 100)
DEEP = {
    "float 0 to 1": (RAMP.astype(np.float32), "tif"),
    "float 0 to 255": ((RAMP * 255).astype(np.float32), "tif"),
    "float 0 to 65535": ((RAMP * 65535).astype(np.float32), "tif"),
    "16 bits": ((RAMP * 65535).astype(np.uint16), "png"),
    "16 bits as TIFF": ((RAMP * 65535).astype(np.uint16), "tif"),
    "12 bits": ((RAMP * 4095).astype(np.uint16), "tif"),
    "8 bits in 16": ((RAMP * 255).astype(np.uint16), "png"),
    "8 bits in 32": ((RAMP * 255).astype(np.int32), "tif"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_photos_keep_their_range(tmp_path: Path, kind: str):
    values, ending = DEEP[kind]
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    pixels = read_photo(tmp_path / f"a.{ending}")
    assert np.abs(pixels - 255 * RAMP[..., None]).max() <= 1.01  # rounding, or cutting, to 8 bits


def test_floats_of_no_known_range_are_set_aside(tmp_path: Path):
    for name, values in {"hdr": RAMP * 4, "signed": RAMP - 0.5, "huge": RAMP * 1e9}.items():
        Image.fromarray(values.astype(np.float32)).save(tmp_path / f"{name}.tif")
        problem = inspect_photo(tmp_path, f"{name}.tif").problem
        assert problem.startswith("floating-point values from ")
        assert problem.endswith("expected 0 to 1, 0 to 255 or 0 to 65535")


def test_photos_of_other_modes_are_read_as_shown(tmp_path: Path):
    colours = np.zeros((80, 100, 3), np.uint8)
    colours[:, :50], colours[:, 50:] = (200, 30, 30), (20, 160, 220)
    opacity = np.full((80, 100), 255, np.uint8)
    opacity[40:] = 0
    cut = colours * (opacity[..., None] > 0)
    photo = Image.fromarray(colours)
    with_opacity = Image.fromarray(np.dstack([colours, opacity]))
    grey = np.asarray(photo.convert("L"))
    photo.convert("CMYK").save(tmp_path / "cmyk.tif")
    with_opacity.save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([grey, opacity]), "LA").save(tmp_path / "la.png")
    indexed = photo.quantize(2)
    indexed.save(tmp_path / "p.png", transparency=indexed.getpixel((0, 0)))
    photo.quantize(2).save(tmp_path / "opaque.gif")
    Image.fromarray(np.dstack([colours, np.full_like(opacity, 90)])).save(tmp_path / "even.png")
    one = np.where(grey > 100, 255, 0).astype(np.uint8)
    Image.fromarray(one).convert("1").save(tmp_path / "bit.png")
    for name, wanted in {
        "cmyk.tif": colours,
        "rgba.png": cut,
        "la.png": np.repeat((grey * (opacity > 0))[..., None], 3, axis=2),
        "p.png": np.where(np.arange(100)[None, :, None] < 50, 0, colours),
        "opaque.gif": colours,
        "even.png": colours,
        "bit.png": np.repeat(one[..., None], 3, axis=2),
    }.items():
        assert np.abs(read_photo(tmp_path / name).astype(int) - wanted).max() <= 2, name


@pytest.mark.parametrize("ending", ["avif", "webp", "png", "jpg", "tif"])
def test_damaged_files_are_set_aside(tmp_path: Path, ending: str):
    good = save(tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(good[: len(good) // 2])
    problem = inspect_photo(tmp_path, f"a.{ending}").problem
    assert problem.startswith("unreadable: ")
    (tmp_path / "b.jpg").symlink_to("nowhere")
    assert inspect_photo(tmp_path, "b.jpg").problem == "missing: a link to nothing"
