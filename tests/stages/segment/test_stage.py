"""The segment stage: what it writes, what it looks for, what it trusts, and that it goes on where it was killed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import lightning
import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image

from halonerf.data.collection import write_collection
from halonerf.data.formats.names import CONCEPTS
from halonerf.data.labels.table import frequent_labels, table_path, write_labels
from halonerf.data.scene.files import Filters, write_tables
from halonerf.errors import BadInput
from halonerf.factory import build
from halonerf.files import write_at, write_csv
from halonerf.prediction import building_box, resized_probabilities, subtract_sky
from halonerf.stages.segment.agreement import WorkItem
from halonerf.stages.segment.stage import Segment
from halonerf.stages.specs import SPECS
from halonerf.types import ImageRecord, PseudoLabel

LABELS = ("image_id", "label", "confidence", "evidence")
MASKS = {"_target_": "halonerf.segmenters.Masks"}


def write_scene(folder: Path, photos: int = 4, size: int = 64) -> list[str]:
    """A finished ingest of random pixels under synthetic cameras; the names of its photos."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 1, 1, photos
    options.num_points3D, options.camera_width, options.camera_height = 60, 128, 96
    options.camera_params = [100.0, 64.0, 48.0, 0.0]
    options.camera_model_id = pycolmap.CameraModelId.SIMPLE_RADIAL
    model = pycolmap.synthesize_dataset(options)
    names = sorted(model.image(i).name for i in model.reg_image_ids())
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    pixels = size * size * 3 // 4
    for index in range(photos):
        write_at(folder / "images.u8", index * pixels * 3, random.integers(0, 255, pixels * 3, np.uint8).tobytes())
        write_at(folder / "valid.u8", index * pixels, np.ones(pixels, np.uint8).tobytes())
    split = {name: "test" if index == 0 else "train" for index, name in enumerate(names)}
    write_tables(folder, "made", model, size, Filters(4.0, 2, 0.1, 128), split)
    return names


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[dict[str, Path], list[str]]:
    """Finished collect, distill and ingest folders, and the photos' names."""
    names = write_scene(tmp_path / "ingest")
    for part in ("collect", "distill"):
        (tmp_path / part).mkdir()
    write_collection(tmp_path / "collect", "made", tmp_path, [ImageRecord(name) for name in names])
    labels = [("portal", n) for n in names] + [("dome", n) for n in names[:3]] + [("", names[0]), ("dome", "gone.jpg")]
    rows = [{"image_id": n, "label": label, "confidence": 1, "evidence": ""} for label, n in labels]
    write_csv(tmp_path / "distill" / "labels.csv", LABELS, rows)
    return {part: tmp_path / part for part in ("collect", "distill", "ingest")}, names


def draw(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * 255).astype(np.uint8)).save(path)


def run(stage: Segment, folder: Path, inputs: dict[str, Path]) -> Segment:
    folder.mkdir(exist_ok=True)
    stage.bind(folder, inputs, 0)
    stage.prepare()
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, inference_mode=False
    )
    trainer.predict(stage, datamodule=stage.datamodule(), return_predictions=False)
    stage.finish()
    return stage


def test_masks_become_maps_and_unknown_stays_unknown(tmp_path: Path, inputs):
    folders, names = inputs
    top = np.zeros((96, 128), dtype=bool)
    top[:48] = True
    draw(tmp_path / "masks" / "domes" / Path(names[1]).with_suffix(".png"), top)
    draw(tmp_path / "masks" / "portals" / Path(names[1]).with_suffix(".png"), ~top)
    draw(tmp_path / "masks" / "domes" / Path(names[2]).with_suffix(".png"), ~top)
    stage = run(Segment({**MASKS, "path": str(tmp_path / "masks")}), tmp_path / "out", folders)
    assert json.loads((tmp_path / "out" / "concepts.json").read_text()) == ["domes", "portals"]
    assert sorted(p.name for p in (tmp_path / "out" / "maps").iterdir()) == ["00001.npz", "00002.npz"]
    with np.load(tmp_path / "out" / "maps" / "00001.npz") as both:
        assert list(both) == ["probability"]
        assert both["probability"].shape == (2, 48, 64)
        assert both["probability"].dtype == np.uint8
        assert (both["probability"][0, :24] == 255).all()
        assert (both["probability"][0, 24:] == 0).all()
        assert np.array_equal(both["probability"][1], 255 - both["probability"][0])
    with np.load(tmp_path / "out" / "maps" / "00002.npz") as one:
        assert one["known"][0].all()
        assert not one["known"][1].any()
        assert (one["probability"][1] == 0).all()
    with open(tmp_path / "out" / "choice.csv", newline="") as stream:
        choice = {row["photo"]: row for row in csv.DictReader(stream)}
    assert [choice[name]["chosen"] for name in names] == ["false", "true", "true", "false"]
    assert choice[names[0]]["reason"] == "no concept known in it"
    assert (tmp_path / "out" / "overview.png").is_file()
    assert stage.summary() == {"concepts": ["domes", "portals"], "photos": 4, "photos_mapped": 2, "photos_chosen": 2}


