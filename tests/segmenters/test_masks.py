"""What is drawn is known; what is not drawn is unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halonerf.errors import BadInput
from halonerf.segmenters.masks import Masks


def draw(path: Path, mask: np.ndarray, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).convert(mode).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    left = np.zeros((40, 60), dtype=bool)
    left[:, :30] = True
    draw(tmp_path / "rose_windows" / "a.png", left)
    draw(tmp_path / "portals" / "deep" / "b.png", ~left, mode="1")
    (tmp_path / "portals" / "README.md").write_text("stray")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_known_and_unknown(folder: Path):
    segmenter = Masks(str(folder))
    assert segmenter.vocabulary() == ["portals", "rose_windows"]
    encoded = segmenter.encode(torch.zeros(3, 3, 20, 30), names=["a.jpg", "deep/b.JPG", "c.jpg"])
    logits = segmenter.decode(encoded, ["Rose Window", "portal", "dome"])
    assert logits.shape == (3, 3, 20, 30)
    expected = torch.full((20, 30), -9.2102)  # logit of 1e-4
    expected[:, :15] = 9.2102
    torch.testing.assert_close(logits[0, 0], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(logits[1, 1], -expected, atol=1e-3, rtol=0)
    for photo, concept in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)]:
        assert logits[photo, concept].isnan().all()


def test_edges_become_soft_where_the_mask_shrinks(tmp_path: Path):
    mask = np.zeros((4, 4), dtype=bool)
    mask[:, :3] = True
    draw(tmp_path / "dome" / "a.png", mask)
    segmenter = Masks(str(tmp_path))
    probability = torch.sigmoid(segmenter.decode(segmenter.encode(torch.zeros(1, 3, 2, 2), names=["a"]), ["dome"]))
    torch.testing.assert_close(probability[0, 0], torch.tensor([[1.0, 0.5], [1.0, 0.5]]), atol=1e-3, rtol=0)


def test_place_warps_the_mask_into_the_photos_frame(folder: Path):
    segmenter = Masks(str(folder))
    asked = []

    def mirrored(name: str, drawing: np.ndarray) -> np.ndarray:
        asked.append((name, drawing.shape, drawing.dtype))
        return drawing[:10, ::-1][:, :20].copy()

    segmenter.place(mirrored)
    logits = segmenter.decode(segmenter.encode(torch.zeros(1, 3, 10, 20), names=["a.jpg"]), ["rose_windows"])
    assert asked == [("a.jpg", (40, 60), np.float32)]
    assert (logits < 0).all()  # the right of the original, mirrored


def test_transparent_pixels_are_not_part_of_a_mask(tmp_path: Path):
    pixels = np.full((8, 8, 4), 255, dtype=np.uint8)
    pixels[:, 4:, 3] = 0
    (tmp_path / "dome").mkdir()
    Image.fromarray(pixels, "RGBA").save(tmp_path / "dome" / "a.png")
    segmenter = Masks(str(tmp_path))
    logits = segmenter.decode(segmenter.encode(torch.zeros(1, 3, 8, 8), names=["a.png"]), ["dome"])[0, 0]
    assert (logits[:, :4] > 0).all()
    assert (logits[:, 4:] < 0).all()
    pixels[..., :3] = 0  # black ink on nothing
    Image.fromarray(pixels, "RGBA").save(tmp_path / "dome" / "a.png")
    again = segmenter.decode(segmenter.encode(torch.zeros(1, 3, 8, 8), names=["a.png"]), ["dome"])[0, 0]
    assert torch.equal(again, logits)


def test_mistakes_are_reported(folder: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"segmenter\.path=DIR"):
        Masks(str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="got no picture"):
        Masks(str(folder / "empty"))
    segmenter = Masks(str(folder))
    with pytest.raises(BadInput, match=r"30 x 30 px .*got 60 x 40 px"):
        segmenter.encode(torch.zeros(1, 3, 30, 30), names=["a.jpg"])
    with pytest.raises(BadInput, match="expected the names of the 1 photos"):
        segmenter.encode(torch.zeros(1, 3, 30, 30))
    (folder / "portals" / "d.png").write_bytes(b"not a picture")
    with pytest.raises(BadInput, match="cannot be read"):
        Masks(str(folder)).encode(torch.zeros(1, 3, 30, 30), names=["d.png"])
