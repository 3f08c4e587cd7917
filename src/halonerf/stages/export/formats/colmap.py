"""The scene as a COLMAP project: `images/` and `sparse/0/`, with the cameras that the field was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap

from halonerf.data.scene.scene import Scene
from halonerf.stages.export.formats.ply import byte_colours
from halonerf.stages.export.frame import ExportFrame


def write_colmap(folder: Path, scene: Scene, frame: ExportFrame) -> None:
    """Write the binary model into `folder`, which exists: a pinhole camera a photo, of its working size.

    Photos keep their names and their ids in the reconstruction; points come with what each photo saw of them.
    """
    model = pycolmap.Reconstruction()
    tracks: list[pycolmap.Track] = [pycolmap.Track() for _ in range(len(scene.points))]
    for i, (view, name, number) in enumerate(zip(scene.views, scene.names, scene.colmap_ids, strict=True)):
        lens = [view.fx, view.fy, view.cx, view.cy]
        camera = pycolmap.Camera(camera_id=number, model="PINHOLE", width=view.width, height=view.height, params=lens)
        pixels, _, points = scene.observations(i)
        image = pycolmap.Image(
            name=name, keypoints=pixels.double().numpy().reshape(-1, 2), camera_id=number, image_id=number
        )
        model.add_camera_with_trivial_rig(camera)
        model.add_image_with_trivial_frame(image, _camera_from_frame(frame.camera_to_frame(view.camera_to_world)))
        for place, point in enumerate(points.tolist()):
            tracks[point].add_element(number, place)
    colours = byte_colours(scene.colours.numpy())
    for xyz, colour, track in zip(frame.points(scene.points), colours, tracks, strict=True):
        model.add_point3D(xyz, track, colour)
    model.update_point_3d_errors()
    model.write_binary(folder)


def _camera_from_frame(pose: np.ndarray) -> pycolmap.Rigid3d:
    """The inverse of a rigid pose [3, 4], whose rotation is made orthonormal first: it was kept in single precision."""
    left, _, right = np.linalg.svd(pose[:, :3])
    turn = (left @ right).T
    return pycolmap.Rigid3d(np.column_stack([turn, -turn @ pose[:, 3]]))
