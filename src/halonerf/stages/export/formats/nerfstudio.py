"""The scene as nerfstudio reads it: `transforms.json`, `sparse_pc.ply` and `images/`.

(docs.nerf.studio, "Data conventions": camera to world, x right, y up, looking along -z; pixel centres at +0.5.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from halonerf.data.scene.scene import Scene
from halonerf.files import write_json
from halonerf.stages.export.formats.ply import byte_colours, write_ply
from halonerf.stages.export.frame import WORLD, ExportFrame
from halonerf.stages.export.names import inside

POINTS = "sparse_pc.ply"
FROM_OPENCV = np.diag([1.0, -1.0, -1.0])  # our cameras look along +z, with y down


def write_nerfstudio(folder: Path, scene: Scene, frame: ExportFrame) -> None:
    """Write `transforms.json` and the points into `folder`, which exists."""
    points, colours = frame.points(scene.points).astype(np.float32), byte_colours(scene.colours.numpy())
    columns = {axis: points[:, i] for i, axis in enumerate("xyz")}
    columns |= {name: colours[:, i] for i, name in enumerate(("red", "green", "blue"))}
    write_ply(folder / POINTS, columns)
    names = [inside(Path("images"), name).as_posix() for name in scene.names]
    sides = {side: [names[i] for i in scene.indices(side)] for side in ("train", "test")}
    value: dict[str, Any] = {
        "camera_model": "OPENCV",
        "ply_file_path": POINTS,
        "frames": [_frame(scene, frame, i, names[i]) for i in range(len(scene))],
        "train_filenames": sides["train"],
        "val_filenames": sides["test"] or sides["train"],
        "test_filenames": sides["test"] or sides["train"],
    }
    if frame.name == WORLD:
        value |= _applied(scene)
    write_json(folder / "transforms.json", value)


def _frame(scene: Scene, frame: ExportFrame, i: int, file: str) -> dict[str, Any]:
    view = scene.views[i]
    pose = frame.camera_to_frame(view.camera_to_world)
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([pose[:, :3] @ FROM_OPENCV, pose[:, 3]])
    return {
        "file_path": file,
        "fl_x": view.fx,
        "fl_y": view.fy,
        "cx": view.cx,
        "cy": view.cy,
        "w": view.width,
        "h": view.height,
        "colmap_im_id": scene.colmap_ids[i],
        "transform_matrix": matrix.tolist(),
    }


def _applied(scene: Scene) -> dict[str, Any]:
    """What brought the reconstruction's points here: x = applied_scale * applied_transform [3, 4] @ (x_model, 1)."""
    matrix = scene.scene_from_model.numpy()[:3]
    scale = float(np.cbrt(np.linalg.det(matrix[:, :3])))
    return {"applied_transform": (matrix / scale).tolist(), "applied_scale": scale}
