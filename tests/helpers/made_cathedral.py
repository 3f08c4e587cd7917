"""A procedural cathedral as finished folders, from its true cameras, depth and masks: no fit, a few seconds.

The first photo is held out: neither Gaussians nor words come from it, so that its mask is a test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import torch
from PIL import Image
from torch import Tensor

from halonerf.data.procedural.landmark import ProceduralLandmark
from halonerf.data.scene.files import Filters, write_tables
from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.files import write_at, write_json
from halonerf.geometry import pixel_centres, ray_directions
from halonerf.heads.lifted import Lifted

PHOTOS, WIDTH = 8, 160  # px, long side
GAUSSIANS = 5000
CODE = 4
FIELD: dict[str, Any] = {"_target_": "halonerf.fields.Gaussians", "code_size": CODE}
HEAD: dict[str, Any] = {"_target_": "halonerf.heads.Lifted"}
HELD_OUT = "0000.jpg"
NEAR_SAME = 0.02  # of the depth: another photo sees the same point


def write_cathedral_folders(root: Path) -> dict[str, Path]:
    """Finished folders of `collect`, `ingest`, `reconstruct` and `localize`."""
    folders = {stage: root / stage for stage in ("collect", "ingest", "reconstruct", "localize")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    cathedral = ProceduralLandmark(
        "cathedral", photos=PHOTOS, width=WIDTH, samples=1, close_ups=0.0, passers_by=0.0, workers=1
    )
    cathedral.collect(folders["collect"])
    photos = Photos(folders["collect"])
    _write_ingest(folders["ingest"], photos)
    scene = Scene(folders["ingest"])
    concepts = json.loads((folders["collect"] / "collection.json").read_text())["concepts"]
    field = _gaussians(scene, photos)
    field.save(folders["reconstruct"] / "field.safetensors")
    head, fitted = Lifted(), scene.indices("train")
    maps = [torch.stack([true_mask(folders["collect"], c, scene.names[i]) for c in concepts], dim=-1) for i in fitted]
    head.fit(field, [scene.views[i] for i in fitted], maps, [torch.ones_like(m) for m in maps])
    head.save(folders["localize"] / "head.safetensors")
    write_json(folders["localize"] / "concepts.json", concepts)
    return folders


def true_mask(collect: Path, concept: str, photo: str) -> Tensor:
    """0 or 1, [H, W]."""
    path = (collect / "masks" / concept / photo).with_suffix(".png")
    return torch.from_numpy(np.asarray(Image.open(path)).astype(np.float32) / 255)


class Photos:
    """Pixels [H, W, 3], depths [H, W] in metres, intrinsics and poses of a collection, by name."""

    def __init__(self, collect: Path) -> None:
        self.cameras: dict[str, Any] = json.loads((collect / "cameras.json").read_text())
        self.names = sorted(self.cameras)
        self.pixels = {n: np.asarray(Image.open(collect / "photos" / n).convert("RGB")) for n in self.names}
        self.depth = {
            n: np.asarray(Image.open((collect / "depth" / n).with_suffix(".png"))).astype(np.float64) / 100
            for n in self.names
        }
        self.pose = {n: np.array(self.cameras[n]["camera_to_world"]) for n in self.names}

    def lens(self, name: str) -> list[float]:
        return [self.cameras[name][key] for key in ("fx", "fy", "cx", "cy")]

    def seen_at(self, name: str, points: np.ndarray) -> np.ndarray:
        """Where a photo sees points [N, 3] (metres), px [N, 2]; NaN where it does not."""
        fx, fy, cx, cy = self.lens(name)
        turn, centre = self.pose[name][:, :3], self.pose[name][:, 3]
        local = (points - centre) @ turn
        depth = np.where(local[:, 2] > 0.1, local[:, 2], np.inf)
        pixels = np.stack([fx * local[:, 0] / depth + cx, fy * local[:, 1] / depth + cy], axis=1)
        height, width = self.depth[name].shape
        inside = (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1) & np.isfinite(depth)
        column, row = np.where(inside[:, None], pixels, 0).astype(int).T
        same = np.abs(self.depth[name][row, column] - local[:, 2]) < NEAR_SAME * local[:, 2]
        return np.where((inside & same)[:, None], pixels, np.nan)


def _write_ingest(folder: Path, photos: Photos) -> None:
    model = pycolmap.Reconstruction()
    points = _sampled(photos, every=97)
    seen = {name: photos.seen_at(name, points) for name in photos.names}
    tracks = [pycolmap.Track() for _ in points]
    for number, name in enumerate(photos.names, start=1):
        height, width = photos.depth[name].shape
        camera = pycolmap.Camera(
            camera_id=number, model="PINHOLE", width=width, height=height, params=photos.lens(name)
        )
        shown = np.flatnonzero(np.isfinite(seen[name][:, 0]))
        image = pycolmap.Image(name=name, keypoints=seen[name][shown], camera_id=number, image_id=number)
        turn = photos.pose[name][:, :3].T
        pose = pycolmap.Rigid3d(np.column_stack([turn, -turn @ photos.pose[name][:, 3]]))
        model.add_camera_with_trivial_rig(camera)
        model.add_image_with_trivial_frame(image, pose)
        for place, point in enumerate(shown):
            tracks[point].add_element(number, place)
    for point, track in zip(points, tracks, strict=True):
        if track.length() >= 2:
            model.add_point3D(point, track, np.zeros(3, np.uint8))
    model.update_point_3d_errors()
    start = 0
    for name in photos.names:
        size = photos.depth[name].size
        write_at(folder / "images.u8", start * 3, photos.pixels[name].tobytes())
        write_at(folder / "valid.u8", start, np.ones(size, np.uint8).tobytes())
        start += size
    split = {name: "test" if name == HELD_OUT else "train" for name in photos.names}
    write_tables(folder, "cathedral", model, WIDTH, Filters(4.0, 2, 0.1, WIDTH), split)


def _sampled(photos: Photos, every: int) -> np.ndarray:
    """Points [N, 3] in metres, from the depth of each so-manieth pixel of all photos but the held-out one."""
    found = []
    for name in photos.names:
        if name == HELD_OUT:
            continue
        fx, fy, cx, cy = photos.lens(name)
        row, column = np.divmod(np.flatnonzero(photos.depth[name])[::every], photos.depth[name].shape[1])
        depth = photos.depth[name][row, column]
        local = np.stack([(column + 0.5 - cx) / fx * depth, (row + 0.5 - cy) / fy * depth, depth], axis=1)
        found.append(local @ photos.pose[name][:, :3].T + photos.pose[name][:, 3])
    return np.concatenate(found)


def _gaussians(scene: Scene, photos: Photos) -> Gaussians:
    """Opaque ones on what the fitted photos see, whose light differs from photo to photo."""
    points, colours = [], []
    scale = float(scene.scene_from_model[:3, :3].det() ** (1 / 3))  # world units a metre
    for i in scene.indices("train"):
        view, name = scene.views[i], scene.names[i]
        depth = torch.from_numpy(photos.depth[name] * scale).float()
        places = view.centre + depth[..., None] * ray_directions(view, pixel_centres(view))
        points.append(places[depth > 0])
        colours.append(scene.photo(i)[depth > 0].float() / 255)
    random = torch.Generator().manual_seed(0)
    centres, shades = torch.cat(points), torch.cat(colours)
    kept = torch.randperm(len(centres), generator=random)[:GAUSSIANS]
    field = Gaussians(code_size=CODE)
    field.initialise(centres[kept], shades[kept], scene.names, seed=0)
    with torch.no_grad():
        field.opacity_logits.fill_(4.0)
        field.codes.table.copy_(torch.randn(field.codes.table.shape, generator=random))
        field.appearance_model.to_affine.weight.copy_(
            0.5 * torch.randn(field.appearance_model.to_affine.weight.shape, generator=random)
        )
    return field.eval()
