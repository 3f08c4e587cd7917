"""Procedural training data: rendering, batches of crops with masks, prompts and relighting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from halonerf.data.augmentation import crop_window, relit, resampled
from halonerf.data.labels.words import plural
from halonerf.data.training.batches import SampleBatches
from halonerf.data.training.procedural import WHOLE, ProceduralDataset, RenderSettings, find_samples, render_samples
from halonerf.errors import BadInput

WORDS = {"red": ["red", "rouge"], "blue": ["blue"], "never": ["never"]}


def write_sample(folder: Path, name: str, seed: int, width: int = 40, height: int = 30) -> None:
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
    write_sample(tmp_path, "000_red", 0)
    write_sample(tmp_path, "001_whole", 1)
    return tmp_path


def batches(folder: Path, negative_words: tuple[str, ...] = ("dog",), **options: float) -> SampleBatches:
    given: dict[str, Any] = {"prompts": 4, "batch": 6, "size": 24, "batches": 5, "seed": 3}
    given |= {"min_side": 0.6, "max_side": 1.0, "stretch": 0.0, "plurals": 0.5, "relight": 1.0}
    return SampleBatches(find_samples(folder), WORDS, negative_words, **(given | options))


def test_samples_are_found_with_their_masks(folder: Path):
    first, second = find_samples(folder)
    assert (first.subject, second.subject) == ("red", WHOLE)
    assert first.image().shape == (30, 40, 3)
    assert first.mask("red", 30, 40).sum() == 14 * 14
    assert not first.mask("never", 30, 40).any()
    with pytest.raises(BadInput, match="found no photo"):
        find_samples(folder / "photos")


@pytest.mark.parametrize("stretch", [0.0, 0.4])
def test_masks_follow_the_crop_the_mirror_and_the_stretch(folder: Path, stretch: float):
    """Whatever the crop, the mirror and the light: red is where the first channel leads, blue where the third does."""
    plain = batches(folder, stretch=stretch)
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


def test_without_plurals_and_negative_words_prompts_are_the_concepts(folder: Path):
    plain = batches(folder, negative_words=(), plurals=0.0, batches=20)
    heard = [plain[index] for index in range(20)]
    assert {prompt for batch in heard for prompt in batch["prompts"]} == {"red", "rouge", "blue", "never"}
    assert all(len(batch["prompts"]) == batch["targets"].shape[1] == 3 for batch in heard)


def test_crops_without_relighting_keep_their_colours(folder: Path):
    plain, lit = batches(folder, relight=0.0)[0], batches(folder, relight=1.0)[0]
    known = torch.tensor([[128, 128, 128], [250, 10, 10], [10, 10, 250]]) / 255

    def typical_distance(images: torch.Tensor) -> float:
        return float(torch.cdist(images.permute(0, 2, 3, 1).reshape(-1, 3), known).amin(dim=1).median())

    assert typical_distance(plain["images"]) < 0.03  # a few grey values: JPEG; edges are resampled and far off
    assert typical_distance(lit["images"]) > 0.1


def test_a_photo_of_one_tone_is_a_sample_too(tmp_path: Path):
    """Grey photos are read as colours; a portrait's crops have the short side's measure."""
    write_sample(tmp_path, "000_red", 0, width=34, height=90)
    with Image.open(tmp_path / "photos" / "000_red.jpg") as photo:
        photo.convert("L").save(tmp_path / "photos" / "000_red.jpg")
    batch = batches(tmp_path, relight=0.0, max_side=0.7)[0]
    assert batch["images"].shape == (6, 3, 24, 24)
    torch.testing.assert_close(batch["images"][:, 0], batch["images"][:, 2])


@pytest.mark.parametrize(
    ("one", "many"), [("tower", "towers"), ("arch", "arches"), ("gallery", "galleries"), ("day", "days")]
)
def test_plurals(one: str, many: str):
    assert plural(one) == many


def test_crops_stay_inside_and_vary():
    random = np.random.default_rng(0)
    crops = np.array([crop_window(30, 40, 0.5, 1.0, 0.0, random) for _ in range(500)])
    top, left, rows, columns = crops.T
    assert (crops[:, :2] >= 0).all()
    assert (top + rows <= 30).all()
    assert (left + columns <= 40).all()
    assert (rows == columns).all()
    assert (rows.min(), rows.max()) == (15, 30)
    assert (left + columns).max() == 40


def test_stretched_crops_keep_their_area_within_the_photo():
    random = np.random.default_rng(0)
    crops = np.array([crop_window(300, 400, 0.5, 0.6, 0.5, random) for _ in range(300)])
    ratio = np.log(crops[:, 2] / crops[:, 3])
    assert -0.51 < ratio.min() < -0.4
    assert 0.4 < ratio.max() < 0.51
    side = np.sqrt(crops[:, 2] * crops[:, 3])
    assert 149 < side.min() < side.max() < 181
    narrow = np.array([crop_window(30, 400, 1.0, 1.0, 1.0, random) for _ in range(100)])
    assert narrow[:, 2].max() == 30  # cut off, not beyond the photo
    assert crop_window(1, 1, 0.1, 0.1, 0.0, random) == (0, 0, 1, 1)


def test_resampling_averages():
    checker = (torch.arange(64).view(1, 8, 8).sum(dim=0) % 2).float()[None]
    torch.testing.assert_close(resampled(checker, 4).mean(), checker.mean(), atol=1e-6, rtol=0)


def test_relighting_changes_the_photo_and_keeps_its_range():
    photo = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    lit = [relit(photo, np.random.default_rng(seed)) for seed in range(60)]
    assert all(p.min() >= 0 and p.max() <= 1 and p.isfinite().all() for p in lit)
    means = torch.stack([p.mean() for p in lit])
    assert means.min() < 0.25 < 0.6 < means.max()  # nights and bright days
    assert torch.equal(lit[5], relit(photo, np.random.default_rng(5)))


def test_rendered_buildings_are_complete_and_reused(tmp_path: Path):
    settings = RenderSettings(photos=2, whole=0.5, width=48, samples=1)
    found = render_samples(tmp_path, settings, ["synagogue"], [1000], workers=1)
    assert len(found) == 2
    assert all(max(sample.image().shape) == 48 for sample in found)
    assert any(sample.masks for sample in found)
    assert not list(tmp_path.rglob("*.partial"))
    before = found[0].photo.stat().st_mtime_ns
    again = render_samples(tmp_path, settings, ["synagogue"], [1000], workers=1)
    assert again == found
    assert found[0].photo.stat().st_mtime_ns == before


def test_seeds_of_test_buildings_follow_those_of_training(tmp_path: Path):
    """Renders are found where they are: `renders/` beside the stage's folders, by version, options and seed."""
    data = ProceduralDataset(
        WORDS, ["dog"], ["block"], first_seed=7, buildings=2, test_buildings=1, photos=2, whole=0.5, width=40, samples=1
    )
    for seed in (7, 8, 9):
        folder = RenderSettings(2, 0.5, 40, 1).folder(tmp_path / "renders", "block", seed)
        write_sample(folder, "000_red", seed)
        write_sample(folder, "001_whole", seed)
    assert [sample.photo.parts[-3] for sample in data.train(tmp_path)] == [
        "block_7",
        "block_7",
        "block_8",
        "block_8",
    ]
    assert [sample.subject for sample in data.test(tmp_path)] == ["red", WHOLE]
    assert data.test(tmp_path)[0].photo.parts[-3] == "block_9"
    assert data.vocabulary(tmp_path) == WORDS