def test_a_killed_run_resumes_with_the_missing_photos(tmp_path: Path, inputs):
    folders, names = inputs
    for name in names:
        draw(tmp_path / "masks" / "domes" / Path(name).with_suffix(".png"), np.ones((96, 128), bool))
    config = {**MASKS, "path": str(tmp_path / "masks")}
    run(Segment(config), tmp_path / "whole", folders)
    run(Segment(config), tmp_path / "killed", folders)
    for gone in ("maps/00002.npz", "photos/00002.json", "photos/00003.json", "choice.csv", "overview.png"):
        (tmp_path / "killed" / gone).unlink()
    before = (tmp_path / "killed" / "maps" / "00000.npz").stat().st_mtime_ns
    again = Segment(config)
    again.bind(tmp_path / "killed", folders, 0)
    again.prepare()
    assert list(again.datamodule().items) == [WorkItem("photos", (2,)), WorkItem("photos", (3,))]
    run(again, tmp_path / "killed", folders)
    assert (tmp_path / "killed" / "maps" / "00000.npz").stat().st_mtime_ns == before
    for path in (tmp_path / "whole").rglob("*.*"):
        if path.suffix != ".npz":  # a zip carries the time of day
            assert path.read_bytes() == (tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_bytes()
    with np.load(tmp_path / "whole/maps/00002.npz") as a, np.load(tmp_path / "killed/maps/00002.npz") as b:
        assert np.array_equal(a["probability"], b["probability"])


class Colours(torch.nn.Module):
    """Sees a colour where its channel is bright, and remembers the shapes that it was asked about."""

    asked: ClassVar[list[tuple[int, ...]]] = []
    shared_keys: ClassVar[tuple[str, ...]] = ()
    words: ClassVar[dict[str, int]] = {"cathedral": 0, "window": 1, "sky": 2}

    def encode(self, images: torch.Tensor, names: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        assert names is not None
        assert len(names) == len(images)
        self.asked.append(tuple(images.shape))
        return {"pixels": images}

    def decode(self, encoded: dict[str, torch.Tensor], prompts: Sequence[str]) -> torch.Tensor:
        channels = [self.words[prompt] for prompt in prompts]
        return torch.logit(encoded["pixels"][:, channels], eps=1e-4)


COLOURS = {"_target_": f"{__name__}.Colours"}


def paint(folder: Path, photos: int) -> np.ndarray:
    """A cathedral in columns 20 to 40 of 64 and rows 10 to 48, its windows, a kiosk, a window elsewhere, and sky."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[10:48, 20:40, 0] = 255
    picture[0:5, 60:64, 0] = 255  # the kiosk: less than the cathedral
    picture[20:30, 25:35, 1] = 255
    picture[20:30, 50:60, 1] = 255
    picture[8:25, :, 2] = 102  # a sky that is 0.4 certain
    for index in range(photos):
        write_at(folder / "images.u8", index * picture.size, picture.tobytes())
    return picture


def maps_of(folder: Path) -> np.ndarray:
    """Of all photos [V, P, H, W], and everything is known."""
    found = []
    for path in sorted((folder / "maps").iterdir()):
        with np.load(path) as arrays:
            assert list(arrays) == ["probability"]
            found.append(arrays["probability"])
    return np.stack(found)


def test_photos_are_cropped_to_the_building_and_zero_outside(tmp_path: Path, inputs):
    folders, _ = inputs
    picture = paint(folders["ingest"], 4)
    Colours.asked.clear()
    run(Segment(COLOURS, concepts=["window"], building="cathedral"), tmp_path / "out", folders)
    # 38 rows and 20 columns, a tenth more on each side, as far as the photo goes
    assert Colours.asked == [(1, 3, 48, 64), (1, 3, 42, 24)] * 4
    expected = np.where(np.arange(64) < 42, picture[..., 1], 0)  # not the window elsewhere
    assert np.array_equal(maps_of(tmp_path / "out"), np.broadcast_to(expected, (4, 1, 48, 64)))
    write_at(folders["ingest"] / "images.u8", 0, bytes(picture.size * 4))  # nothing to crop to
    Colours.asked.clear()
    run(Segment(COLOURS, concepts=["window"], building="cathedral"), tmp_path / "none", folders)
    assert set(Colours.asked) == {(1, 3, 48, 64)}
    with pytest.raises(BadInput, match=r"works on pixels(.|\n)*segment\.building=null"):
        draw(tmp_path / "masks" / "domes" / "a.png", np.ones((96, 128), bool))
        run(Segment({**MASKS, "path": str(tmp_path / "masks")}, building="cathedral"), tmp_path / "no", folders)


def test_the_building_can_have_its_own_segmenter(tmp_path: Path, inputs):
    folders, _ = inputs
    paint(folders["ingest"], 4)
    tiny = {"_target_": "halonerf.segmenters.TimmText", "weights": None, "backbone": "lcnet_050"}
    Colours.asked.clear()
    stage = Segment(tiny, concepts=["window"], building="cathedral", building_segmenter=COLOURS)
    run(stage, tmp_path / "out", folders)
    assert Colours.asked == [(1, 3, 48, 64)] * 4
    maps = maps_of(tmp_path / "out")
    assert (maps[..., :6, :] == 0).all()
    assert (maps[..., 42:] == 0).all()
    assert maps[..., 6:, 18:42].any()


def test_the_sky_is_subtracted_from_concepts(tmp_path: Path, inputs):
    folders, _ = inputs
    picture = paint(folders["ingest"], 4)
    run(Segment(COLOURS, concepts=["window", "cathedral"], sky="sky"), tmp_path / "out", folders)
    maps = maps_of(tmp_path / "out").astype(float)
    for index, channel in enumerate((1, 0)):
        expected = picture[..., channel] * (1 - picture[..., 2] / 255)
        assert np.abs(maps[:, index] - expected).max() <= 0.51  # eight bits


def test_batching_does_not_change_maps(tmp_path: Path, inputs):
    folders, _ = inputs
    tiny = {
        "_target_": "halonerf.segmenters.TimmText",
        "weights": None,
        "backbone": "lcnet_050",
        "channels": 8,
        "image_size": 64,
    }
    maps = []
    torch.manual_seed(0)
    built = build(tiny)
    with torch.no_grad():
        built.head[-1].weight.mul_(50)  # maps that differ from grey
    built.save(tmp_path / "model.safetensors")
    for batch in (1, 3):
        stage = Segment({**tiny, "weights": str(tmp_path / "model.safetensors")}, ["window", "dome"], batch=batch)
        run(stage, tmp_path / str(batch), folders)
        maps.append(maps_of(tmp_path / str(batch)).astype(int))
    assert list(stage.items()) == [WorkItem("photos", (0, 1, 2)), WorkItem("photos", (3,))]
    assert maps[0].std() > 1
    assert np.abs(maps[0] - maps[1]).max() <= 1  # other batch, other order of sums, then eight bits


def test_the_adapted_segmenter_is_used_on_request(tmp_path: Path, inputs):
    folders, _ = inputs
    tiny = {
        "_target_": "halonerf.segmenters.TimmText",
        "weights": None,
        "backbone": "lcnet_050",
        "channels": 8,
        "image_size": 64,
    }
    adapted = build(tiny)
    with torch.no_grad():
        adapted.head[-1].weight.zero_()
        adapted.head[-1].bias.fill_(1.0)  # the same everywhere: sigmoid(1) is 186 of 255
    (tmp_path / "adapt").mkdir()
    adapted.save(tmp_path / "adapt" / "model.safetensors")
    folders = {**folders, "adapt_segmenter": tmp_path / "adapt"}
    run(Segment(tiny, ["window"], adapted=True), tmp_path / "out", folders)
    assert (maps_of(tmp_path / "out") == 186).all()
    run(Segment(tiny, ["window"]), tmp_path / "base", folders)
    assert not (maps_of(tmp_path / "base") == 186).all()
    assert Segment.requires({"adapted": True}) == (*Segment.needs, "adapt_segmenter")
    assert Segment.requires({"adapted": False}) == Segment.needs


def test_the_building_is_the_largest_part_with_a_margin():
    map_ = np.zeros((100, 200))
    assert building_box(map_) is None
    map_[40:60, 50:150] = 0.9
    map_[0:30, 0:20] = 0.9
    assert building_box(map_) == (38, 40, 62, 160)
    map_[95:100, 10:200] = 0.6
    map_[60:95, 100] = 0.6  # joins the two
    assert building_box(map_) == (34, 0, 100, 200)
    speck = np.zeros((100, 200))
    speck[3:10, 4:10] = 1
    assert building_box(speck) is None


def test_an_unknown_sky_subtracts_nothing():
    probability = torch.full((2, 1, 2), 0.5)
    known = torch.tensor([[[True, True]], [[True, False]]])
    found, still = subtract_sky(probability, known)
    assert torch.equal(found, torch.tensor([[[0.25, 0.5]]]))
    assert still.all()


def test_concepts_come_from_the_option_then_the_scene_then_the_labels(tmp_path: Path, inputs):
    folders, names = inputs
    text = {"_target_": "halonerf.segmenters.TimmText", "weights": None, "backbone": "lcnet_050"}

    def decided(**options: object) -> list[str]:
        stage = Segment(text, **options)  # type: ignore[arg-type]
        (tmp_path / "decide").mkdir(exist_ok=True)
        stage.bind(tmp_path / "decide", folders, 0)
        stage.prepare()
        return stage.concepts

    # three photos say dome that do not count alike: the first is held out; a fourth is not registered
    assert decided() == ["portal"]
    assert decided(min_photos=2) == ["portal", "dome"]
    assert decided(min_photos=2, max_concepts=1) == ["portal"]
    assert decided(min_photos=5) == []
    assert decided(min_photos=5, concepts=["spire", "spire", "dome"]) == ["spire", "dome"]
    records = [ImageRecord(name) for name in names]
    write_collection(folders["collect"], "made", tmp_path, records, concepts=("minaret",))
    assert decided() == ["minaret"]


def test_without_concepts_photos_are_chosen_by_quality(tmp_path: Path, inputs, caplog: pytest.LogCaptureFixture):
    text = {"_target_": "halonerf.segmenters.TimmText", "weights": None, "backbone": "lcnet_050"}
    stage = run(Segment(text, min_photos=5), tmp_path / "out", inputs[0])
    assert "segment.concepts=" in caplog.text
    assert json.loads((tmp_path / "out" / CONCEPTS).read_text()) == []
    assert stage.summary()["photos_chosen"] == len(inputs[1])
    finished = {"segment": tmp_path / "out"}
    for spec in (SPECS["Evaluate"], SPECS["Report"], SPECS["Features"]):
        with pytest.raises(BadInput, match=r"segment\.concepts="):
            spec.check_inputs(finished)
    for spec in (SPECS["Localize"], SPECS["Query"], SPECS["Index"]):
        spec.check_inputs(finished)


def test_masks_of_other_photos_do_not_count(tmp_path: Path, inputs):
    draw(tmp_path / "masks" / "domes" / "other.png", np.ones((96, 128), bool))
    with pytest.raises(BadInput, match="knows nothing of domes in any of them"):
        run(Segment({**MASKS, "path": str(tmp_path / "masks")}), tmp_path / "out", inputs[0])


def test_unknown_pixels_do_not_leak_into_known_ones():
    logits = torch.zeros(2, 4, 4)
    logits[0, :, :2] = torch.nan
    probability, known = resized_probabilities(logits, 16, 16)
    assert not known[0, :, :8].any()
    assert known[0, :, 10:].all()
    assert known[1].all()
    assert torch.equal(probability, torch.full((2, 16, 16), 0.5))


def test_labels_count_photos_not_rows(tmp_path: Path):
    rows = [("a", "portal"), ("a", "portal"), ("b", "tower"), ("c", "tower"), ("c", "apse"), ("a", "apse"), ("b", "")]
    table = [{"image_id": i, "label": label, "confidence": 1, "evidence": ""} for i, label in rows]
    write_csv(tmp_path / "labels.csv", LABELS, table)
    assert frequent_labels(tmp_path / "labels.csv", {"a", "b", "c"}, 2) == ["apse", "tower"]


def test_concepts_come_from_labels_in_a_parquet_table(tmp_path: Path, inputs):
    folders, names = inputs
    (folders["distill"] / "labels.csv").unlink()
    labels = (
        [("window", n) for n in names] + [("cathedral", n) for n in names[1:3]] + [("", names[0]), ("apse", names[3])]
    )
    write_labels(table_path(folders["distill"], "parquet"), [PseudoLabel(name, label, 1.0) for label, name in labels])
    run(Segment(COLOURS, min_photos=2, building=None, sky=None), tmp_path / "out", folders)
    assert json.loads((tmp_path / "out" / "concepts.json").read_text()) == ["window", "cathedral"]
