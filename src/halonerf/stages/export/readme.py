"""Descriptions in every export: README.txt (frame, units, conventions, light, files, licences) and export.json."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from halonerf.data.commons.attribution import ATTRIBUTION, read_attribution
from halonerf.data.scene.scene import Scene
from halonerf.files import write_atomic, write_json
from halonerf.stages.export.formats.base import Format
from halonerf.stages.export.frame import WORLD, ExportFrame

README = "README.txt"


def write_readme(folder: Path, scene: str, kind: Format, frame: ExportFrame, facts: dict[str, Any]) -> None:
    """Write README.txt into the folder of one format.

    facts: `light`, `concepts` (as `ExportedConcepts.describe` gives them, with `threshold`), `licences` (lines).
    """
    if frame.name == WORLD:
        place = (
            "that of the scene. Right-handed, +z up, the side that most photos were taken from faces -y. The origin is "
            "the median point of the reconstruction; nine tenths of its points lie within 1 unit of it."
        )
    else:
        place = "that of the reconstruction (structure from motion), at its scale."
    concepts = [
        f"  {c['name']}: file name {c['file']}, property name {c['property']}, threshold {c['threshold']:g}"
        for c in facts["concepts"]
    ]
    parts = [
        f"{scene}: {kind.name}, exported by HaloNeRF",
        fill(kind.summary, 100),
        fill(f"Frame: {place}", 100),
        "Units: those of the frame; their length in metres is unknown.",
        "Pixels: (x, y), the centre of the first pixel at (0.5, 0.5).",
        f"Light: {facts['light']}.",
        "\n".join(["Concepts:", *(concepts or ["  none"])]),
        "\n".join(["Photos, their authors and their licences:", *(f"  {line}" for line in facts["licences"])]),
    ]
    write_atomic(folder / README, "\n\n".join(parts) + "\n")


def write_description(folder: Path, scene: Scene, frame: ExportFrame, facts: dict[str, Any]) -> None:
    """Write export.json: `facts`, and the frame in relation to the reconstruction."""
    place = {
        "scene": scene.name,
        "frame": frame.name,
        "world_from_model": scene.scene_from_model.tolist(),
        "up": frame.directions(scene.up[None])[0].tolist(),
    }
    write_json(folder / "export.json", place | facts)


def copy_licences(collect: Path, folders: Sequence[Path]) -> list[str]:
    """Copy the collection's table of authors and licences into `folders`; lines about it for README.txt."""
    if not (collect / ATTRIBUTION).is_file():
        return ["the photos came without a table of them. Ask the photographers before you publish derived files."]
    for folder in folders:
        shutil.copyfile(collect / ATTRIBUTION, folder / ATTRIBUTION)
    count = Counter(row.licence or "licence not stated" for row in read_attribution(collect))
    kinds = [f"{licence}: {number} of the photos" for licence, number in sorted(count.items())]
    return [f"{ATTRIBUTION} lists them; give the same credits where you publish derived files.", *kinds]
