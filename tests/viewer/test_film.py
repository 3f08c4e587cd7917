"""Films along a path, and the numbered files in which they are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.camera_paths.path import CameraPath, KeyFrame
from halonerf.errors import BadInput
from halonerf.viewer.engine import Engine
from halonerf.viewer.film import FilmCancelled, check_lights, render_film
from halonerf.viewer.saved_files import keep_numbered, save_numbered, temporary_file
from helpers.made_engine import made_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return made_engine(tmp_path_factory.mktemp("folders"))


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
    with temporary_file(tmp_path, ".mp4") as path:
        path.write_bytes(b"whole")
        assert keep_numbered(path, tmp_path, "film.mp4").name == "film_0041.mp4"
    assert (tmp_path / "film_0041.mp4").read_bytes() == b"whole"


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


def test_a_gif_has_the_frames_of_the_film(engine: Engine, tmp_path: Path):
    path = path_of(engine, light=engine.photos[1])
    made = render_film(tmp_path / "a.gif", path, engine, (64, 48), 5.0, lambda share: True)
    with Image.open(made) as picture:
        assert (picture.n_frames, picture.size) == (5, (64, 48))
        first = np.asarray(picture.convert("RGB")).astype(int)
    view = path.sample(5.0)[0].view(64, 48)
    expected = engine.render(view, engine.light(engine.photos[1])).colour.clamp(0, 1).numpy() * 255
    assert np.abs(first - expected).mean() < 12, "256 colours, dithered"
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"], "its stored frames are gone"
