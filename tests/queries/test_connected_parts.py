"""Connected parts, the cache of word maps, and coarse maps of indexed photos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from halonerf.queries.connected_parts import ConnectedPart, PartOptions, component_labels, element_spacing, find_parts
from halonerf.queries.index_files import IndexedPhoto, IndexedView
from halonerf.queries.word_maps import MAX_CACHED_WORDS, WordMapCache, downsized_logits, relative_probability
from halonerf.types import View
from helpers.made_query import Colours, noise


def balls() -> tuple[Tensor, Tensor]:
    """Centres of 200, 100 and 5 elements around x = 0, 10 and 20, one stray and one in no place; probabilities."""
    random = torch.Generator().manual_seed(0)
    places = [torch.rand(n, 3, generator=random) + torch.tensor([10.0 * k, 0, 0]) for k, n in enumerate((200, 100, 5))]
    strays = torch.tensor([[0.5, 50.0, 0.5], [torch.nan] * 3])
    return torch.cat([*places, strays]), torch.cat([torch.full((200,), 0.6), torch.full((107,), 0.9)])


def parts_of(probability: Tensor, confidence: Tensor | None = None, **options: object) -> list[ConnectedPart]:
    centres, _ = balls()
    visibility = torch.zeros(3, len(centres), dtype=torch.float16)
    visibility[0, :200], visibility[1, 200:300], visibility[2, :300] = 0.001, 0.001, 0.0005
    given = {"part_radius": 6.0, "min_elements": 4, "max_parts": 9, **options}  # radius: in spacings of 0.1
    known = torch.ones(len(centres)) if confidence is None else confidence
    return find_parts(probability, known, centres, ([4, 7, 9], visibility), 0.5, 0.1, PartOptions(**given))  # type: ignore[arg-type]


def test_neighbouring_elements_are_a_part():
    centres, probability = balls()
    parts = parts_of(probability)
    assert [len(part.elements) for part in parts] == [200, 100, 5]  # 120, 90 and 4.5 times probability
    assert [part.probability for part in parts] == pytest.approx([0.6, 0.9, 0.9])
    assert parts[0].elements.tolist() == list(range(200))
    assert np.allclose(parts[1].centre, centres[200:300].mean(dim=0), atol=1e-5)
    assert parts[1].box[0] == pytest.approx([10.0, 0.0, 0.0], abs=0.1)
    assert parts[1].box[1] == pytest.approx([11.0, 1.0, 1.0], abs=0.1)
    assert [part.photos for part in parts] == [[4, 9], [7, 9], []]


def test_parts_are_sorted_by_size_times_probability():
    _, probability = balls()
    probability[:200] = 0.5
    probability[:120] = 0.1
    assert [len(part.elements) for part in parts_of(probability)] == [100, 80, 5]
    assert len(parts_of(probability, max_parts=1)) == 1
    assert [len(part.elements) for part in parts_of(probability, min_elements=90)] == [100]


def test_a_large_radius_joins_all_parts():
    centres, probability = balls()
    parts = parts_of(probability, part_radius=600.0)
    assert [len(part.elements) for part in parts] == [len(centres) - 1]


def clumps(random: np.random.Generator) -> np.ndarray:
    """Four dense clumps of 200 elements each, far smaller than the radius of 1, in a row with gaps of 0.9, 0.9, 1.1."""
    places = np.repeat([0.0, 0.9, 1.8, 2.9], 200)[:, None] * [1.0, 0.0, 0.0]
    return places + random.uniform(-1e-3, 1e-3, (800, 3))


def chain(random: np.random.Generator) -> np.ndarray:
    """A winding chain of 500 elements, each 0.99 from the next."""
    steps = random.normal(size=(500, 3))
    return np.cumsum(0.99 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


def cloud(random: np.random.Generator) -> np.ndarray:
    """A thousand elements at random, about one within the radius of each, in several orders of density."""
    return np.concatenate([random.uniform(0, 10, (500, 3)), random.normal(scale=0.3, size=(500, 3))])


@pytest.mark.parametrize("shape", [clumps, chain, cloud])
@pytest.mark.parametrize("seed", range(3))
def test_all_points_within_the_radius_are_connected(shape: Callable[[np.random.Generator], np.ndarray], seed: int):
    points = shape(np.random.default_rng(seed))
    near = np.linalg.norm(points[:, None] - points[None], axis=2) <= 1
    number, expected = connected_components(near, directed=False)
    found = component_labels(points, 1.0)
    pairs = set(zip(found.tolist(), expected.tolist(), strict=True))
    assert len(pairs) == number == len(set(found.tolist()))
    assert shape is cloud or number == {clumps: 2, chain: 1}[shape]


def test_unknown_or_improbable_elements_belong_to_no_part():
    _, probability = balls()
    unknown = torch.ones(len(probability))
    unknown[200:300] = 0
    assert [len(part.elements) for part in parts_of(probability, unknown)] == [200, 5]
    assert parts_of(torch.full_like(probability, 0.49)) == []
    assert parts_of(torch.zeros_like(probability)) == []


def test_a_single_element_can_be_a_part():
    _, probability = balls()
    alone = torch.zeros_like(probability)
    alone[305] = 1.0
    (part,) = parts_of(alone, min_elements=1)
    assert part.box.tolist() == [[0.5, 50.0, 0.5]] * 2


def test_parts_are_described_in_the_model_frame():
    centres, probability = balls()
    back = np.diag([2.0, 2.0, 2.0, 1.0])
    back[:3, 3] = [1.0, 0.0, -1.0]
    part = parts_of(probability)[0]
    described = part.describe("<b>", ["a"] * 10, back, centres)
    assert described["text"] == "<b>"
    assert described["centre_model"] == pytest.approx((2 * part.centre + [1, 0, -1]).tolist(), abs=1e-4)
    assert np.allclose(described["box_model"], 2 * part.box + [1, 0, -1], atol=1e-4)


def test_the_spacing_of_a_grid_is_its_step():
    axis = torch.arange(6.0)
    cube = torch.cartesian_prod(axis, axis, axis)
    assert element_spacing(cube, torch.ones(216, dtype=torch.bool)) == 1.0
    cube[0] = torch.nan
    assert element_spacing(cube, torch.ones(216, dtype=torch.bool)) == 1.0
    assert element_spacing(cube, torch.zeros(216, dtype=torch.bool)) == 0.0


def photo(height: int, width: int, seed: int) -> IndexedPhoto:
    camera = IndexedView(width, height, 1.0, 1.0, 0.0, 0.0, torch.eye(3, 4))
    pixels = Colours().encode(noise((1, 3, 2 * height, 2 * width), seed))["pixels"]
    return IndexedPhoto(seed, {"pixels": pixels.half(), "size": torch.tensor([[height, width]])}, camera)


def cache_of(photos: list[IndexedPhoto], batch: int = 8, sky: str | None = None) -> WordMapCache:
    return WordMapCache(Colours(), photos, batch, sky, torch.device("cpu"))


@pytest.mark.parametrize("ready", [256e6, 0])
def test_maps_do_not_depend_on_shapes_and_batches(ready: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("halonerf.queries.word_maps.READY_BYTES", ready)
    photos = [photo(6, 8, 0), photo(8, 6, 1), photo(6, 8, 2), photo(6, 8, 3), photo(5, 5, 4)]
    together = cache_of(photos, 2).maps(["red", "blue"], [])
    assert [tuple(p.shape) for p, _ in together] == [(6, 8, 2), (8, 6, 2), (6, 8, 2), (6, 8, 2), (5, 5, 2)]
    for one, (probability, known) in zip(photos, together, strict=True):
        (alone,) = cache_of([one]).maps(["red", "blue"], [])
        torch.testing.assert_close(probability, alone[0])
        assert known.min() == 1
        torch.testing.assert_close(probability[..., 1], one.encoding["pixels"][0, 2].float(), atol=1e-3, rtol=0)


def test_the_cache_of_word_maps_is_limited():
    cache = cache_of([photo(6, 8, 0)])
    first = cache.maps(["red"], [])[0][0]
    cache.segmenter = None  # type: ignore[assignment] - asking again would fail
    assert torch.equal(cache.maps(["red"], [])[0][0], first)
    cache.segmenter = Colours()
    for k in range(MAX_CACHED_WORDS):
        cache.maps([f"word {k}"], [])
    assert len(cache._cache) == MAX_CACHED_WORDS
    assert "red" not in cache._cache


def test_relevancy_of_equal_logits_is_one_half():
    p = torch.tensor([0.1, 0.5, 0.9])
    assert relative_probability(p, p).tolist() == pytest.approx([0.5] * 3)
    assert relative_probability(torch.tensor(0.8), torch.tensor(0.2)).item() == pytest.approx(
        16 / 17
    )  # odds 4 over odds 1/4


def test_coarse_cells_average_the_known_pixels():
    logits = torch.full((4, 4), 0.0)
    logits[:2, :2] = torch.nan
    logits[2:, 2:] = 20.0
    probability, known = downsized_logits(logits, (4, 4))
    assert probability.flatten()[0] == 0
    assert probability[3, 3] == pytest.approx(1.0)
    assert (known == (~torch.isnan(logits)).float()).all()
    probability, known = downsized_logits(logits, (1, 1))
    assert known.item() == pytest.approx(0.75, abs=0.01)
    assert probability.item() == pytest.approx((0.5 * 8 + 1.0 * 4) / 12, abs=0.02)


def test_an_indexed_view_keeps_its_type_across_devices():
    camera = photo(6, 8, 0).camera
    assert isinstance(camera.to("cpu"), IndexedView)
    assert isinstance(camera, View)
