"""Photos with a class number per pixel: masks for photos of any shape and image format, and errors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.sources.indexed_masks import IndexedMasks, read_index_image
from halonerf.errors import BadInput
from halonerf.masks import MaskFolder
from halonerf.picture_files import oriented

CLASSES: dict[str, Any] = {"window": 3, "wall": [2, 3]}


def numbers_of(seed: int, height: int, width: int) -> np.ndarray:
    """1 all around, a wall (2) with a window (3) in it, at another place for each seed."""
    numbers = np.ones((height, width), np.uint8)
    numbers[4:-4, 4 + seed : -4] = 2
    numbers[8:16, 10 + seed : 18 + seed] = 3
    return numbers


def write_facade(folder: Path, name: str, seed: int, height: int = 40, width: int = 60, mode: str = "P") -> np.ndarray:
    numbers = numbers_of(seed, height, width)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)).save(path)
    picture = Image.fromarray(numbers)
    if mode == "P":
        picture.putpalette([value for index in range(256) for value in (index * 37 % 256, index * 91 % 256, 7)])
    elif mode == "I;16":
        picture = Image.fromarray(numbers.astype(np.uint16))
    picture.save(path.with_suffix(".png"))
    return numbers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "Häuser in Łódź"
    write_facade(root, "a/eins.jpg", 0)
    write_facade(root, "b/zwei.JPG", 1, height=90, width=50, mode="L")
    write_facade(root, "c drei.tif", 2, mode="I;16")
    return root


def collected(source: IndexedMasks, folder: Path) -> Collection:
    folder.mkdir()
    source.collect(folder)
    return Collection.read(folder)


def test_every_photo_gets_every_mask(folder: Path, tmp_path: Path):
    collection = collected(IndexedMasks(str(folder), CLASSES), tmp_path / "out")
    names = [record.image_id for record in collection.records()]
    assert names == ["a/eins.jpg", "b/zwei.JPG", "c drei.tif"]
    assert [record.landmark for record in collection.records()] == ["eins", "zwei", "c drei"]
    assert collection.concepts == ("window", "wall")
    assert collection.masks is not None
    masks = MaskFolder.open(collection.masks)
    for seed, (name, shape) in enumerate(zip(names, [(40, 60), (90, 50), (40, 60)], strict=True)):
        truth = numbers_of(seed, *shape)
        np.testing.assert_array_equal(masks.read("window", name), truth == 3)
        np.testing.assert_array_equal(masks.read("wall", name), truth >= 2)
        assert (collection.photos / name).is_file()


def test_what_a_photo_does_not_show_has_an_empty_mask(folder: Path, tmp_path: Path):
    """A missing mask would say that nobody looked."""
    Image.fromarray(np.full((40, 60), 2, np.uint8)).save(folder / "a" / "eins.png")
    collection = collected(IndexedMasks(str(folder), CLASSES), tmp_path / "out")
    assert collection.masks is not None
    assert not MaskFolder.open(collection.masks).read("window", "a/eins.jpg").any()


def test_a_range_of_the_photos(folder: Path, tmp_path: Path):
    assert len(collected(IndexedMasks(str(folder), CLASSES, last=2), tmp_path / "head").records()) == 2
    tail = collected(IndexedMasks(str(folder), CLASSES, first=3), tmp_path / "tail")
    assert [record.image_id for record in tail.records()] == ["c drei.tif"]
    with pytest.raises(BadInput, match="at most 3"):
        IndexedMasks(str(folder), CLASSES, first=4).identity()


def test_index_images_in_a_separate_folder(folder: Path, tmp_path: Path):
    """Then photos may be PNGs, and photos without numbers are left out."""
    drawn = tmp_path / "numbers"
    for path in sorted(folder.rglob("*.png")):
        target = drawn / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    with Image.open(folder / "a" / "eins.jpg") as photo:
        photo.convert("L").save(folder / "a" / "eins.png")
    (folder / "a" / "eins.jpg").unlink()
    shutil.copy(folder / "c drei.tif", folder / "stranger.tif")
    collection = collected(IndexedMasks(str(folder), CLASSES, masks=str(drawn)), tmp_path / "out")
    assert [record.image_id for record in collection.records()] == ["a/eins.png", "b/zwei.JPG", "c drei.tif"]


def test_identity_follows_photos_numbers_and_classes(folder: Path):
    def identity(**options: Any) -> str:
        return IndexedMasks(**({"path": str(folder), "classes": CLASSES} | options)).identity()

    before = identity()
    assert identity() == before
    assert identity(classes={"window": 3}) != before
    assert identity(last=2) != before
    moved = shutil.copytree(folder, folder.parent / "elsewhere" / folder.name)
    assert identity(path=str(moved)) == before
    Image.fromarray(numbers_of(5, 40, 60)).save(folder / "c drei.png")
    assert identity() != before


def test_a_rotated_photo_is_masked_upright(folder: Path, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: 40 x 60 stored, 60 x 40 upright
    Image.fromarray(np.zeros((60, 40, 3), np.uint8)).save(folder / "a" / "eins.jpg", exif=exif)
    collection = collected(IndexedMasks(str(folder), CLASSES), tmp_path / "out")
    assert collection.masks is not None
    assert MaskFolder.open(collection.masks).read("wall", "a/eins.jpg", (60, 40)).any()


def damage(folder: Path, how: str) -> None:
    path = folder / "a" / "eins.png"
    if how == "colours":
        Image.new("RGB", (60, 40)).save(path)
    elif how == "shape":
        Image.fromarray(numbers_of(0, 40, 50)).save(path)
    elif how == "photo":
        (folder / "a" / "eins.jpg").write_bytes(b"no photo")
    else:
        path.write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("colours", "one number per pixel"),
        ("shape", "50 x 40"),
        ("photo", "expected a photo"),
        ("bytes", "cannot be read"),
    ],
)
def test_unusable_files_are_named(folder: Path, tmp_path: Path, how: str, message: str):
    damage(folder, how)
    with pytest.raises(BadInput, match=message) as caught:
        collected(IndexedMasks(str(folder), CLASSES), tmp_path / "out")
    assert "eins" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: IndexedMasks(str(f), CLASSES, first=3, last=2), "scene.first"),
        (lambda f: IndexedMasks(str(f), CLASSES, masks=str(f / "a")).identity(), "no such pair"),
        (lambda f: IndexedMasks(str(f / "nowhere"), CLASSES).identity(), "found nothing"),
    ],
)
def test_impossible_options_are_refused(folder: Path, make: Callable[[Path], Any], message: str):
    with pytest.raises(BadInput, match=message):
        make(folder)


def test_numbers_that_never_occur(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with pytest.raises(BadInput, match=r"hold only \[1, 2, 3\]"):
        collected(IndexedMasks(str(folder), {"dome": 200}), tmp_path / "out")
    collected(IndexedMasks(str(folder), {"dome": 200, "window": 3}), tmp_path / "other")
    assert "dome" in caplog.text
    assert "window" not in caplog.text


def test_real_facades(shared: Callable[[str], Path], tmp_path: Path):
    path = shared("cmp_facade")
    source = IndexedMasks(str(path), {"window": 3, "door": 4}, first=201, last=203)
    collection = collected(source, tmp_path / "out")
    assert [record.image_id for record in collection.records()] == [f"cmp_b0{i}.jpg" for i in (201, 202, 203)]
    assert collection.masks is not None
    masks = MaskFolder.open(collection.masks)
    for record in collection.records():
        with Image.open(path / record.image_id) as photo:
            share = masks.read("window", record.image_id, photo.size).mean()
        assert 0.02 < share < 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_index_images_are_turned_by_their_own_orientation(tmp_path: Path, orientation: int):
    numbers = numbers_of(2, 40, 60)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(oriented(numbers, orientation, back=True)).save(tmp_path / "n.png", exif=exif)
    np.testing.assert_array_equal(read_index_image(tmp_path / "n.png"), numbers)


def test_whole_floats_are_numbers_and_fractions_are_not(tmp_path: Path):
    Image.fromarray(numbers_of(0, 40, 60).astype(np.float32)).save(tmp_path / "n.tif")
    np.testing.assert_array_equal(read_index_image(tmp_path / "n.tif"), numbers_of(0, 40, 60))
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(BadInput, match="got fractions"):
        read_index_image(tmp_path / "f.tif")
