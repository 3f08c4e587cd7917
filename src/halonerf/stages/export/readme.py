"""What goes with every export, for whoever opens it without us: frame, units, conventions, light, files, licences."""

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
from halonerf.stages.export.frame import WORLD, ExportFrame

README = "README.txt"
FILES = {
    "splats": "splats.ply: Gaussian splats in the light below. concepts.ply: the same, each in the colour of the "
    "smallest concept that reaches the threshold there, else grey. Layout of Kerbl et al. 2023: opacity is a logit, "
    "scale_* are natural logarithms of standard deviations, rot_* a quaternion w x y z, colour = 0.5 + 0.28209479 "
    "f_dc_*; no further harmonics.",
    "points": "points.ply: the centres of the splats that are solid enough. Normals are the shortest axes, turned to "
    "the cameras. p_<concept>: probability; c_<concept>: how much the photos said, in fully opaque pixels. Where that "
    "is 0 nothing is known, which is not a no.",
    "mesh": "mesh.glb: binary glTF. The node 'building' has the colours of the light and a probability a concept at "
    "its vertices (_p_<concept>); a node for each concept has its faces, all of whose vertices reach the threshold. "
    "Vertices are in the frame below; the nodes turn them so that +y is up. Colours are linear, as glTF has them.",
    "colmap": "sparse/0: cameras, photos and points as COLMAP writes them (binary). images: the photos that belong to "
    "these cameras, without lens distortion.",
    "nerfstudio": "transforms.json: cameras to world, x right, y up, looking along -z. sparse_pc.ply: the points. "
    "images: the photos that belong to these cameras, without lens distortion. x = applied_scale * applied_transform "
    "(x, 1) brought the reconstruction's points here.",
    "masks": "probability/<concept>/<photo>.png: 8 bit, 255 is certain; binary/<concept>/<photo>.png: 255 from the "
    "threshold on. coco.json: the binary masks in the format of COCO, one annotation a photo and concept. Masks come "
    "from the concepts in 3D, and lie on the pictures in images, which are without lens distortion.",
    "depth": "arrays/<photo>.npz: depth along the optical axis in the units below, float32, 0 where nothing is hit; "
    "opacity. pictures/<photo>.png: 16 bit, in steps of the unit that contents.json states; 0 is no surface.",
}


def write_readme(folder: Path, scene: str, kind: str, frame: ExportFrame, facts: dict[str, Any]) -> None:
    """Write README.txt into the folder of one kind of export.

    facts: `light`, `threshold`, `concepts` (as `Concepts.describe` has them), `licences` (lines).
    """
    if frame.name == WORLD:
        place = (
            "the scene's own. Right-handed, +z up, the side that most photos were taken from faces -y. The origin is "
            "the median point of the reconstruction; nine tenths of its points lie within 1 unit of it."
        )
    else:
        place = "that of the reconstruction (structure from motion), at its scale."
    concepts = [f"  {c['name']}: file name {c['file']}, property name {c['property']}" for c in facts["concepts"]]
    parts = [
        f"{scene}: {kind}, exported by HaloNeRF",
        fill(FILES[kind], 100),
        fill(f"Frame: {place}", 100),
        "Units: those of the frame; how long a metre is nobody knows.",
        "Pixels: (x, y), the centre of the first pixel at (0.5, 0.5).",
        f"Light: {facts['light']}. Threshold: {facts['threshold']:g}.",
        "\n".join(["Concepts:", *(concepts or ["  none"])]),
        "\n".join(["Photos, their authors and their licences:", *(f"  {line}" for line in facts["licences"])]),
    ]
    write_atomic(folder / README, "\n\n".join(parts) + "\n")


def write_description(folder: Path, scene: Scene, frame: ExportFrame, facts: dict[str, Any]) -> None:
    """Write export.json: `facts`, and where the frame lies."""
    place = {
        "scene": scene.name,
        "frame": frame.name,
        "world_from_model": scene.scene_from_model.tolist(),
        "up": frame.directions(scene.up[None])[0].tolist(),
    }
    write_json(folder / "export.json", place | facts)


def copy_licences(collect: Path, folders: Sequence[Path]) -> list[str]:
    """Copy the collection's table of authors and licences into `folders` where there is one; what to say of it."""
    if not (collect / ATTRIBUTION).is_file():
        return ["no table came with the photos. Ask whoever made them before you pass on what is made of them."]
    for folder in folders:
        shutil.copyfile(collect / ATTRIBUTION, folder / ATTRIBUTION)
    count = Counter(row.licence or "licence not stated" for row in read_attribution(collect))
    kinds = [f"{licence}: {number} of the photos" for licence, number in sorted(count.items())]
    return [f"{ATTRIBUTION} names them; name them, too, where you pass this on.", *kinds]
