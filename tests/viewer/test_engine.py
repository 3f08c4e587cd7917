"""What all windows share: splats, texts, lights, and uploaded photos."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from halonerf.errors import BadInput
from halonerf.queries.connected_parts import PartOptions
from halonerf.viewer.engine import Engine, read_upload
from helpers.made_engine import made_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return made_engine(tmp_path_factory.mktemp("folders"))


def test_a_browser_draws_the_most_important_gaussians(engine: Engine):
    few = Engine(engine.session, PartOptions(), max_splats=10)
    assert len(few.splats) == len(few.splats.element) == 10
    colours = few.colours(few.light("mean"))
    torch.testing.assert_close(colours, engine.colours(engine.light("mean"))[few.splats.element])
    assert not few.is_drawn_whole
    assert engine.is_drawn_whole
    assert few.find("red").probability.shape == (engine.field.elements,), "words are those of the whole field"


def test_uploads_are_photos_or_refused():
    content = io.BytesIO()
    Image.new("L", (30, 20), 99).save(content, "PNG")
    assert read_upload(content.getvalue()).size == (30, 20)
    odd = (
        b"Exif\0\0II*\0\x08\0\0\0\x02\0"
        + bytes.fromhex("1201030001000000060000001a01020004000000")
        + b"abc\0"
        + bytes(8)
    )
    turned = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(turned, "JPEG", exif=odd)  # a resolution that is text, beside an orientation
    assert read_upload(turned.getvalue()).size == (20, 30)
    large = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(large, "PNG")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    for bad in (b"", b"no photo", svg, content.getvalue()[:50], large.getvalue()):
        with pytest.raises(BadInput):
            read_upload(bad)


def test_a_field_without_an_encoder_takes_no_uploaded_photo(engine: Engine):
    assert not engine.encodes
    with pytest.raises(BadInput, match=r"field\.codes=encoder"):
        engine.encode(b"")


def test_lights_mix_linearly(engine: Engine):
    first, second = engine.photos[1], engine.photos[2]
    expected = 0.25 * engine.light(first) + 0.75 * engine.light(second)
    torch.testing.assert_close(engine.light({first: 1.0, second: 3.0}), expected)
    torch.testing.assert_close(engine.light({tuple(expected.tolist()): 2.0}), expected)
    with pytest.raises(BadInput, match="expected a light=own, mean, a photo's name"):
        engine.light({"/etc/passwd": 1.0})


def test_texts_are_queried_once_and_malformed_ones_refused(engine: Engine):
    assert engine.find("  blue ") is engine.find("blue"), "windows share results"
    for text in ("x" * 300, "red AND", "((red)", ""):
        with pytest.raises(BadInput):
            engine.find(text)
