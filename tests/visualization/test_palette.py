"""The palette: distinguishable colours, and one colour per concept in every output."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData

from halonerf.data.formats.probability_maps import read_concepts
from halonerf.data.scene.scene import Scene
from halonerf.errors import BadInput
from halonerf.evaluation import curves
from halonerf.queries.connected_parts import PartOptions
from halonerf.stages.evaluate import Evaluate
from halonerf.stages.export.stage import Export
from halonerf.viewer.web.models import MAX_WORDS
from halonerf.visualization.palette import COLOURS, concept_colours, hex_colour, palette_colour
from halonerf.visualization.pictures import REC601, REC709, luminance, to_uint8
from helpers.made_folders import run_stage, write_masks
from helpers.made_share import FIELD, HEAD, shared, write_share_folders

# Linear RGB as seen with full dichromacy (Machado, Oliveira and Fernandes 2009, table 1).
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def smallest_distance(colours: list[tuple[int, int, int]], vision: np.ndarray) -> float:
    """The distance of the two most similar colours in CIELAB (D65)."""
    srgb = np.array(colours) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ vision.T, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = seen @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(distance[~np.eye(len(lab), dtype=bool)].min())


@pytest.mark.parametrize("vision", VISION)
def test_colours_differ_with_normal_and_dichromatic_vision(vision: str):
    assert smallest_distance(list(COLOURS), VISION[vision]) > 16  # measured 26, 21, 17 and 16


def test_generated_colours_continue_the_palette():
    colours = [palette_colour(number) for number in range(MAX_WORDS)]
    assert colours[: len(COLOURS)] == list(COLOURS)
    assert smallest_distance(colours, VISION["normal"]) > 5
    assert len({palette_colour(number) for number in range(200)}) > 190
    assert hex_colour((0, 158, 255)) == "#009eff"


def test_concepts_have_the_colours_of_their_positions_and_other_texts_those_after():
    colours = concept_colours(["spire", "dome", "door", "spire"], ["door", "window", "dome"])
    assert colours == {"spire": palette_colour(3), "dome": palette_colour(2), "door": palette_colour(0)}


def test_luminance_is_the_weighted_sum_in_the_colours_precision():
    colours = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    expected = colours @ np.array(REC601, np.float32)
    assert luminance(colours, REC601).dtype == np.float32
    assert np.array_equal(luminance(colours, REC601), expected)
    torch.testing.assert_close(luminance(torch.from_numpy(colours), REC601), torch.from_numpy(expected))
    assert luminance(np.array([255, 255, 255], np.uint8), REC709) == pytest.approx(255)


def test_all_outputs_give_a_concept_one_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second concept of a scene, alone in an export, in the shared page, a film and curves."""
    folders = write_share_folders(tmp_path / "folders")
    concepts = read_concepts(folders["localize"])
    expected = palette_colour(1)
    _, facts = shared(folders, tmp_path / "share")
    assert facts["words"][1]["colour"] == hex_colour(expected)
    # Films of stage `render` and of windows.
    assert concept_colours([concepts[1]], concepts)[concepts[1]] == expected

    stage = Export(FIELD, HEAD, {}, formats=["splats", "masks"], concepts=[concepts[1]], threshold=0.1)
    run_stage(stage, tmp_path / "export", folders)
    assert json.loads((tmp_path / "export/export.json").read_text())["concepts"][0]["colour"] == list(expected)
    [category] = json.loads((tmp_path / "export/masks/coco.json").read_text())["categories"]
    assert category["color"] == list(expected)
    vertex = PlyData.read(tmp_path / "export/splats/concepts.ply")["vertex"]
    rgb = np.stack([vertex[f"f_dc_{i}"] for i in range(3)], axis=1) * 0.28209479177387814 + 0.5
    coloured = np.ptp(rgb, axis=1) > 1e-3
    assert coloured.any()
    assert (to_uint8(rgb[coloured]) == expected).all()

    drawn: dict[str, tuple[int, int, int]] = {}
    draw = curves.draw_precision_recall
    monkeypatch.setattr(
        curves, "draw_precision_recall", lambda panels, colours: drawn.update(colours) or draw(panels, colours)
    )
    write_masks(tmp_path / "masks", "window", Scene(folders["ingest"]).names)
    run_stage(Evaluate(masks=str(tmp_path / "masks")), tmp_path / "evaluate", folders)
    assert drawn
    assert drawn == concept_colours(list(drawn), concepts)


def test_part_options_reject_values_out_of_range():
    assert PartOptions(max_parts=0).max_parts == 0
    for wrong in ({"part_radius": 0.0}, {"min_elements": 0}, {"max_parts": -1}):
        with pytest.raises(BadInput, match="expected part_radius above 0"):
            PartOptions(**wrong)
