"""The contract of scene sources: a deterministic identity, a complete collection, readable photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from omegaconf import OmegaConf
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.factory import build
from halonerf.protocols import ResumableSource, SceneSource
from helpers.made_holyscenes import write_holyscenes
from helpers.places import CONF

GROUP = CONF / "scene"
OPTIONS = sorted(path.stem for path in GROUP.glob("*.yaml"))


def tiny_options(option: str, folder: Path) -> dict[str, Any]:
    """Arguments that make a source small, and independent of what is on this machine."""
    if option == "holyscenes":
        write_holyscenes(folder, 4)
        return {"path": str(folder / "scene"), "masks": str(folder / "masks"), "landmark": "hurba"}
    if option in ("cathedral", "mosque", "synagogue"):
        return {"photos": 2, "width": 64, "samples": 1, "workers": 1}
    names = ["one.jpg", "two.jpg", "three.jpg"]
    if option == "colmap":
        options = pycolmap.SyntheticDatasetOptions()
        options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 3, 1, 1
        options.num_points3D, options.camera_width, options.camera_height = 20, 80, 64
        model = pycolmap.synthesize_dataset(options)
        names = [model.image(i).name for i in model.reg_image_ids()]
        (folder / "sparse").mkdir(parents=True)
        model.write_binary(folder / "sparse")
    elif option not in ("photos", "facades"):
        raise AssertionError(f"name a tiny offline instance of scene source '{option}' here")
    for seed, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(seed)
        Image.fromarray(random.integers(0, 255, (64, 80, 3), np.uint8)).save(path)
        if option == "facades":
            Image.fromarray(random.integers(1, 13, (64, 80), np.uint8)).save(path.with_suffix(".png"))
    return {"path": str(folder)}


def made(option: str, root: Path) -> SceneSource:
    config: Any = OmegaConf.to_container(OmegaConf.load(GROUP / f"{option}.yaml"))
    return build(config, **tiny_options(option, root / "my building"))


@pytest.fixture(params=OPTIONS)
def option(request: pytest.FixtureRequest) -> str:
    return request.param


def test_is_a_source_with_a_name_and_a_deterministic_identity(option: str, tmp_path: Path):
    source = made(option, tmp_path)
    assert isinstance(source, SceneSource)
    assert source.resumes if isinstance(source, ResumableSource) else not hasattr(source, "resumes")
    assert source.name
    assert source.identity() == source.identity()
    assert len(source.identity()) >= 16


def test_collects_a_complete_collection(option: str, tmp_path: Path):
    source = made(option, tmp_path)
    folder = tmp_path / "collection"
    folder.mkdir()
    source.collect(folder)
    collection = Collection.read(folder)
    assert collection.name == source.name
    records = collection.records()
    assert len({r.image_id for r in records}) == len(records) >= 2
    assert [r.image_id for r in records] == sorted(r.image_id for r in records)
    for record in records:
        assert record.landmark
        with Image.open(collection.photos / record.image_id) as photo:
            assert min(photo.size) > 0
    truth = collection.truth()
    assert set(truth) <= {r.image_id for r in records}
    if collection.masks is not None:
        for mask in collection.masks.glob("*/*.png"):
            assert mask.parent.name in collection.concepts
            assert set(np.unique(np.asarray(Image.open(mask)))) <= {0, 255}
