"""Names as tables and models write them stand for the right photos, or for none."""

from __future__ import annotations

import unicodedata

import pytest

from halonerf.data.photo_names import PhotoNames

NFC, NFD = (unicodedata.normalize(form, "Sacré.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("written", "photo"),
    [
        ("sub/North portal.JPG", "sub/North portal.JPG"),
        ("North portal.JPG", "sub/North portal.JPG"),
        ("./sub/North portal.JPG", "sub/North portal.JPG"),
        ("C:\\pictures\\sub\\North portal.JPG", "sub/North portal.JPG"),
        ("north PORTAL.jpg", "sub/North portal.JPG"),
        ("File:North_portal.JPG", "sub/North portal.JPG"),
        ("file: North portal.jpg", "sub/North portal.JPG"),
        ("Datei:north_portal.jpg", "sub/North portal.JPG"),
        ("https://commons.wikimedia.org/wiki/File:North%20portal.JPG?uselang=de", "sub/North portal.JPG"),
        ("North\u00a0portal.JPG", "sub/North portal.JPG"),
        ("photos/2019/Straße.jpg", "STRASSE.jpg"),
        ("North portal.png", None),
        ("rth portal.JPG", None),
        ("", None),
        ("/", None),
        ("File:", None),
    ],
)
def test_what_does_not_tell_photos_apart_is_ignored(written: str, photo: str | None):
    assert PhotoNames(["sub/North portal.JPG", "STRASSE.jpg", "other.jpg"]).find(written).photo == photo


@pytest.mark.parametrize(("file", "written"), [(NFC, NFD), (NFD, NFC), (NFD, NFC.upper())])
def test_unicode_forms_are_equal(file: str, written: str):
    assert PhotoNames([file, "Sacre.jpg"]).find(written).photo == file


def test_the_name_as_written_wins():
    names = PhotoNames(["a.jpg", "A.JPG", "x/b.jpg", "y/b.jpg", "a b.jpg", "a_b.jpg"])
    assert names.find("a.jpg").photo == "a.jpg"
    assert names.find("A.JPG").photo == "A.JPG"
    assert names.find("y/b.jpg").photo == "y/b.jpg"
    assert names.find("old/y/b.jpg").photo == "y/b.jpg"
    assert names.find("a_b.jpg").photo == "a_b.jpg"


@pytest.mark.parametrize("written", ["A.jpg", "b.jpg", "z/b.jpg", "File:a_b.jpg"])
def test_a_name_that_fits_several_is_none(written: str):
    match = PhotoNames(["a.jpg", "A.JPG", "x/b.jpg", "y/b.jpg", "a b.jpg", "a_b.jpg"]).find(written)
    assert match.photo is None
    assert len(match.candidates) == 2


def test_the_nearest_name():
    names = PhotoNames(["x/North portal.jpg", "dome.jpg"])
    assert names.nearest("Nort portal.jpg") == "x/North portal.jpg"
    assert names.nearest("qqqqq") is None
