"""HolyScenes' folders: polarity of masks, ids that are not file numbers, and files left out with a reason."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from halonerf.data.collection import Collection
from halonerf.data.sources.colmap_folder import SPLIT
from halonerf.data.sources.holyscenes import LEFT_OUT, HolyScenes, pair_masks
from halonerf.errors import BadInput
from halonerf.masks import MaskFolder, read_mask
from helpers.made_holyscenes import PARTS, photo_id, write_holyscenes

COUNT = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    root = tmp_path_factory.mktemp("holy")
    return root, write_holyscenes(root, COUNT)


@pytest.fixture
def root(made: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(made[0], tmp_path / "holy"))


def collect(root: Path, out: Path, **options: str) -> Collection:
    out.mkdir()
    given = {"masks": str(root / "masks"), "landmark": "hurba"} | options
    HolyScenes(str(root / "scene"), **given).collect(out)
    return Collection.read(out)


def left_out(collection: Collection) -> dict[str, str]:
    with open(collection.folder / LEFT_OUT, newline="") as stream:
        return {row["mask"]: row["reason"] for row in csv.DictReader(stream)}


def folder_of(root: Path, concept: str = "portals") -> Path:
    return root / "masks" / "cathedral" / "hurba" / concept


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_masks_belong_to_the_photo_of_their_id_and_are_inverted(made, tmp_path: Path):
    root, truths = made
    collection = collect(root, tmp_path / "out")
    assert collection.concepts == ("portals", "rose window")
    assert (collection.building_type, collection.name) == ("cathedral", "hurba")
    assert collection.masks is not None
    masks = MaskFolder.open(collection.masks)
    assert not masks.numbered
    for key, truth in truths.items():
        concept, photo = key.split("/")
        found = masks.read(concept.replace("_", " "), photo, truth.shape[::-1])
        assert agreement(found, truth) > 0.99, key  # JPEG at quality 15 frays the border: measured 0.9975 at least
    assert left_out(collection) == {}
    assert (collection.folder / SPLIT).read_text().count("test") == 2


def test_masks_of_another_photo_are_detected(made):
    """The premise of the test above."""
    truths = made[1]
    for concept in PARTS:
        for i in range(COUNT):
            other = f"{concept}/{photo_id(i, COUNT):04d}.jpg"
            assert agreement(truths[f"{concept}/{i + 1:04d}.jpg"], truths[other]) < 0.8  # measured 0.71 at most


def test_missing_masks_extra_files_and_wrong_ids_are_listed(root: Path, tmp_path: Path):
    portals = folder_of(root)
    (portals / "0001-gt.jpg").unlink()
    shutil.copy(portals / "0002-gt.jpg", portals / "0999-gt.jpg")
    shutil.copy(portals / "0002-img.jpg", portals / "holiday.jpg")
    (portals / "0003-gt.jpg").write_bytes(b"not a picture")
    Image.new("L", (240, 320), 255).save(portals / "0004-gt.jpg")
    (portals / "notes.txt").write_text("drawn in June")
    collection = collect(root, tmp_path / "out")
    reasons = left_out(collection)
    assert set(reasons) == {f"portals/{name}" for name in ("0999-gt.jpg", "holiday.jpg", "0003-gt.jpg", "0004-gt.jpg")}
    assert reasons["portals/0999-gt.jpg"] == "the model has no photo of id 999"
    assert "neither NNNN-gt nor NNNN-img" in reasons["portals/holiday.jpg"]
    assert "cannot be read" in reasons["portals/0003-gt.jpg"]
    assert "got 240 x 320 px" in reasons["portals/0004-gt.jpg"]
    assert collection.masks is not None
    assert len(list((collection.masks / "portals").iterdir())) == COUNT - 3
    assert len(list((collection.masks / "rose window").iterdir())) == COUNT


def test_the_copy_beside_a_mask_decides(root: Path, tmp_path: Path):
    """Numbers that are file numbers after all are found out by the photos beside them; without those the id counts."""
    count = COUNT
    for concept in PARTS:
        folder = folder_of(root, concept)
        for i in range(count):  # rename from ids to file numbers
            for kind in ("gt", "img"):
                (folder / f"{photo_id(i, count):04d}-{kind}.jpg").rename(folder / f"new{i + 1:04d}-{kind}.jpg")
        for path in list(folder.iterdir()):
            path.rename(folder / path.name.removeprefix("new"))
    first = collect(root, tmp_path / "first")
    for path in (root / "masks").rglob("*-img.jpg"):
        path.unlink()
    second = collect(root, tmp_path / "second")
    assert first.masks is not None
    assert second.masks is not None
    drawn = read_mask(folder_of(root) / "0001-gt.jpg", dark=True)
    assert (read_mask(first.masks / "portals" / "0001.png") == drawn).all()
    by_id = next(f"{i + 1:04d}.png" for i in range(count) if photo_id(i, count) == 1)
    assert (read_mask(second.masks / "portals" / by_id) == drawn).all()


def test_a_copy_of_another_place_is_rejected(root: Path, tmp_path: Path):
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (240, 320, 3), np.uint8)).save(folder_of(root) / "0001-img.jpg")
    shutil.rmtree(folder_of(root, "rose_window"))
    reasons = left_out(collect(root, tmp_path / "out"))
    assert list(reasons) == ["portals/0001-gt.jpg"]
    assert "0001-img.jpg is not the photo of that id" in reasons["portals/0001-gt.jpg"]


def test_the_file_name_is_used_where_no_id_matches():
    """A number that is no id is the photo of that name, unless an id has claimed it."""
    masks = MaskFolder(
        Path("m"), {"dome": {f"{n}-gt": Path(f"m/dome/{n}-gt.jpg") for n in ("0001", "0002", "0003")}}, True
    )
    ids = {1: "0003.jpg", 7: "sub/0002.jpg"}
    pairs, missing = pair_masks(masks, ids, Path("photos"))
    assert pairs == {"0001": "0003.jpg", "0002": "sub/0002.jpg"}
    assert missing == [("dome/0003-gt.jpg", "its photo, 0003.jpg, has the masks of number 0001 already")]


@pytest.mark.parametrize("landmark", ["hurba", "HURBA", "Hur-ba"])
def test_the_landmark_is_found_however_it_is_written(made, landmark: str):
    source = HolyScenes(str(made[0] / "scene"), str(made[0] / "masks"), landmark)
    assert source.identity() == HolyScenes(str(made[0] / "scene"), str(made[0] / "masks" / "cathedral"), landmark,
                                           building_type="cathedral", name=landmark).identity()  # fmt: skip


def test_identity_follows_the_masks(root: Path):
    source = HolyScenes(str(root / "scene"), str(folder_of(root).parent))
    before = source.identity()
    assert source.name == "scene"
    path = folder_of(root) / "0001-gt.jpg"
    path.write_bytes(path.read_bytes() + b" ")
    assert source.identity() != before


def test_errors_name_the_problem(root: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"found: cathedral, cathedral/hurba"):
        collect(root, tmp_path / "a", landmark="milan")
    for path in (root / "masks").rglob("*.jpg"):
        path.rename(path.with_name(f"9{path.name}"))
    with pytest.raises(BadInput, match=r"none fits; the first: .*no photo of id 90001"):
        collect(root, tmp_path / "b")
    own = tmp_path / "own" / "portals"
    own.mkdir(parents=True)
    Image.new("L", (320, 240), 255).save(own / "0001.png")
    with pytest.raises(BadInput, match=r"scene=colmap evaluate\.masks="):
        collect(root, tmp_path / "c", masks=str(own.parent), landmark="")
