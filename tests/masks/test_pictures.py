"""Masks of every kind of picture: what is marked, what is refused, and the frame of the photo that they end up in."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from halonerf.errors import BadInput
from halonerf.masks import MaskFolder, read_mask
from halonerf.picture_files import oriented

ROWS, COLUMNS = 48, 64
BOX = np.zeros((ROWS, COLUMNS), bool)
BOX[6:30, 10:52] = True
BLANK, FULL = np.zeros_like(BOX), np.ones_like(BOX)


def grey(low: float, high: float, kind: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.where(BOX, high, low).astype(kind))


def colours(background: tuple[int, ...], mark: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.where(BOX[..., None], mark, background).astype(np.uint8), mode)


def indexed(numbers: np.ndarray, palette: list[int]) -> Image.Image:
    picture = Image.fromarray(numbers.astype(np.uint8), "P")
    picture.putpalette(palette + [0] * (768 - len(palette)))
    return picture


VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]  # index 1 is maroon, 2 is green
PURPLE_FIRST = [68, 1, 84, 253, 231, 37]  # the background is not black
KINDS = {
    "0 and 1": (grey(0, 1), "png"),
    "0 and 38": (grey(0, 38), "png"),
    "class 7 of class numbers": (grey(0, 7), "png"),
    "1 and 2": (grey(1, 2), "png"),
    "0 and 255": (grey(0, 255), "png"),
    "30 and 90": (grey(30, 90), "png"),
    "one bit": (grey(0, 255).convert("1"), "png"),
    "16 bits, 0 and 1": (grey(0, 1, np.uint16), "png"),
    "16 bits, 0 and 65535": (grey(0, 65535, np.uint16), "png"),
    "16 bits, 0 and 255": (grey(0, 255, np.uint16), "tif"),
    "32 bits": (grey(0, 1, np.int32), "tif"),
    "float 0 and 1": (grey(0, 1, np.float32), "tif"),
    "float 0 and 255": (grey(0, 255, np.float32), "tif"),
    "float, unknown is no number": (grey(np.nan, 1, np.float32), "tif"),
    "VOC palette": (indexed(BOX, VOC), "png"),
    "VOC palette, class 2": (indexed(BOX * 2, VOC), "png"),
    "VOC palette as GIF": (indexed(BOX, VOC), "gif"),
    "palette, index 0 in purple": (indexed(BOX, PURPLE_FIRST), "png"),
    "palette of greys, white first": (indexed(~BOX, [255, 255, 255, 0, 0, 0]), "png"),
    "red on black": (colours((0, 0, 0), (255, 0, 0)), "png"),
    "dark blue on black": (colours((0, 0, 0), (0, 0, 90)), "png"),
    "red on white": (colours((255, 255, 255), (255, 0, 0)), "png"),
    "yellow on purple": (colours((68, 1, 84), (253, 231, 37)), "png"),
    "white in RGB": (colours((0, 0, 0), (255, 255, 255)), "png"),
    "1 in RGB": (colours((0, 0, 0), (1, 1, 1)), "png"),
    "overlay of opacity 100": (colours((0, 0, 0, 0), (255, 0, 0, 100), "RGBA"), "png"),
    "overlay of opacity 255": (colours((9, 200, 9, 0), (255, 0, 0, 255), "RGBA"), "webp"),
    "black ink on nothing": (colours((255, 255, 255, 0), (0, 0, 0, 255), "RGBA"), "png"),
    "opaque, white on black": (colours((0, 0, 0, 255), (255, 255, 255, 255), "RGBA"), "png"),
    "grey with opacity": (colours((0, 0), (255, 80), "LA"), "png"),
    "CMYK": (colours((0, 0, 0), (255, 255, 255)).convert("CMYK"), "tif"),
}


def saved(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **({"lossless": True, "exact": True} if path.suffix == ".webp" else {}), **options)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_the_marked_value_of_two(tmp_path: Path, kind: str):
    picture, ending = KINDS[kind]
    np.testing.assert_array_equal(read_mask(saved(picture, tmp_path / f"m.{ending}")), BOX)


@pytest.mark.parametrize("mark", [(255, 255, 255), (255, 0, 0), (40, 90, 40)])
@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_edges_may_be_soft_and_files_lossy(tmp_path: Path, mark: tuple[int, ...], ending: str):
    picture = colours((0, 0, 0), mark).resize((640, 480), Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(3))
    picture.save(tmp_path / f"m.{ending}", quality=85)
    mask = read_mask(tmp_path / f"m.{ending}")
    wanted = np.asarray(Image.fromarray(BOX).resize((640, 480), Image.Resampling.NEAREST))
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.97  # of the edge, half a pixel of the small picture


@pytest.mark.parametrize(
    ("numbers", "palette"), [("voc", VOC), ("voc", None)], ids=["indices", "class numbers without a palette"]
)
def test_void_is_not_marked(tmp_path: Path, numbers: str, palette: list[int] | None):
    values = BOX.astype(np.uint8)
    values[:3] = 255
    picture = Image.fromarray(values) if palette is None else indexed(values, palette)
    np.testing.assert_array_equal(read_mask(saved(picture, tmp_path / "m.png")), BOX)


THREE = BOX.astype(np.uint8)
THREE[30:46, 4:30] = 2
MANY = {
    "palette": (indexed(THREE, VOC), r"2 palette indices.*: 1, 2"),
    "class numbers": (Image.fromarray(THREE), r"2 class numbers.*: 1, 2"),
    "class numbers, 16 bits": (Image.fromarray(THREE.astype(np.uint16)), "2 class numbers"),
    "a trimap": (Image.fromarray((THREE * 127).astype(np.uint8)), r"grey values \(127\)"),
    "float": (Image.fromarray(THREE.astype(np.float32) / 2), r"grey values \(0\.5\)"),
    "colours": (indexed(THREE, [0, 0, 0, 255, 0, 0, 0, 255, 0]).convert("RGB"), "#00ff00"),
    "colours on purple": (indexed(THREE, [68, 1, 84, 255, 230, 30, 30, 150, 140]).convert("RGB"), "further colours"),
    "opacities": (Image.merge("LA", [grey(0, 255), Image.fromarray(THREE * 127)]), "opacities"),
}


@pytest.mark.parametrize("kind", MANY)
def test_more_than_two_classes_are_refused(tmp_path: Path, kind: str):
    picture, message = MANY[kind]
    path = saved(picture, tmp_path / ("m.tif" if picture.mode in ("F", "I;16") else "m.png"))
    with pytest.raises(BadInput, match=rf"(?s)two values.*{message}.*one mask for each concept"):
        read_mask(path)


@pytest.mark.parametrize(("value", "kind", "ending", "marked"), [
    (0, np.uint8, "png", BLANK), (0, np.uint8, "jpg", BLANK), (1, np.uint8, "png", FULL), (255, np.uint8, "jpg", FULL),
    (65535, np.uint16, "png", FULL), (0, np.float32, "tif", BLANK), (1, np.float32, "tif", FULL),
    (255, np.uint8, "png", FULL), (90, np.uint8, "png", BLANK),
])  # fmt: skip
def test_one_value_is_nothing_or_everything(tmp_path: Path, value: int, kind: type, ending: str, marked: np.ndarray):
    Image.fromarray(np.full(BOX.shape, value, kind)).save(tmp_path / f"m.{ending}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"m.{ending}"), marked)


def test_a_cut_out_photo_is_marked_where_it_is(tmp_path: Path):
    photo = np.random.default_rng(0).integers(0, 256, (*BOX.shape, 3), np.uint8)
    Image.fromarray(np.dstack([photo, BOX * np.uint8(255)]), "RGBA").save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), BOX)


def test_blank_masks_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "window").mkdir()
    for i in range(12):
        Image.fromarray(BLANK).save(tmp_path / "window" / f"{i}.png")
    with caplog.at_level(logging.WARNING):
        masks = MaskFolder.open(tmp_path)
        for i in (*range(12), 0):
            masks.read("window", f"{i}.jpg")
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 8
    assert "nothing is marked in the mask" in texts[0]
    assert "'window' counts as absent" in texts[0]
    assert texts[-1].endswith("(further blank masks are not named)")
    caplog.clear()
    MaskFolder.open(tmp_path, complete=True).read("window", "0.jpg")
    assert not caplog.records


ORIENTATIONS = range(1, 9)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_its_own_orientation_counts(tmp_path: Path, orientation: int, ending: str):
    stored = Image.fromarray(oriented(BOX * np.uint8(255), orientation, back=True))
    stored.save(tmp_path / f"m.{ending}", exif=with_orientation(orientation), quality=95)
    mask = read_mask(tmp_path / f"m.{ending}", photo_size=(COLUMNS * 10, ROWS * 10))
    np.testing.assert_array_equal(mask, BOX)


@pytest.mark.parametrize(
    ("drawn", "orientation"),
    [(drawn, o) for drawn in ("as shown", "as shown, stored turned") for o in ORIENTATIONS]
    + [("as stored", o) for o in range(5, 9)],  # with 2 to 4, the aspect is the same both ways: taken as shown
)
def test_masks_of_photos_used_as_stored(tmp_path: Path, orientation: int, drawn: str):
    """The scene's photo is [48, 64] as stored, and viewers show it turned; BOX is the mask in the scene's frame."""
    picture = Image.fromarray(BOX * np.uint8(255))
    if drawn == "as shown":
        picture = Image.fromarray(oriented(BOX * np.uint8(255), orientation))
    picture.save(tmp_path / "m.png", **({"exif": with_orientation(orientation)} if "turned" in drawn else {}))
    mask = read_mask(tmp_path / "m.png", (COLUMNS, ROWS), photo_orientation=orientation)
    np.testing.assert_array_equal(mask, BOX)


def test_another_aspect_names_the_upright_size(tmp_path: Path):
    Image.new("L", (50, 50)).save(tmp_path / "m.png")
    with pytest.raises(BadInput, match=r"upright photo of 48 x 64 px.*got 50 x 50 px"):
        read_mask(tmp_path / "m.png", (COLUMNS, ROWS), photo_orientation=6)
