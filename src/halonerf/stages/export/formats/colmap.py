"""Format `colmap`: a COLMAP project with the cameras that the field was fitted to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from halonerf.data.scene.scene import Scene
from halonerf.stages.export.contents import ExportContents
from halonerf.stages.export.frame import ExportFrame
from halonerf.stages.export.names import photo_file
from halonerf.visualization.pictures import to_uint8


class ColmapModel:
    """Cameras, points and undistorted photos."""

    name = "colmap"
    summary = (
        "sparse/0: cameras, photos and points as a binary COLMAP model. images: the photos of these cameras, without "
        "lens distortion."
    )
    wants_images = True

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Write sparse/0; numbers of `photos` and `points`."""
        model = folder / "sparse" / "0"
        model.mkdir(parents=True, exist_ok=True)
        write_colmap(model, contents.scene, contents.frame)
        return {"photos": len(contents.scene), "points": len(contents.scene.points)}


def write_colmap(folder: Path, scene: Scene, frame: ExportFrame) -> None:
    """Write the binary model into `folder`, which exists: a pinhole camera per photo, at its working size.

    Photos keep their names, as paths of the export, and their ids in the reconstruction; points keep their tracks.
    """
    model = pycolmap.Reconstruction()
    tracks: list[pycolmap.Track] = [pycolmap.Track() for _ in range(len(scene.points))]
    for i, (view, name, number) in enumerate(zip(scene.views, scene.names, scene.colmap_ids, strict=True)):
        lens = [view.fx, view.fy, view.cx, view.cy]
        camera = pycolmap.Camera(camera_id=number, model="PINHOLE", width=view.width, height=view.height, params=lens)
        pixels, _, points = scene.observations(i)
        image = pycolmap.Image(
            name=photo_file(name), keypoints=pixels.double().numpy().reshape(-1, 2), camera_id=number, image_id=number
        )
        model.add_camera_with_trivial_rig(camera)
        model.add_image_with_trivial_frame(image, _camera_from_frame(frame.camera_to_frame(view.camera_to_world)))
        for keypoint, point in enumerate(points.tolist()):
            tracks[point].add_element(number, keypoint)
    colours = to_uint8(scene.colours)
    for xyz, colour, track in zip(frame.points(scene.points), colours, tracks, strict=True):
        model.add_point3D(xyz, track, colour)
    model.update_point_3d_errors()
    model.write_binary(folder)


def _camera_from_frame(pose: np.ndarray) -> pycolmap.Rigid3d:
    """The inverse of a rigid pose [3, 4] after its rotation is made orthonormal: it was stored in single precision."""
    left, _, right = np.linalg.svd(pose[:, :3])
    rotation = (left @ right).T
    return pycolmap.Rigid3d(np.column_stack([rotation, -rotation @ pose[:, 3]]))
