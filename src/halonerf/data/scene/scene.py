"""A finished `ingest` folder, opened: photos, cameras, points, and their observations per photo."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import torch
from PIL import Image
from torch import Tensor

from halonerf.data.scene.files import GEOMETRY, IMAGES, SCENE, VALID
from halonerf.data.undistortion import distort, undistort, working_size
from halonerf.errors import BadInput, MissingArtifact
from halonerf.types import View

TURNS = {  # by EXIF orientation, from the stored photo to the upright one
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Scene:
    """Posed photos with sparse points; photos are read from disk on access, all else is in memory.

    Attributes:
        names: the photos' image ids, in the order of `views`.
        views: pinhole cameras at working size, normalised world frame.
        split: "train" or "test" per photo.
        near, far: [V], world units, 0.1 and 99.9 percentile of the depths of the points in each photo.
        points: [N, 3], world units. colours: [N, 3] in [0, 1]. errors: [N], mean reprojection error, px of the
            images searched for features.
        up: [3], unit.
        scene_from_model: [4, 4], similarity from the frame of `sparse/` to the world frame.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / SCENE).is_file():
            raise MissingArtifact(
                f"expected a finished ingest in {self.folder}, but {SCENE} is not there.\n"
                "Make it with: halonerf stage=ingest scene=…"
            )
        entry = json.loads((self.folder / SCENE).read_text(encoding="utf-8"))
        with np.load(self.folder / GEOMETRY, allow_pickle=False) as arrays:
            table = dict(arrays)
        self.name: str = entry["name"]
        self.names: list[str] = [v["name"] for v in entry["views"]]
        self.split: list[str] = [v["split"] for v in entry["views"]]
        self.colmap_ids: list[int] = [v["image_id"] for v in entry["views"]]
        poses = torch.from_numpy(table["camera_to_world"])
        self.views: list[View] = [
            View(v["width"], v["height"], v["fx"], v["fy"], v["cx"], v["cy"], poses[i].clone())
            for i, v in enumerate(entry["views"])
        ]
        self.near, self.far = table["near"], table["far"]
        self.points = torch.from_numpy(table["points"])
        self.colours = torch.from_numpy(table["colours"])
        self.errors = torch.from_numpy(table["errors"])
        self.up = torch.tensor(entry["up"])
        self.scene_from_model = torch.tensor(entry["scene_from_model"], dtype=torch.float64)
        self._native = [v["native"] for v in entry["views"]]
        self._offsets: np.ndarray = table["offsets"]
        self._pixels = torch.from_numpy(table["observed_pixels"])
        self._depth = torch.from_numpy(table["observed_depth"])
        self._point = torch.from_numpy(table["observed_point"].astype(np.int64))
        self._starts = np.concatenate([[0], np.cumsum([v.width * v.height for v in self.views])])
        self._index = {name: i for i, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.views)

    def indices(self, split: str = "train") -> list[int]:
        """Indices of the views of one side of the split."""
        return [i for i, side in enumerate(self.split) if side == split]

    def index(self, name: str) -> int:
        """Index of a photo's view.

        Raises: KeyError where the photo is not registered.
        """
        return self._index[name]

    def photo(self, i: int) -> Tensor:
        """Working image of view i, RGB, uint8 [H, W, 3]; black where the original does not cover it (see `valid`)."""
        return torch.from_numpy(np.array(self._flat(IMAGES, i, 3)))

    def valid(self, i: int) -> Tensor:
        """Pixels of view i that the original photo covers, bool [H, W]."""
        return torch.from_numpy(np.array(self._flat(VALID, i, 1)[..., 0]) > 0)

    def observations(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Observations of photo i: pixels [M, 2] of the working image, depth [M] along the axis, point index [M]."""
        rows = slice(int(self._offsets[i]), int(self._offsets[i + 1]))
        return self._pixels[rows], self._depth[rows], self._point[rows]

    def points_seen(self, split: str = "train", min_photos: int = 2) -> tuple[Tensor, Tensor]:
        """Points that at least `min_photos` photos of a side of the split observe, and their mean colours, [N, 3] each.

        A fit must not be initialised with what only held-out photos show.
        """
        count, total = torch.zeros(len(self.points)), torch.zeros(len(self.points), 3)
        for i in self.indices(split):
            pixels, _, points = self.observations(i)
            photo = self.photo(i)
            x = pixels[:, 0].long().clamp(0, photo.shape[1] - 1)
            y = pixels[:, 1].long().clamp(0, photo.shape[0] - 1)
            count.index_add_(0, points, torch.ones(len(points)))
            total.index_add_(0, points, photo[y, x].float() / 255)
        kept = count >= min_photos
        return self.points[kept], total[kept] / count[kept, None]

    def native_size(self, i: int) -> tuple[int, int]:
        """(width, height) of the upright original photo, px."""
        return self._native[i]["width"], self._native[i]["height"]

    def orientation(self, i: int) -> int:
        """EXIF orientation, 1 to 8, that the scene's frame of photo i ignores: 1 where the photo is used upright.

        A finished COLMAP model may be of the stored pixels of photos that viewers turn.
        """
        return int(self._native[i].get("orientation", 1))

    def native_camera(self, i: int) -> pycolmap.Camera:
        """Camera of the upright original photo, in its pixels, with lens distortion."""
        native = self._native[i]
        return pycolmap.Camera(
            model=native["model"], width=native["width"], height=native["height"], params=native["params"]
        )

    def undistort(
        self, i: int, image: np.ndarray, size: tuple[int, int] | None = None, nearest: bool = False
    ) -> np.ndarray:
        """An image drawn on the upright original photo, resampled to view i.

        Args:
            image: [h, w] or [h, w, C], at any resolution with the photo's aspect.
            size: (width, height) of the result, px; default the view's.
            nearest: take the nearest pixel (labels, masks) instead of averaging.
        Returns: [H, W(, C)], the same type; 0 where the photo does not cover the view.

        Raises: BadInput where the aspect is not the photo's.
        """
        width, height = size or (self.views[i].width, self.views[i].height)
        try:
            return undistort(self.native_camera(i), np.asarray(image), width, height, nearest)[0]
        except ValueError as error:
            native = self.native_size(i)
            raise BadInput(
                f"expected an image with the aspect of photo '{self.names[i]}', {native[0]}x{native[1]} px upright, "
                f"got {image.shape[1]}x{image.shape[0]} px.\n"
                "Draw masks on the whole, upright photo, at any resolution."
            ) from error

    def on_upright_photo(self, i: int, image: np.ndarray) -> np.ndarray:
        """An image of view i resampled to the upright original photo, as masks are drawn: the inverse of `undistort`.

        image: [H, W], at any resolution of the view's aspect. Returns: [h, w], the same type, of twice the image's long
        side at most; 0 where the view does not show the photo.
        """
        camera = self.native_camera(i)
        width, height = working_size(camera.width, camera.height, 2 * max(image.shape))
        stored = distort(camera, image, width, height)
        turn = TURNS.get(self.orientation(i))
        return stored if turn is None else np.array(Image.fromarray(stored).transpose(turn))

    def _flat(self, file: str, i: int, channels: int) -> np.ndarray:
        view = self.views[i]
        return np.memmap(
            self.folder / file,
            dtype=np.uint8,
            mode="r",
            offset=int(self._starts[i]) * channels,
            shape=(view.height, view.width, channels),
        )


def held_out_photos(folder: Path) -> frozenset[str]:
    """Image ids of the photos that a finished `ingest` folder holds out, without reading anything else of it."""
    views = json.loads((folder / SCENE).read_text(encoding="utf-8"))["views"]
    return frozenset(view["name"] for view in views if view["split"] == "test")
