"""One thing that a user drew on a photo: a point, a stroke or a polygon, positive or negative."""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_POINTS = 10_000  # of one stroke or polygon
MAX_TEXT = 500  # characters of a concept, a photo's name or an author
RADIUS = 0.0075  # default of points and strokes, in long sides of the photo

Coordinate = Annotated[float, Field(ge=-0.5, le=1.5, allow_inf_nan=False)]  # strokes may leave the photo


class Annotation(BaseModel):
    """A region of a photo, drawn by a user, that shows a concept or does not.

    Coordinates are of the photo as the scene shows it, without lens distortion (the frame of `Scene.photo`).

    Attributes:
        id: 32 hexadecimal digits, the same wherever the annotation is copied to.
        concept: what is shown, such as "portal". photo: the photo's image id.
        tool: "point", a disc; "stroke", a line through the points; "polygon", the area inside the points.
        points: (x, y), in widths and heights of the photo, (0, 0) its upper left corner.
        radius: of points and strokes, in long sides of the photo.
        positive: whether the region shows the concept; else it shows that the concept is not there.
        author: who drew it; may be empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=lambda: uuid.uuid4().hex, pattern=r"^[0-9a-f]{32}$")
    concept: str = Field(min_length=1, max_length=MAX_TEXT)
    photo: str = Field(min_length=1, max_length=MAX_TEXT)
    tool: Literal["point", "stroke", "polygon"]
    points: tuple[tuple[Coordinate, Coordinate], ...] = Field(min_length=1, max_length=MAX_POINTS)
    radius: float = Field(default=RADIUS, gt=0, le=0.5, allow_inf_nan=False)
    positive: bool = True
    author: str = Field(default="", max_length=MAX_TEXT)
