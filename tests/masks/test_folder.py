"""Folders of ground-truth masks: listing, reading, and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.errors import BadInput
from halonerf.masks import MaskFolder, concept_key, match_concepts, read_mask, resized_mask

DISC = np.hypot(*np.mgrid[-6:6, -8:8]) < 4  # 12 x 16


def draw(path: Path, mask: np.ndarray = DISC) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return path


@pytest.fixture
def masks(tmp_path: Path) -> MaskFolder:
    draw(tmp_path / "window" / "a.png")
    draw(tmp_path / "window" / "sub" / "b.png")
    draw(tmp_path / "window" / "c.jpg.png")
    draw(tmp_path / "rose window" / "a.jpg")
    (tmp_path / "README.md").write_text("drawn by hand")
    (tmp_path / "window" / "notes.txt").write_text("left one is hard")
    (tmp_path / "empty").mkdir()
    (tmp_path / ".cache").mkdir()
    draw(tmp_path / ".cache" / "a.png")
    return MaskFolder.open(tmp_path)


def test_concepts_are_the_folders_with_masks(masks: MaskFolder):
    assert masks.concepts == ["rose window", "window"]


def test_photos_are_found_nested_and_with_their_ending_kept(masks: MaskFolder):
    photos = ["a.JPG", "sub/b.jpeg", "c.jpg", "b.jpg", "d.png"]
    assert masks.photos("window", photos) == ["a.JPG", "sub/b.jpeg", "c.jpg"]
    assert masks.photos("rose window", photos) == ["a.JPG"]
    assert masks.photos("dome", photos) == []
    assert masks.unmatched(["a.jpg", "c.jpg"]) == ["window/sub/b.png"]


def test_a_mask_is_read_as_drawn(masks: MaskFolder):
    np.testing.assert_array_equal(masks.read("window", "sub/b.jpg"), DISC)
    np.testing.assert_array_equal(masks.read("window", "a.jpg", photo_size=(1600, 1200)), DISC)
    with pytest.raises(BadInput, match=r"mask of 'window' for photo 'z\.jpg'"):
        masks.read("window", "z.jpg")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16"])
def test_all_kinds_of_pictures_are_read(tmp_path: Path, mode: str):
    grey = Image.fromarray(DISC.astype(np.uint8) * 255)
    if mode == "I;16":
        picture = Image.fromarray(DISC.astype(np.uint16) * 65535)
    elif mode == "RGBA":  # a brush of one colour on nothing
        picture = Image.merge("RGBA", [Image.new("L", grey.size, c) for c in (200, 0, 0)] + [grey])
    elif mode == "LA":  # an alpha channel that says nothing
        picture = Image.merge("LA", [grey, Image.new("L", grey.size, 255)])
    else:
        picture = grey.convert(mode)
    picture.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), DISC)


def test_the_threshold_is_one_half(tmp_path: Path):
    Image.fromarray(np.array([[0, 127, 128, 255]], np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), [[False, False, True, True]])


def test_another_aspect_is_refused_with_both_sizes(masks: MaskFolder):
    with pytest.raises(BadInput, match=r"1200 x 1600 px.*got 16 x 12 px"):
        masks.read("window", "a.jpg", photo_size=(1200, 1600))


def test_errors_name_the_problem(tmp_path: Path):
    with pytest.raises(BadInput, match="does not exist"):
        MaskFolder.open(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        MaskFolder.open(tmp_path / "file")
    draw(tmp_path / "flat" / "a.png")
    with pytest.raises(BadInput, match="1 pictures directly in it"):
        MaskFolder.open(tmp_path / "flat")
    (tmp_path / "bad" / "window").mkdir(parents=True)
    (tmp_path / "bad" / "window" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(BadInput, match="cannot be read"):
        MaskFolder.open(tmp_path / "bad").read("window", "a.jpg")


def test_spellings_of_one_concept_match():
    assert concept_key("Rose_Windows") == concept_key("rose  window") == "rose window"
    assert concept_key("Balconies") == "balcony"
    assert concept_key("Arches") == "arch"
    assert concept_key("stained glass") == "stained glass"
    assert concept_key("Iconostasis") == "iconostasis"
    assert match_concepts(["domes", "Rose window", "porch"], ["dome", "rose_window", "domes"]) == {
        "domes": 2,
        "Rose window": 1,
    }


def test_the_real_masks(shared):
    masks = MaskFolder.open(shared("sacre_coeur") / "masks")
    photos = [path.name for path in (shared("sacre_coeur") / "photos").iterdir()]
    assert masks.concepts == ["domes", "portals", "statues", "windows"]
    assert masks.unmatched(photos) == []
    for concept in masks.concepts:
        for photo in masks.photos(concept, photos):
            with Image.open(shared("sacre_coeur") / "photos" / photo) as picture:
                size = picture.size
            assert 0.0 < masks.read(concept, photo, size).mean() < 0.9


def test_numbered_masks_are_dark_on_white_and_unmatched_until_paired(tmp_path: Path):
    for number, shift in ((7, 0), (12, 3)):
        grey = np.where(np.roll(DISC, shift, axis=1), 20, 235).astype(np.uint8)
        path = tmp_path / "rose_window" / f"{number:04d}-gt.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(grey).save(path, quality=95)
        Image.fromarray(grey).save(path.with_name(f"{number:04d}-img.jpg"))
    draw(tmp_path / "rose_window" / "0009.jpg")  # somebody's holiday photo
    masks = MaskFolder.open(tmp_path)
    assert (masks.numbered, masks.concepts, masks.numbers()) == (True, ["rose_window"], ["0007", "0012"])
    assert masks.photos("rose_window", ["0007.jpg", "0012.jpg", "0009.jpg"]) == []
    paired = masks.paired({"0012": "sub/0007.jpg"})
    assert paired.photos("rose_window", ["0007.jpg", "0012.jpg", "sub/0007.jpg"]) == ["sub/0007.jpg"]
    np.testing.assert_array_equal(paired.read("rose_window", "sub/0007.jpg"), np.roll(DISC, 3, axis=1))
    assert paired.unmatched(["sub/0007.jpg"]) == ["rose_window/0007-gt.jpg"]
    assert MaskFolder.open(draw(tmp_path / "b" / "window" / "a.png").parents[1]).numbers() == []


def test_dark_means_less_than_half(tmp_path: Path):
    """1 - L / 255 > 0.5, and what is transparent is white."""
    levels = np.array([[0, 127, 128, 255]], np.uint8)
    Image.fromarray(levels).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", dark=True), 1 - levels / 255 > 0.5)
    black, alpha = Image.new("L", (4, 1)), Image.fromarray(np.array([[0, 100, 200, 255]], np.uint8))
    Image.merge("LA", [black, alpha]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", dark=True), [[False, False, True, True]])


def test_resized_masks_take_the_nearest_pixel():
    mask = np.array([[True, False, False, False], [False, False, True, True]])
    assert resized_mask(mask, 2, 2).tolist() == [[False, False], [False, True]]
    assert resized_mask(mask, 4, 4).tolist() == np.repeat(mask, 2, axis=0).tolist()
    assert np.array_equal(resized_mask(mask, 2, 4), mask)
