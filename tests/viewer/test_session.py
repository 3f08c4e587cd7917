"""State of a window without a browser: words, colours, appearance, confidence, uploads, saved files and films."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halonerf.camera_paths.path import CameraPath, KeyFrame
from halonerf.errors import BadInput
from halonerf.queries.connected_parts import PartOptions
from halonerf.queries.session import QuerySession
from halonerf.stages.index.stage import Index
from halonerf.viewer.engine import Engine, read_upload
from halonerf.viewer.film import FilmCancelled, check_lights, render_film
from halonerf.viewer.saved_files import save_numbered, temporary_file
from halonerf.viewer.session import MAX_WORDS, Session
from halonerf.viewer.still_image import StillRenderer
from halonerf.visualization.overlays import confidence_colours, relative_confidence
from helpers.made_folders import run_stage
from helpers.made_query import FIELD, HEAD, SEGMENTER, write_query_folders

CONCEPTS = ("green", "red")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    root = tmp_path_factory.mktemp("folders")
    folders = write_query_folders(root)
    run_stage(Index(SEGMENTER, FIELD, max_photos=4, map_size=32), root / "index", folders)
    session = QuerySession({**folders, "index": root / "index"}, SEGMENTER, FIELD, HEAD)
    with torch.no_grad():  # codes that differ, as those of a fitted field do
        random = torch.Generator().manual_seed(0)
        session.field.codes.table.copy_(torch.randn(session.field.codes.table.shape, generator=random))
        weight = session.field.appearance_model.to_affine.weight
        weight.copy_(torch.randn(weight.shape, generator=random))
    return Engine(session, PartOptions(min_elements=2), CONCEPTS)


def test_words_get_different_colours_and_are_queried_once(engine: Engine):
    session = Session(engine, threshold=0.3)
    red, blue = session.find("red"), session.find("  blue ")
    assert red.colour != blue.colour
    assert list(session.words) == ["red", "blue"]
    assert session.find("red").result is red.result
    assert Session(engine).find("red").result is red.result, "windows share results"
    session.change("red", highlighted=False)
    assert [word.result.text for word in session.highlighted] == ["blue"]
    session.remove("red")
    session.remove("red")
    assert list(session.words) == ["blue"]


def test_splats_are_highlighted_where_the_word_is_probable(engine: Engine):
    session = Session(engine, threshold=0.3, opacity=1.0)
    plain = session.splat_colours()
    found = session.find("red").result
    highlighted = session.splat_colours()
    hot = (torch.where(found.confidence > 0, found.probability, 0.0)[engine.splats.element]) >= 0.3
    assert 0 < hot.sum() < len(hot)
    spread = np.ptp(plain[~hot].astype(int), axis=1), np.ptp(highlighted[~hot].astype(int), axis=1)
    assert (spread[1] <= spread[0] * 0.5 + 1).all(), "the rest is paler"
    colour = np.array(session.words["red"].colour) / max(session.words["red"].colour)
    hue = highlighted[hot] / highlighted[hot].max(axis=1, keepdims=True)
    assert np.abs(hue - colour).max() < 0.02


def test_a_browser_draws_the_most_important_gaussians(engine: Engine):
    few = Engine(engine.session, PartOptions(), max_splats=10)
    assert len(few.splats) == len(few.splats.element) == 10
    colours = few.colours(few.light("mean"))
    torch.testing.assert_close(colours, engine.colours(engine.light("mean"))[few.splats.element])
    assert Session(few).splat_colours().shape == (10, 3)
    assert few.find("red").probability.shape == (engine.field.elements,), "words are those of the whole field"


def test_pictures_show_the_same_as_the_splats(engine: Engine):
    session = Session(engine, threshold=0.2, opacity=1.0)
    view = engine.scene.views[1]
    plain = session.picture(view)
    session.find("red")
    highlighted = session.picture(view)
    assert plain.shape == highlighted.shape == (view.height, view.width, 3)
    assert np.array_equal(Session(engine).picture(view), plain)
    assert np.abs(highlighted.astype(int) - plain).max() > 30
    session.confidence_word = "red"
    assert not np.array_equal(session.picture(view), highlighted)


def test_confidence_shows_unknown_elements_in_grey(engine: Engine):
    session = Session(engine)
    session.find("green")
    unknown = session.find("escalator").result
    assert unknown.known == 0
    assert "does not mean absent" in session.advice(unknown, 0)
    session.confidence_word = "escalator"
    assert (session.splat_colours() == round(255 * 0.35)).all()
    session.remove("escalator")
    assert session.confidence_word is None
    relative = relative_confidence(torch.tensor([0.0, 1.0, 1e9]))
    torch.testing.assert_close(relative, torch.tensor([0.0, 0.5, 1.0]))
    half = confidence_colours(relative, torch.tensor([0.0, 0.5, 1.0]))
    assert half[0].tolist() == pytest.approx([0.35] * 3)
    assert not torch.allclose(half[2], half[0])


def test_advice_says_where_the_threshold_is_too_high(engine: Engine):
    session = Session(engine, threshold=0.99)
    found = session.find("red").result
    assert "Lower the threshold" in session.advice(found, 0)
    session.threshold = 0.1
    parts = engine.parts(found, 0.1)
    assert parts
    assert f"{len(parts)} part" in session.advice(found, len(parts))


def test_lights_mix_linearly(engine: Engine):
    first, second = engine.photos[1], engine.photos[2]
    session = Session(engine, mix={first: 1.0, second: 3.0})
    expected = 0.25 * engine.light(first) + 0.75 * engine.light(second)
    torch.testing.assert_close(session.code(), expected)
    session.mix = {tuple(expected.tolist()): 2.0}
    torch.testing.assert_close(session.code(), expected)
    session.mix = {"/etc/passwd": 1.0}
    with pytest.raises(BadInput, match="expected a light=own, mean, a photo's name"):
        session.code()


def test_malformed_long_and_surplus_texts_are_refused(engine: Engine):
    session = Session(engine)
    for text in ("x" * 300, "red AND", "((red)", ""):
        with pytest.raises(BadInput):
            session.find(text)
    for number in range(MAX_WORDS):
        session.find(f"word{number}")
    with pytest.raises(BadInput, match="remove one"):
        session.find("one more")
    session.find("word0")


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


def test_files_are_numbered_and_stay_in_their_folder(tmp_path: Path):
    folder = tmp_path / "in"
    names = [
        save_numbered(folder, name, b"1").relative_to(folder).as_posix() for name in ("a.png", "a.png", "../../b.png")
    ]
    assert names == ["a_0001.png", "a_0002.png", "b_0001.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_concurrent_saves_replace_nothing(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda number: save_numbered(tmp_path, "film.mp4", str(number).encode()), range(40)))
    assert len(set(kept)) == 40
    assert sorted(int(path.read_bytes()) for path in kept) == list(range(40))
    with temporary_file(tmp_path, ".mp4") as path:
        path.write_bytes(b"half")
    assert not path.exists()


def path_of(engine: Engine, **options: object) -> CameraPath:
    views = engine.scene.views[:2]
    return CameraPath(tuple(KeyFrame(view.camera_to_world, seconds=1.0, **options) for view in views))  # type: ignore[arg-type]


def test_a_film_is_written_atomically(engine: Engine, tmp_path: Path):
    import av

    shares: list[float] = []
    path = path_of(engine, words=("red",), light="mean")
    (tmp_path / "films").mkdir()
    made = render_film(
        tmp_path / "films" / "a.mp4", path, engine, (64, 48), 5.0, lambda share: shares.append(share) or True
    )
    with av.open(str(made)) as opened:
        assert opened.streams.video[0].frames == 5
    assert shares == sorted(shares)
    with pytest.raises(FilmCancelled):
        render_film(tmp_path / "films" / "b.mp4", path, engine, (64, 48), 5.0, lambda share: share < 0.5)
    assert [p.name for p in (tmp_path / "films").iterdir()] == ["a.mp4"]


def test_an_uploaded_path_has_only_lights_of_the_scene(engine: Engine, tmp_path: Path):
    picture = tmp_path / "light.png"
    Image.new("RGB", (8, 8)).save(picture)
    for light in (str(picture), "/etc/passwd", (1.0, 2.0)):
        with pytest.raises(BadInput):
            check_lights(path_of(engine, light=light), engine)
    assert check_lights(path_of(engine, light=engine.photos[0]), engine).keyframes[0].light == engine.photos[0]


def test_a_still_is_rendered_at_rest_and_hidden_at_a_change():
    import threading

    rendered, hidden = threading.Event(), threading.Event()
    current: list[bool] = []

    def render(is_current) -> None:
        current.append(is_current())
        rendered.set()

    still = StillRenderer(render, hidden.set, rest_s=0.05)
    try:
        still.invalidate()
        assert rendered.wait(10)
        for _ in range(200):
            if still.is_current:
                break
            threading.Event().wait(0.02)
        assert still.is_current
        assert current[-1]
        assert not hidden.is_set() or len(current) > 1
        still.invalidate()
        assert hidden.wait(10)
    finally:
        still.close()
