"""Format `nerfstudio`: `transforms.json`, `sparse_pc.ply` and `images/`.

(docs.nerf.studio, "Data conventions": camera to world, x right, y up, looking along -z; pixel centres at +0.5.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from halonerf.data.scene.scene import Scene
from halonerf.files import write_json
from halonerf.stages.export.contents import ExportContents
from halonerf.stages.export.formats.ply import write_ply
from halonerf.stages.export.frame import WORLD, ExportFrame
from halonerf.stages.export.names import inside
from halonerf.visualization.pictures import to_uint8

POINTS = "sparse_pc.ply"
FROM_OPENCV = np.diag([1.0, -1.0, -1.0])  # from cameras that look along +z with y down


class NerfstudioScene:
    """Cameras, points and undistorted photos."""

    name = "nerfstudio"
    summary = (
        "transforms.json: camera to world, x right, y up, looking along -z. sparse_pc.ply: the points. images: the "
        "photos of these cameras, without lens distortion. x = applied_scale * applied_transform (x, 1) is the map "
        "from the reconstruction's points to these."
    )
    wants_images = True

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Write transforms.json and sparse_pc.ply; numbers of `photos` and `points`."""
        write_nerfstudio(folder, contents.scene, contents.frame)
        return {"photos": len(contents.scene), "points": len(contents.scene.points)}


def write_nerfstudio(folder: Path, scene: Scene, frame: ExportFrame) -> None:
    """Write `transforms.json` and the points into `folder`, which exists."""
    points, colours = frame.points(scene.points).astype(np.float32), to_uint8(scene.colours)
    columns = {axis: points[:, i] for i, axis in enumerate("xyz")}
    columns |= {name: colours[:, i] for i, name in enumerate(("red", "green", "blue"))}
    write_ply(folder / POINTS, columns)
    names = [inside(Path("images"), name).as_posix() for name in scene.names]
    split = {part: [names[i] for i in scene.indices(part)] for part in ("train", "test")}
    value: dict[str, Any] = {
        "camera_model": "OPENCV",
        "ply_file_path": POINTS,
        "frames": [_frame(scene, frame, i, names[i]) for i in range(len(scene))],
        "train_filenames": split["train"],
        "val_filenames": split["test"] or split["train"],
        "test_filenames": split["test"] or split["train"],
    }
    if frame.name == WORLD:
        value |= _applied_transform(scene)
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


def _applied_transform(scene: Scene) -> dict[str, Any]:
    """The similarity from the reconstruction: x = applied_scale * applied_transform [3, 4] @ (x_model, 1)."""
    matrix = scene.scene_from_model.numpy()[:3]
    scale = float(np.cbrt(np.linalg.det(matrix[:, :3])))
    return {"applied_transform": (matrix / scale).tolist(), "applied_scale": scale}
