"""The data of a shared page: splats, words, lights and photos equal those of the scene up to quantisation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.files import write_json
from halonerf.heads.lifted import Lifted
from halonerf.stages.index.stage import Index
from halonerf.stages.share import Share
from helpers.made_export import Ball
from helpers.made_folders import run_stage
from helpers.made_query import SEGMENTER
from helpers.made_share import FIELD, GAUSSIANS, HEAD, WORDS, array, element, opened_field, shared, write_share_folders


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return write_share_folders(tmp_path / "folders")


def test_the_arrays_equal_the_field_up_to_quantisation(folders, tmp_path: Path):
    page, facts = shared(folders, tmp_path / "out")
    field = opened_field(folders)
    splats = field.splats()
    assert facts["splats"] == facts["of"] == GAUSSIANS
    near = (array(page, facts, "centre") / 65535 * 2 - 1) * facts["reach"]
    length = np.linalg.norm(near, axis=1, keepdims=True)
    centres = np.where(length > 1, near / length / (2 - length), near)
    away = np.linalg.norm(splats.centres.numpy(), axis=1)
    error = np.linalg.norm(centres - splats.centres.numpy(), axis=1)
    step = 2 * facts["reach"] / 65535
    assert (
        error <= step * np.maximum(away, 1) ** 2
    ).all()  # half a step on three axes, stretched as centres were contracted
    least, most = facts["sizes"]
    scales = least * (most / least) ** (array(page, facts, "size") / 255)
    np.testing.assert_allclose(scales, splats.scales.numpy(), rtol=np.log(most / least) / 255 / 2 * 1.05)
    rotations = array(page, facts, "rotation") / 127
    cosine = np.abs(
        (rotations / np.linalg.norm(rotations, axis=1, keepdims=True) * splats.rotations.numpy()).sum(axis=1)
    )
    assert np.degrees(2 * np.arccos(np.clip(cosine, 0, 1))).max() < 1.0
    np.testing.assert_allclose(array(page, facts, "opacity") / 255, splats.opacities.numpy(), atol=0.5 / 255 + 1e-6)
    lights = [light["name"] for light in facts["lights"]]
    assert lights[0] == "mean of all photos"
    assert len(lights) == len(set(lights)) >= 3
    for number, light in enumerate(facts["lights"]):
        name = None if light["photo"] is None else facts["photos"][light["photo"]]["name"]
        code = field.mean_appearance() if name is None else field.appearance(name)
        colours = array(page, facts, f"colour/{number}") / 255
        np.testing.assert_allclose(colours, field.splat_colours(code).numpy(), atol=0.5 / 255 + 1e-6)


def test_unknown_stays_unknown(folders, tmp_path: Path):
    page, facts = shared(folders, tmp_path / "out")
    head = Lifted()
    head.load(folders["localize"] / "head.safetensors")
    for number in range(2):
        probability, confidence = (
            array(page, facts, f"probability/{number}"),
            array(page, facts, f"confidence/{number}"),
        )
        known = head.confidence()[:, number].numpy() > 0
        assert ((confidence > 0) == known).all()
        assert 40 <= (~known).sum() < GAUSSIANS / 2
        np.testing.assert_allclose(probability / 255, head.probabilities()[:, number].numpy(), atol=0.5 / 255 + 1e-6)
        order = np.argsort(head.confidence()[:, number].numpy(), kind="stable")
        assert (np.diff(confidence[order].astype(int)) >= 0).all()
        assert 0.4 < (confidence[known] > 127).mean() < 0.6  # 128 is the median of what is known
    assert facts["words"][0]["known"] == pytest.approx(float((head.confidence()[:, 0] > 0).float().mean()), abs=1e-4)
    assert facts["words"][0]["parts"]
    assert not facts["words"][0]["guess"]
    assert facts["words"][1]["guess"], "nowhere above one half"
    assert len(facts["words"][1]["parts"]) == 1, "the best guess"


def test_splats_with_the_largest_opacity_times_area_are_kept(folders, tmp_path: Path):
    page, facts = shared(folders, tmp_path / "out", splats=50)
    assert (facts["splats"], facts["of"]) == (50, GAUSSIANS)
    splats = opened_field(folders).splats()
    widest = splats.scales.sort(dim=1, descending=True).values
    weight = (splats.opacities * widest[:, 0] * widest[:, 1]).numpy()
    kept = np.sort(np.argsort(-weight)[:50])
    np.testing.assert_allclose(array(page, facts, "opacity") / 255, splats.opacities.numpy()[kept], atol=0.5 / 255)


def test_photos_come_with_their_cameras(folders, tmp_path: Path):
    _, facts = shared(folders, tmp_path / "out")
    scene = Scene(folders["ingest"])
    assert {photo["name"] for photo in facts["photos"]} == set(scene.names)
    for photo in facts["photos"]:
        view = scene.views[scene.index(photo["name"])]
        np.testing.assert_allclose(photo["pose"], view.camera_to_world.flatten().numpy(), atol=1e-6)
        assert (photo["size"], photo["focal"]) == ([64, 48], [view.fx, view.fy])
        assert photo["distance"] > 0


def test_further_words_come_from_the_index(folders, tmp_path: Path):
    names = Scene(folders["ingest"]).names
    rows = "photo,score,chosen,reason\n" + "".join(f"{name},0.9,true,\n" for name in names)
    (folders["segment"] / "choice.csv").write_text(rows)
    run_stage(Index(SEGMENTER, FIELD, max_photos=3), tmp_path / "index", folders)
    folders["index"] = tmp_path / "index"
    stage = Share(FIELD, HEAD, SEGMENTER, words=["red", "window", "red AND NOT green"])
    assert Share.requires({"words": ["red"]}) == (*Share.needs, "index")
    assert Share.requires({"words": "red", "adapted": True}) == (*Share.needs, "index", "adapt_segmenter")
    (tmp_path / "out").mkdir()
    stage.bind(tmp_path / "out", folders, 0)
    stage.prepare()
    stage.predict_step("index.html", 0)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    facts = json.loads(element(page, "facts-data"))
    assert [word["text"] for word in facts["words"]] == [*WORDS, "red", "red AND NOT green"]
    assert len({word["colour"] for word in facts["words"]}) == 4
    assert array(page, facts, "probability/2").max() > 0
    assert (array(page, facts, "probability/3") <= array(page, facts, "probability/2")).all()


class SeenBall(Ball):
    """A field without Gaussians in which every photo sees every element alike."""

    def lift(self, view, maps, weight):
        return maps.new_zeros(self.elements, maps.shape[-1]), weight.sum() * torch.ones(self.elements)


def test_a_field_without_gaussians_is_shared_as_surfels(folders, tmp_path: Path):
    head, elements = Lifted(), SeenBall().elements
    head.hold(torch.linspace(0, 1, 2 * elements).reshape(elements, 2), torch.ones(elements, 2))
    head.save(folders["localize"] / "head.safetensors")
    stage = Share({"_target_": f"{__name__}.SeenBall"}, HEAD, SEGMENTER, splats=200)
    run_stage(stage, tmp_path / "out", folders)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    facts = json.loads(element(page, "facts-data"))
    assert facts["splats"] == 200 < facts["of"]
    near = (array(page, facts, "centre") / 65535 * 2 - 1) * facts["reach"]
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), 0.5, atol=0.01)  # on the ball
    assert facts["lights"][0]["sky"] == {"low": [255, 255, 255], "high": [255, 255, 255]}
    assert set(np.unique(array(page, facts, "confidence/0"))) == {128}


def test_a_scene_without_concepts_is_shared(folders, tmp_path: Path):
    write_json(folders["localize"] / "concepts.json", [])
    head = Lifted()
    head.hold(torch.zeros(GAUSSIANS, 0), torch.zeros(GAUSSIANS, 0))
    head.save(folders["localize"] / "head.safetensors")
    _, facts = shared(folders, tmp_path / "out")
    assert facts["words"] == []
    assert facts["splats"] == GAUSSIANS


def test_a_finished_page_is_not_written_again(folders, tmp_path: Path):
    shared(folders, tmp_path / "out")
    stage = Share(FIELD, HEAD, SEGMENTER)
    stage.bind(tmp_path / "out", folders, 0)
    assert all(stage.done(item) for item in stage.items())
    assert stage.summary()["splats"] == GAUSSIANS


def test_parts_have_a_radius():
    with pytest.raises(BadInput, match=r"part_radius above 0"):
        Share(FIELD, HEAD, SEGMENTER, part_radius=0)


def test_a_malformed_expression_is_reported_before_any_stage_runs():
    assert Share.requires({"words": []}) == Share.needs
    with pytest.raises(BadInput):
        Share.requires({"words": ["portal AND"]})
