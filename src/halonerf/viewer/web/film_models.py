"""What the routes of films, paths and uploads take and give, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from halonerf.viewer.web.models import MAX_WORDS, Finite, Name, Share, Strict, Text

FilmKind = Literal["mp4", "webm", "gif"]
FilmState = Literal["waiting", "rendering", "done", "cancelled", "failed"]


class Moment(Strict):
    """What a window shows, to become a key-frame. pose: camera to world [3, 4], row by row. fov: vertical, radians.

    light, to, blend: as in `Rendering`. opacity, threshold: of all words; threshold 0: each word's own. seconds: until
    the next key-frame.
    """

    pose: Annotated[list[Finite], Field(min_length=12, max_length=12)]
    fov: Annotated[float, Field(gt=0, lt=3.1)]
    light: Name
    to: Name | None = None
    blend: Share = 0.0
    words: Annotated[tuple[Text, ...], Field(max_length=MAX_WORDS)] = ()
    opacity: Share = 0.85
    threshold: Share = 0.0
    seconds: Annotated[float, Field(gt=0, le=3600)] = 3.0


class GivenPath(Strict):
    """A camera path, as `halonerf.camera_paths` writes it."""

    path: dict[str, Any]


class SampledPath(GivenPath):
    """A camera path and the frames per second at which it is sampled."""

    fps: Annotated[float, Field(gt=0, le=60)] = 20.0


class PathSample(BaseModel):
    """A moment of a path. seconds: since its start. lights: number and share of those with the largest shares, at most
    two; empty: the mean. words: opacity of each. The rest as in `Moment`.
    """

    seconds: float
    pose: list[float]
    fov: float
    lights: list[tuple[int, float]]
    words: dict[str, float]
    threshold: float


class FilmOrder(GivenPath):
    """A film to render along a path. width, height: px."""

    width: Annotated[int, Field(ge=16, le=8192)]
    height: Annotated[int, Field(ge=16, le=8192)]
    fps: Annotated[float, Field(ge=1, le=60)] = 25.0
    kind: FilmKind = "mp4"


class Film(BaseModel):
    """A film that was ordered. film: its number. share: of its frames that are rendered. file: name of the finished
    file in the folder `films`. problem: why it failed.
    """

    film: int
    state: FilmState
    share: Share = 0.0
    frames: int
    width: int
    height: int
    kind: FilmKind
    file: str | None = None
    problem: str = ""


class UploadedLight(BaseModel):
    """The light of an uploaded photo. number: its place among the lights."""

    number: int
    name: str
