"""Training data from photos with complete masks: storage, crops, split into training and test photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from halonerf.data.sources.indexed_masks import IndexedMasks
from halonerf.data.sources.photo_folder import PhotoFolder
from halonerf.data.training.masked_photos import MaskedPhotos
from halonerf.data.training.procedural import WHOLE
from halonerf.errors import BadInput

CLASSES = {f"part {number}": number for number in range(1, 10)}  # nine: more than a byte holds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five photos of a stripe a class, portraits and landscapes; the stripe's tone is ten times its number."""
    root = tmp_path / "façades"
    root.mkdir()
    for index in range(5):
        height, width = ((60, 90), (90, 60))[index % 2]
        numbers = np.tile((np.arange(width) * 10 // width).astype(np.uint8), (height, 1))
        Image.fromarray(np.repeat((numbers * 10)[..., None], 3, axis=-1)).save(root / f"ö{index}.bmp")
        Image.fromarray(numbers).save(root / f"ö{index}.png")
    return root


def data(folder: Path, **options: Any) -> MaskedPhotos:
    return MaskedPhotos(IndexedMasks(str(folder), CLASSES), **({"test_photos": 2, "size": 45} | options))


def test_photos_are_shrunk_with_their_masks(folder: Path, tmp_path: Path):
    training = data(folder).train(tmp_path)
    assert [sample.image().shape for sample in training] == [(30, 45, 3), (45, 30, 3), (30, 45, 3)]
    for sample in training:
        tone = sample.image()[..., 0].astype(int)
        for number in range(1, 10):
            mask = sample.mask(f"part {number}", *tone.shape)
            assert mask.dtype == bool
            # Half a pixel belongs to two stripes at most; 0.5 of it decides.
            np.testing.assert_array_equal(mask[np.abs(tone - 10 * number) < 4], True)
            np.testing.assert_array_equal(mask[np.abs(tone - 10 * number) > 6], False)
        assert not sample.mask("dome", *tone.shape).any()


def test_small_photos_stay_as_they_are(folder: Path, tmp_path: Path):
    assert data(folder, size=500).train(tmp_path)[0].image().shape == (60, 90, 3)


def test_the_last_photos_are_test_photos_with_a_close_up_each(folder: Path, tmp_path: Path):
    made = data(folder, close=[0.4, 0.6])
    training, testing = made.train(tmp_path), made.test(tmp_path)
    assert [sample.name for sample in training] == ["ö0.bmp", "ö1.bmp", "ö2.bmp"]
    assert [(sample.name, sample.subject == WHOLE) for sample in testing] == [
        (name, whole) for name in ("ö3.bmp", "ö4.bmp") for whole in (True, False)
    ]
    for whole, part in zip(testing[::2], testing[1::2], strict=True):
        height, width = part.image().shape[:2]
        assert height == width
        assert 12 <= height <= 18
        top, left = part.window[:2]
        window = (slice(top, top + height), slice(left, left + width))
        np.testing.assert_array_equal(part.image(), whole.image()[window])
        np.testing.assert_array_equal(
            part.mask("part 9", height, width), whole.mask("part 9", *whole.image().shape[:2])[window]
        )
    assert [sample.window for sample in made.test(tmp_path)] == [sample.window for sample in testing]


def test_photos_are_stored_once(folder: Path, tmp_path: Path):
    file = data(folder).train(tmp_path)[0].file
    before = file.stat().st_mtime_ns
    assert data(folder).train(tmp_path)[0].file == file
    assert file.stat().st_mtime_ns == before
    assert data(folder, size=30).train(tmp_path)[0].file.parent != file.parent
    assert len(list(file.parent.iterdir())) == 5 + 1
    assert sorted(path.name for path in file.parent.parent.iterdir()) == sorted(
        data(folder, size=size).train(tmp_path)[0].file.parent.name for size in (30, 45)
    )


def test_words(folder: Path, tmp_path: Path):
    assert data(folder).vocabulary(tmp_path) == {concept: [concept] for concept in CLASSES}
    words = {"part 3": ["door", "tür"]}
    assert data(folder, words=words).vocabulary(tmp_path) == words
    with pytest.raises(BadInput, match="got dome"):
        data(folder, words={"dome": ["dome"]}).vocabulary(tmp_path)


def test_sources_without_masks_are_refused(folder: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="complete masks"):
        MaskedPhotos(PhotoFolder(str(folder))).train(tmp_path)
    with pytest.raises(BadInput, match="more photos than the 5"):
        data(folder, test_photos=5).train(tmp_path)
    whole = (folder / "ö0.bmp").read_bytes()
    (folder / "ö0.bmp").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"ö0\.bmp, but it cannot be read"):
        data(folder).train(tmp_path)
    with pytest.raises(BadInput, match=r"training_data\.close=\[smallest,largest\], got \[0\.5, 0\.2\]"):
        data(folder, close=[0.5, 0.2])
