"""render: pictures of every view, for people, and a video of one view through changing light.

Output: colour/, depth/, normals/ and a folder a concept under concepts/, each with <view>.png; sheet.jpg shows them
together; light.mp4 is the video.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.artifacts import safe_name
from halonerf.errors import BadInput
from halonerf.frames import FIXED, parts, render_frame
from halonerf.pictures import depth_colours, grid, overlay, save_picture
from halonerf.protocols import SemanticHead, TrainableField
from halonerf.stages.base import Stage
from halonerf.stages.build import build
from halonerf.stages.cameras import fitted_scene
from halonerf.stages.lights import OWN, blended, check_light, light_of
from halonerf.types import Rendering, View
from halonerf.video import save_video

SHEET_ROWS = 12
VIDEO = "light.mp4"


class Render(Stage):
    """Draw the photos' views: colour, depth, and where each concept is.

    Args:
        field: config of the field that `reconstruct` fitted.
        head: config of the head that `localize` fitted.
        light: whose light to show: "own" of each photo, "mean" of all, a photo's name, or the path of an image file
            for a field that computes light from photos.
        views: "all" photos' views, or those of the "train" or "test" split.
        size: px, the longer side of the pictures; null keeps the scene's working size.
        concepts: which concepts to draw; null draws all.
        normals: whether to draw the surfaces' normals.
        memory_mb: MB that drawing a part of a frame may take; larger frames are drawn in parts.
        video: lights that a video passes through, two or more, each as in `light`; null makes none.
        video_view: name of the photo whose view the video shows; null takes the first of `views`.
        video_seconds: how long the video is.
        video_fps: its frames a second.
    """

    name = "render"
    needs = ("ingest", "reconstruct", "localize")
    seeded = True

    def __init__(
        self,
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        light: str = "own",
        views: str = "all",
        size: int | None = None,
        concepts: Sequence[str] | None = None,
        normals: bool = False,
        memory_mb: float = 512.0,
        video: Sequence[str] | None = None,
        video_view: str | None = None,
        video_seconds: float = 10.0,
        video_fps: float = 25.0,
    ) -> None:
        super().__init__()
        if views not in ("all", "train", "test"):
            raise BadInput(f"expected render.views=all, train or test, got '{views}'")
        if size is not None and size < 16:
            raise BadInput(f"expected render.size to be at least 16 px, got {size}")
        if video is not None and (isinstance(video, str) or len(video) < 2):
            raise BadInput(f"expected two or more lights for a video, as render.video=[mean,PHOTO], got {video}")
        if video_fps <= 0 or video_seconds * video_fps < 2:
            raise BadInput(f"expected a video of two frames or more, got {video_seconds} s at {video_fps} a second")
        self.field_config, self.head_config = field, head
        self.light, self.views, self.size, self.wanted = light, views, size, concepts
        self.normals, self.memory_mb = normals, memory_mb
        self.video, self.video_view = video, video_view
        self.video_fps, self.video_frames = video_fps, round(video_seconds * video_fps)

    def prepare(self) -> None:
        self.scene = fitted_scene(self.inputs)
        self.known: list[str] = json.loads((self.inputs["localize"] / "concepts.json").read_text())
        self.shown = list(self.wanted) if self.wanted is not None else self.known
        unknown = [c for c in self.shown if c not in self.known]
        if unknown:
            raise BadInput(f"expected render.concepts among {', '.join(self.known)}; got {', '.join(unknown)}")
        self.field: TrainableField = build(self.field_config)
        self.field.load(self.inputs["reconstruct"] / "field.safetensors")
        check_light(self.light, self.field, self.scene, "render.light")
        for light in self.video or ():
            check_light(light, self.field, self.scene, "render.video")
        if self.video_view is not None and self.video_view not in self.scene.names:
            names = ", ".join(self.scene.names[:5])
            raise BadInput(f"expected render.video_view to be a photo's name such as {names}; got '{self.video_view}'")
        self.head: SemanticHead = build(self.head_config)
        self.head.load(self.inputs["localize"] / "head.safetensors")
        for path in self._paths(0).values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def items(self) -> list[int | str]:
        return [*self._views(), *([VIDEO] if self.video else [])]

    def done(self, item: int | str) -> bool:
        return all(path.is_file() for path in self._paths(item).values())

    def predict_step(self, item: int | str, index: int) -> None:
        if isinstance(item, str):
            save_video(self.folder / VIDEO, self._frames(), self.video_fps)
            return
        view, appearance = self._view(item), light_of(self.light, self.field, self.scene, item)
        shown = self._draw(view, appearance, self.normals)
        colour = _bytes(shown.colour)
        pictures = {"colour": colour, "depth": depth_colours(shown.depth.numpy(), shown.opacity.numpy())}
        if shown.normals is not None:
            pictures["normals"] = _bytes(0.5 + 0.5 * shown.normals)
        if self.shown:
            for concept, probability in zip(self.shown, self._probabilities(view, appearance), strict=True):
                pictures[f"concepts/{concept}"] = overlay(colour, probability.astype(np.float32))
        for key, path in self._paths(item).items():
            save_picture(path, pictures[key])

    def finish(self) -> None:
        items = self._views()
        chosen = items[:: max(1, len(items) // SHEET_ROWS)][:SHEET_ROWS]
        rows = [[self.scene.photo(i).numpy(), *(_read(p) for p in self._paths(i).values())] for i in chosen]
        if rows:
            save_picture(self.folder / "sheet.jpg", grid(rows))

    def summary(self) -> dict[str, Any]:
        return {
            "views": len(self._views()),
            "concepts": len(self.shown),
            "light": self.light,
            "video_frames": self.video_frames if self.video else 0,
        }

    def _views(self) -> list[int]:
        return list(range(len(self.scene))) if self.views == "all" else self.scene.indices(self.views)

    def _view(self, index: int) -> View:
        """A photo's camera at the size that is asked for, where the field is."""
        view = self.scene.views[index]
        if self.size is not None:
            scale = self.size / max(view.width, view.height)
            view = view.resized(max(1, round(view.width * scale)), max(1, round(view.height * scale)))
        return view.to(self.device)

    def _draw(self, view: View, appearance: Tensor, normals: bool = False) -> Rendering:
        return render_frame(self.field, view, appearance, normals=normals, memory_mb=self.memory_mb)

    def _probabilities(self, view: View, appearance: Tensor) -> np.ndarray:
        """Of the concepts that are shown, float16 [concepts, H, W]."""
        chosen = [self.known.index(concept) for concept in self.shown]
        frame = np.empty((len(chosen), view.height, view.width), np.float16)
        for part, (rows, columns) in parts(view, FIXED + 2 * len(self.known), self.memory_mb):
            probability, _ = self.head.render(self.field, part, appearance)
            frame[:, rows, columns] = probability[..., chosen].permute(2, 0, 1).cpu().numpy()
        return frame

    @torch.no_grad()
    def _frames(self) -> Iterator[np.ndarray]:
        """One view while the light changes; "own" is that view's."""
        index = self.scene.index(self.video_view) if self.video_view is not None else self._views()[0]
        codes = torch.stack([light_of(light, self.field, self.scene, index) for light in self.video or (OWN,)])
        for code in blended(codes, self.video_frames):
            yield _bytes(self._draw(self._view(index), code).colour)

    def _paths(self, item: int | str) -> dict[str, Path]:
        """Where each picture of a view goes, by what it shows; or the video."""
        if isinstance(item, str):
            return {item: self.folder / item}
        folders = {"colour": "colour", "depth": "depth"} | ({"normals": "normals"} if self.normals else {})
        folders |= {f"concepts/{c}": f"concepts/{safe_name(c)}" for c in self.shown}
        return {key: self.folder / folder / f"{item:05d}.png" for key, folder in folders.items()}


def _bytes(image: Tensor) -> np.ndarray:
    return (image.clamp(0, 1) * 255).round().byte().numpy()


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))
