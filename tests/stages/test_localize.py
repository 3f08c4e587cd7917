"""`localize` with heads fitted in rounds: a killed run resumes to the same result; weights of photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.fields.gaussians.field import Gaussians
from halonerf.files import write_csv, write_json
from halonerf.heads.learning import ROUND_STEPS
from halonerf.stages.localize import Localize
from helpers.made_folders import VIEW, run_stage, write_ingest

pytestmark = pytest.mark.usefixtures("one_thread")
FIELD = {"_target_": "halonerf.fields.Gaussians"}
MLP = {
    "_target_": "halonerf.heads.Mlp",
    "widths": [8],
    "steps": 2 * ROUND_STEPS + 1,
    "rays": 100,
    "min_confidence": 0.0,
    "seed": 3,
}
LIFTED = {"_target_": "halonerf.heads.Lifted"}
CONCEPTS = ("fenêtre", "dome")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three photos; what the i-th says of every pixel is i / 2 for the first concept, and the opposite."""
    root = tmp_path_factory.mktemp("folders")
    folders = {stage: root / stage for stage in ("ingest", "reconstruct", "segment")}
    names = write_ingest(folders["ingest"], 3)
    scene = Scene(folders["ingest"])
    field = Gaussians()
    field.initialise(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), torch.rand(200, 3), names, seed=0)
    folders["reconstruct"].mkdir()
    field.save(folders["reconstruct"] / "field.safetensors")
    (folders["segment"] / "maps").mkdir(parents=True)
    write_json(folders["segment"] / "concepts.json", list(CONCEPTS))
    rows = [{"photo": n, "score": f"{0.5 * i:.4f}", "chosen": "true", "reason": ""} for i, n in enumerate(scene.names)]
    write_csv(folders["segment"] / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
    for i in range(len(names)):
        says = np.full((2, VIEW[1], VIEW[0]), round(255 * i / 2), np.uint8)
        says[1] = 255 - says[1]
        np.savez(folders["segment"] / "maps" / f"{i:05d}.npz", probability=says)
    return folders


def localize(head: dict, weights: str | None = None) -> Localize:
    return Localize(head, FIELD, weights=weights)


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_fit_resumes_to_the_same_head(killed_after: int, inputs: dict[str, Path], tmp_path: Path):
    whole = run_stage(localize(MLP), tmp_path / "whole", inputs)
    assert whole.items()[:4] == ["round 0", "round 1", "round 2", "head"]
    killed = run_stage(localize(MLP), tmp_path / "killed", inputs, most=killed_after)
    assert [killed.done(item) for item in killed.items()[:4]] == [k < killed_after for k in range(4)]
    assert len(list((tmp_path / "killed" / "rounds").iterdir())) == 1
    run_stage(localize(MLP), tmp_path / "killed", inputs)
    expected, found = (load_file(tmp_path / name / "head.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(found[key], expected[key]) for key in expected)  # bit for bit
    assert not (tmp_path / "killed" / "rounds").exists()
    assert len(list((tmp_path / "killed" / "renders").glob("*.npz"))) == 3


def mean_said(folder: Path) -> torch.Tensor:
    """What the head says of each concept, a mean over elements by support."""
    head = load_file(folder / "head.safetensors")
    return (head["probability"] * head["support"]).sum(dim=0) / head["support"].sum(dim=0)


def test_photos_are_weighted_by_their_score(inputs: dict[str, Path], tmp_path: Path):
    plain = run_stage(localize(LIFTED), tmp_path / "plain", inputs)
    run_stage(localize(LIFTED, weights="score"), tmp_path / "score", inputs)
    pixels = [plain.field.lift(v, torch.ones(VIEW[1], VIEW[0], 1), torch.ones(VIEW[1], VIEW[0]))[1].sum().item()
              for v in plain.scene.views]  # fmt: skip
    even = sum(p * i / 2 for i, p in enumerate(pixels)) / sum(pixels)
    scored = sum(p * i / 2 * 0.5 * i for i, p in enumerate(pixels)) / sum(p * 0.5 * i for i, p in enumerate(pixels))
    # maps are stored in steps of 1/255: 127.5 rounds to 128
    assert mean_said(tmp_path / "plain")[0].item() == pytest.approx(even, abs=3e-3)
    assert mean_said(tmp_path / "score")[0].item() == pytest.approx(scored, abs=3e-3)
    assert scored > even + 0.1


def test_photos_are_weighted_by_concept(inputs: dict[str, Path], tmp_path: Path):
    names = Scene(inputs["ingest"]).names
    weighed = tmp_path / "segment"
    weighed.mkdir()
    for path in inputs["segment"].iterdir():
        (weighed / path.name).symlink_to(path)
    rows = [
        {"photo": names[0], "concept": CONCEPTS[0], "weight": "1.0"},
        {"photo": names[2], "concept": CONCEPTS[0], "weight": "0.0"},
        {"photo": names[2], "concept": CONCEPTS[1], "weight": "0.5"},
        {"photo": names[2], "concept": "never heard of", "weight": "1.0"},
        {"photo": "not registered.jpg", "concept": CONCEPTS[1], "weight": "1.0"},
    ]
    write_csv(weighed / "weights.csv", ("photo", "concept", "weight"), rows)
    run_stage(localize(LIFTED, weights="concepts"), tmp_path / "out", {**inputs, "segment": weighed})
    assert mean_said(tmp_path / "out").tolist() == pytest.approx([0.0, 0.0], abs=1e-6)  # photo 0; 1 - photo 2
    with pytest.raises(BadInput, match=r"weights\.csv.*\n.*localize.weights=score"):
        run_stage(localize(LIFTED, weights="concepts"), tmp_path / "none", inputs)
