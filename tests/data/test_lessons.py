"""Lessons for a segmenter: rendered once and whole, cut and relit with their masks, called by many words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from halonerf.data.augmentation import relit, resampled, square_crop
from halonerf.data.closeups import LessonBatches, plural
from halonerf.data.lessons import WHOLE, Course, find_lessons, render_lessons
from halonerf.errors import BadInput

WORDS = {"red": ["red", "rouge"], "blue": ["blue"], "never": ["never"]}


def write_lesson(folder: Path, name: str, seed: int, width: int = 40, height: int = 30) -> None:
    """A photo with a red block and a blue one at random places, and their masks."""
    random = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 128, np.uint8)
    for concept, colour in (("red", (250, 10, 10)), ("blue", (10, 10, 250))):
        top, left = random.integers(height - 14), random.integers(width // 2 - 14) + (concept == "blue") * width // 2
        mask = np.zeros((height, width), np.uint8)
        mask[top : top + 14, left : left + 14] = 255
        pixels[mask > 0] = colour
        (folder / "masks" / concept).mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(folder / "masks" / concept / f"{name}.png")
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / "photos" / f"{name}.jpg", quality=98)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lesson(tmp_path, "000_red", 0)
    write_lesson(tmp_path, "001_whole", 1)
    return tmp_path


def batches(folder: Path, **options: int) -> LessonBatches:
    given = {"prompts": 4, "batch": 6, "size": 24, "batches": 5, "seed": 3, **options}
    return LessonBatches(find_lessons(folder), WORDS, ["dog"], smallest=0.6, **given)


def test_lessons_are_found_with_what_they_show(folder: Path):
    first, second = find_lessons(folder)
    assert (first.aim, second.aim) == ("red", WHOLE)
    assert first.image().shape == (30, 40, 3)
    assert first.mask("red", 30, 40).sum() == 14 * 14
    assert not first.mask("never", 30, 40).any()
    with pytest.raises(BadInput, match="found no photo"):
        find_lessons(folder / "photos")


def test_masks_follow_the_crop_and_the_mirror(folder: Path):
    """Whatever the crop, the mirror and the light: red is where the first channel leads, blue where the third does."""
    plain = batches(folder)
    for index in range(len(plain)):
        batch = plain[index]
        names = ["red" if p.startswith(("red", "rouge")) else p.rstrip("s") for p in batch["prompts"]]
        assert names[-1] == "dog"
        assert sorted(names[:-1]) == ["blue", "never", "red"]
        images, targets = batch["images"], batch["targets"]
        assert images.shape == (6, 3, 24, 24)
        assert targets.shape == (6, 4, 24, 24)
        assert images.min() >= 0
        assert images.max() <= 1
        assert not targets[:, [names.index("never"), 3]].any()
        lead = images[:, 0] - images[:, 2]
        for name, sign in (("red", 1), ("blue", -1)):
            inside = targets[:, names.index(name)] > 0.99
            outside = targets[:, names.index("red")] + targets[:, names.index("blue")] < 0.01
            for photo in range(6):
                if inside[photo].sum() > 20 and outside[photo].sum() > 20 and lead[photo].std() > 0.05:
                    assert sign * (lead[photo][inside[photo]].mean() - lead[photo][outside[photo]].mean()) > 0


def test_a_batch_depends_on_seed_and_index_alone(folder: Path):
    first, again, other = batches(folder), batches(folder), batches(folder, seed=4)
    first[0]
    assert torch.equal(first[2]["images"], again[2]["images"])
    assert first[2]["prompts"] == again[2]["prompts"]
    assert not torch.equal(first[2]["images"], other[2]["images"])
    assert not torch.equal(first[2]["images"], first[3]["images"])


def test_synonyms_and_plurals_are_used(folder: Path):
    many = batches(folder, batches=40)
    heard = {prompt for index in range(40) for prompt in many[index]["prompts"]}
    assert heard == {"red", "reds", "rouge", "rouges", "blue", "blues", "never", "nevers", "dog"}


@pytest.mark.parametrize(
    ("one", "many"), [("tower", "towers"), ("arch", "arches"), ("gallery", "galleries"), ("day", "days")]
)
def test_plurals(one: str, many: str):
    assert plural(one) == many


def test_crops_stay_inside_and_vary():
    random = np.random.default_rng(0)
    crops = [square_crop(30, 40, 0.5, random) for _ in range(500)]
    assert all(t >= 0 and le >= 0 and t + s <= 30 and le + s <= 40 for t, le, s in crops)
    sides = [side for _, _, side in crops]
    assert min(sides) == 15
    assert max(sides) == 30
    assert max(left + side for _, left, side in crops) == 40


def test_resampling_averages():
    checker = (torch.arange(64).view(1, 8, 8).sum(dim=0) % 2).float()[None]
    torch.testing.assert_close(resampled(checker, 4).mean(), checker.mean(), atol=1e-6, rtol=0)


def test_light_changes_and_stays_a_photo():
    photo = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    lit = [relit(photo, np.random.default_rng(seed)) for seed in range(60)]
    assert all(p.min() >= 0 and p.max() <= 1 and p.isfinite().all() for p in lit)
    means = torch.stack([p.mean() for p in lit])
    assert means.min() < 0.25 < 0.6 < means.max()  # nights and bright days
    assert torch.equal(lit[5], relit(photo, np.random.default_rng(5)))


def test_rendered_buildings_are_whole_and_kept(tmp_path: Path):
    course = Course(photos=2, whole=0.5, width=48, samples=1)
    found = render_lessons(tmp_path, course, ["synagogue"], [1000], workers=1)
    assert len(found) == 2
    assert all(max(lesson.image().shape) == 48 for lesson in found)
    assert any(lesson.masks for lesson in found)
    assert not list(tmp_path.rglob("*.partial"))
    before = found[0].photo.stat().st_mtime_ns
    again = render_lessons(tmp_path, course, ["synagogue"], [1000], workers=1)
    assert again == found
    assert found[0].photo.stat().st_mtime_ns == before
