"""One thing that a user drew on a photo or on a rendering: a point, a stroke or a polygon, positive or negative."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from halonerf.types import View

MAX_POINTS = 10_000  # of one stroke or polygon
MAX_TEXT = 500  # characters of a concept, a photo's name or an author
RENDERING_PX = 640  # long side at most at which annotations of renderings are read
RADIUS = 0.0075  # default of points and strokes, in long sides of the picture

Coordinate = Annotated[float, Field(ge=-0.5, le=1.5, allow_inf_nan=False)]  # strokes may leave the picture
Finite = Annotated[float, Field(allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=16, le=8192)]
Snap = Literal["off", "superpixels", "sam"]  # see `Annotation`


class AnnotatedCamera(BaseModel):
    """The camera of a rendering that was annotated, in the world frame of a reconstruction.

    Attributes:
        width, height, focal, principal: px.
        pose: camera to world [3, 4], row by row; x right, y down, z ahead; world units.
        reconstruction: fingerprint of the stage `ingest` whose world frame this is; "": of the open scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Pixels
    height: Pixels
    focal: float = Field(gt=0, allow_inf_nan=False)
    principal: tuple[Finite, Finite]
    pose: tuple[Finite, ...] = Field(min_length=12, max_length=12)
    reconstruction: str = Field(default="", max_length=MAX_TEXT)

    @model_validator(mode="after")
    def _axes_are_orthonormal(self) -> Self:
        axes = np.reshape(self.pose, (3, 4))[:, :3]
        if not np.allclose(axes @ axes.T, np.eye(3), atol=1e-2):
            raise ValueError("expected a pose whose first three columns are orthonormal axes")
        return self

    def view(self) -> View:
        """The camera for rendering, at its own size."""
        import torch

        x, y = self.principal
        pose = torch.tensor(self.pose).reshape(3, 4)
        return View(self.width, self.height, self.focal, self.focal, x, y, pose)


class Annotation(BaseModel):
    """A region that a user drew, which shows a concept or does not: of a photo, or of a rendering from any camera.

    Coordinates are of the photo as the scene shows it, without lens distortion (the frame of `Scene.photo`), or of the
    rendering.

    Attributes:
        id: 32 hexadecimal digits, the same wherever the annotation is copied to.
        concept: what is shown, such as "portal".
        photo, camera: the photo's image id, or the camera of the rendering; exactly one of them.
        tool: "point", a disc; "stroke", a line through the points; "polygon", the area inside the points.
        points: (x, y), in widths and heights of the picture, (0, 0) its upper left corner.
        radius: of points and strokes, in long sides of the picture.
        snap: what the region is extended to: "off": nothing; "superpixels": those of the photo that it fills in large
            part; "sam": the mask of the photo that SAM gives for its points, for positive points and strokes. Older
            files have true for "superpixels" and false for "off".
        positive: whether the region shows the concept; else it shows that the concept is not there.
        author: who drew it; may be empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=lambda: uuid.uuid4().hex, pattern=r"^[0-9a-f]{32}$")
    concept: str = Field(min_length=1, max_length=MAX_TEXT)
    photo: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT)
    camera: AnnotatedCamera | None = None
    tool: Literal["point", "stroke", "polygon"]
    points: tuple[tuple[Coordinate, Coordinate], ...] = Field(min_length=1, max_length=MAX_POINTS)
    radius: float = Field(default=RADIUS, gt=0, le=0.5, allow_inf_nan=False)
    snap: Snap = "off"
    positive: bool = True
    author: str = Field(default="", max_length=MAX_TEXT)

    @field_validator("snap", mode="before")
    @classmethod
    def _from_older_file(cls, value: Any) -> Any:
        return ("superpixels" if value else "off") if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _has_one_picture(self) -> Self:
        if (self.photo is None) == (self.camera is None):
            raise ValueError("expected either a photo or a camera")
        if self.snap != "off" and self.photo is None:
            raise ValueError('expected snap "off" on a rendering: only what is drawn on photos snaps')
        if self.snap == "sam" and (self.tool == "polygon" or not self.positive):
            raise ValueError('expected snap "sam" for positive points and strokes only')
        return self
