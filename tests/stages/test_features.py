"""features: photos embedded densely or crop by crop, once; and localize with a head that is fitted to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d, normalize

from halonerf.data.formats.feature_maps import FeatureMaps, read_text_embeddings
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.files import write_csv, write_json
from halonerf.stages.features import Features, crop_starts
from halonerf.stages.localize import Localize
from halonerf.types import View
from helpers.made_folders import VIEW, run_stage, write_ingest

FIELD = {"_target_": "halonerf.fields.Gaussians"}
DFF = {"_target_": "halonerf.heads.LiftedFeatures", "scales": []}
WORDS = {"red": [1.0, 0, 0, 0], "green": [0, 1.0, 0, 0], "thing": [0, 0, 0, 1.0]}


class Whole:
    """Embeds a picture as its mean colour."""

    scale = 10.0
    sizes: ClassVar[list[tuple[int, ...]]] = []

    def embed_images(self, images: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
        stack = torch.stack(list(images))
        self.sizes.append(tuple(stack.shape))
        return normalize(torch.cat([stack.mean(dim=(2, 3)), torch.zeros(len(stack), 1)], dim=1) + 1e-6, dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([WORDS[text] for text in texts])


class Dense(Whole):
    """And every eighth of it alike."""

    def embed_dense(self, images: torch.Tensor) -> torch.Tensor:
        means = adaptive_avg_pool2d(images, (images.shape[2] // 8, images.shape[3] // 8))
        return normalize(torch.cat([means, torch.zeros_like(means[:, :1])], dim=1) + 1e-6, dim=1)


WHOLE, DENSE = ({"_target_": f"{__name__}.{name}"} for name in ("Whole", "Dense"))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """A scene of four photos, red on the left and green on the right; the last is not chosen."""
    folders = {name: tmp_path / name for name in ("ingest", "segment", "reconstruct", "features")}
    names = write_ingest(folders["ingest"], 4)
    photo = np.zeros((VIEW[1], VIEW[0], 3), np.uint8)
    photo[:, : VIEW[0] // 2, 0], photo[:, VIEW[0] // 2 :, 1] = 200, 200
    (folders["ingest"] / "images.u8").write_bytes(photo.tobytes() * 4)
    folders["segment"].mkdir()
    (folders["segment"] / "maps").mkdir()
    write_json(folders["segment"] / "concepts.json", ["red", "green"])
    rows = [{"photo": n, "score": 0.5, "chosen": str(i < 3).lower(), "reason": ""} for i, n in enumerate(names)]
    write_csv(folders["segment"] / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
    for index in range(3):
        half = np.full((2, VIEW[1], VIEW[0]), 128, np.uint8)
        np.savez(folders["segment"] / "maps" / f"{index:05d}.npz", probability=half)
    return folders


def maps_of(folder: Path) -> list[list[torch.Tensor]]:
    return [list(photo) for photo in FeatureMaps(folder, range(3))]


def test_dense_maps_and_text_embeddings_are_written(tmp_path: Path, inputs: dict[str, Path]):
    stage = run_stage(Features(DENSE, DFF, phrases=["thing"]), tmp_path / "out", inputs)
    assert sorted(path.name for path in (tmp_path / "out" / "maps").iterdir()) == [
        f"{view:05d}.safetensors" for view in range(3)
    ]
    (found,) = maps_of(tmp_path / "out")[1]
    assert (found.dtype, found.shape) == (torch.float16, (4, VIEW[1] // 8, VIEW[0] // 8))
    assert (found[0, :, :4] > 0.99).all()
    assert (found[1, :, 4:] > 0.99).all()
    texts, phrases, scale = read_text_embeddings(tmp_path / "out")
    assert texts.tolist() == [WORDS["red"], WORDS["green"]]
    assert (phrases.tolist(), scale) == ([WORDS["thing"]], 10.0)
    assert stage.summary() == {"photos": 3, "dimension": 4, "scales": []}


def test_photos_can_be_enlarged(tmp_path: Path, inputs: dict[str, Path]):
    run_stage(Features(DENSE, DFF, phrases=["thing"], size=2 * VIEW[0]), tmp_path / "out", inputs)
    assert maps_of(tmp_path / "out")[0][0].shape == (4, VIEW[1] // 4, VIEW[0] // 4)


def test_a_pyramid_of_crops(tmp_path: Path, inputs: dict[str, Path]):
    Whole.sizes.clear()
    run_stage(Features(WHOLE, {**DFF, "scales": [0.25, 0.5]}, phrases=["thing"], batch=20), tmp_path / "out", inputs)
    small, large = maps_of(tmp_path / "out")[0]
    assert small.shape == (4, VIEW[1] // 6, -(-VIEW[0] // 6))  # crops of 12 px, one every 6
    assert large.shape == (4, VIEW[1] // 12, round(VIEW[0] / 12))
    for found in (small, large):
        middle = found.shape[2] / 2
        assert (found[0, :, : int(middle) - 1] > 0.99).all()
        assert (found[1, :, -(int(middle) - 1) :] > 0.99).all()
    assert {size[2:] for size in Whole.sizes} == {(12, 12), (24, 24)}
    assert max(size[0] for size in Whole.sizes) == 20


def test_a_killed_run_resumes(tmp_path: Path, inputs: dict[str, Path]):
    stage = Features(DENSE, DFF, phrases=["thing"])
    run_stage(stage, tmp_path / "whole", inputs)
    run_stage(Features(DENSE, DFF, phrases=["thing"]), tmp_path / "out", inputs, most=1)
    first = tmp_path / "out" / "maps" / "00000.safetensors"
    before = first.stat().st_mtime_ns
    assert not (tmp_path / "out" / "words.safetensors").exists()
    run_stage(Features(DENSE, DFF, phrases=["thing"]), tmp_path / "out", inputs)
    assert first.stat().st_mtime_ns == before
    for path in (tmp_path / "whole").rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes()


def wall(view: View) -> Gaussians:
    """Small, nearly opaque Gaussians in a plane that fills a view."""
    x, y = np.meshgrid(np.arange(2, view.width, 4) + 0.5, np.arange(2, view.height, 4) + 0.5)
    rays = np.stack([(x - view.cx) / view.fx, (y - view.cy) / view.fy, np.ones_like(x)], axis=-1).reshape(-1, 3)
    points = view.centre + torch.from_numpy(rays).float() @ view.camera_to_world[:, :3].T
    field = Gaussians()
    field.initialise(points, torch.full_like(points, 0.5), ["made"], seed=0)
    with torch.no_grad():
        field.log_scales.fill_(math.log(2.5 / view.fx))  # of 2.5 px
        field.opacity_logits.fill_(3.0)
    return field


@pytest.mark.parametrize(
    ("retriever", "scales", "rivals"), [(DENSE, [], "words"), (WHOLE, [0.25, 0.5], "phrases")], ids=["dff", "lerf"]
)
def test_localize_fits_to_the_maps(
    tmp_path: Path, inputs: dict[str, Path], retriever: dict[str, Any], scales: list[float], rivals: str
):
    """Of one photo alone, as the made cameras do not agree on left and right; rendered in its view again."""
    scene = Scene(inputs["ingest"])
    rows = [{"photo": n, "score": 0.5, "chosen": str(i == 1).lower(), "reason": ""} for i, n in enumerate(scene.names)]
    write_csv(inputs["segment"] / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
    field = wall(scene.views[1])
    inputs["reconstruct"].mkdir()
    field.save(inputs["reconstruct"] / "field.safetensors")
    head = {**DFF, "scales": scales, "rivals": rivals}
    run_stage(Features(retriever, head, phrases=["thing"]), inputs["features"], inputs)
    assert Localize.requires({"head": head}) == ("ingest", "segment", "reconstruct", "features")
    assert Localize.requires({"head": {"_target_": "halonerf.heads.Lifted"}}) == Localize.needs
    stage = Localize(head, FIELD, weights="score")
    stage.needs = Localize.requires({"head": head})  # type: ignore[misc]
    run_stage(stage, tmp_path / "out", inputs)
    with np.load(tmp_path / "out" / "renders" / "00001.npz") as drawn:
        probability, confidence = drawn["probability"] / 65535, drawn["confidence"]
    assert probability.shape == (2, VIEW[1], VIEW[0])
    seen = confidence[0] > 0.5
    left, right = seen & (np.arange(VIEW[0]) < 20), seen & (np.arange(VIEW[0]) >= 44)
    assert left.any()
    assert right.any()
    for word, (here, there) in enumerate(((left, right), (right, left))):
        assert np.median(probability[word][here]) > np.median(probability[word][there]) + 0.1


class Encoder:
    """The picture itself: an encoder without texts."""

    def embed_dense(self, images: torch.Tensor) -> torch.Tensor:
        return images


def test_a_stroke_on_one_photo_is_carried_to_the_others(tmp_path: Path, inputs: dict[str, Path]):
    """A red half and a green one, annotated in a few pixels of one photo; features of all photos."""
    scene = Scene(inputs["ingest"])
    field = wall(scene.views[1])
    inputs["reconstruct"].mkdir()
    field.save(inputs["reconstruct"] / "field.safetensors")
    write_json(inputs["segment"] / "concepts.json", ["red"])
    rows = [{"photo": n, "score": 0.5, "chosen": str(i == 1).lower(), "reason": ""} for i, n in enumerate(scene.names)]
    write_csv(inputs["segment"] / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
    probability, known = np.zeros((1, VIEW[1], VIEW[0]), np.uint8), np.zeros((1, VIEW[1], VIEW[0]), bool)
    probability[0, 4:12, 4:12] = 255
    known[0, 4:12, 4:12] = known[0, 4:12, -12:-4] = True
    np.savez(inputs["segment"] / "maps" / "00001.npz", probability=probability, known=known)
    head = {"_target_": "halonerf.heads.FewShot", "min_confidence": 0.01}
    encoder = {"_target_": f"{__name__}.Encoder"}
    run_stage(Features(encoder, head), inputs["features"], inputs)
    assert len(list((inputs["features"] / "maps").iterdir())) == 4
    assert not (inputs["features"] / "words.safetensors").exists()
    stage = Localize(head, FIELD, weights="score")
    stage.needs = Localize.requires({"head": head})  # type: ignore[misc]
    run_stage(stage, tmp_path / "out", inputs)
    with np.load(tmp_path / "out" / "renders" / "00001.npz") as drawn:
        probability, confidence = drawn["probability"][0] / 65535, drawn["confidence"][0]
    seen = confidence > 0.5
    left, right = seen & (np.arange(VIEW[0]) < 20), seen & (np.arange(VIEW[0]) >= 44)
    assert np.median(probability[left]) > np.median(probability[right]) + 0.1  # the made cameras do not agree


def test_an_encoder_without_texts_serves_no_text_head(tmp_path: Path, inputs: dict[str, Path]):
    with pytest.raises(BadInput, match="embeds texts, got Encoder"):
        run_stage(Features({"_target_": f"{__name__}.Encoder"}, DFF), tmp_path / "out", inputs)


def test_mistakes_are_reported(tmp_path: Path, inputs: dict[str, Path]):
    with pytest.raises(BadInput, match=r"Whole, which has no embed_dense.*\n.*head=lerf"):
        run_stage(Features(WHOLE, DFF), tmp_path / "out", inputs)
    with pytest.raises(BadInput, match=r"head\.scales in .*got \[2\.0\]"):
        Features(DENSE, {**DFF, "scales": [2.0]})


def test_crops_tile_the_photo():
    assert crop_starts(100, 20, 0.5) == [0, 5, 15, 25, 35, 45, 55, 65, 75, 80]
    assert crop_starts(100, 100, 0.5) == [0, 0]
    assert crop_starts(3, 20, 0.5) == [0, 0]
    assert crop_starts(5, 1, 0.9) == [min(4, max(0, round((k + 0.5) / 10 - 0.5))) for k in range(50)]
