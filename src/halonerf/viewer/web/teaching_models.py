"""What the routes of teaching take and give, as JSON; `/openapi.json` documents it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Header
from pydantic import BaseModel, Field

from halonerf.annotations import AnnotatedCamera, Annotation
from halonerf.annotations.annotation import MAX_POINTS, MAX_TEXT, RADIUS, Snap
from halonerf.protocols import FewShotMode
from halonerf.viewer.web.models import Share, Strict, Text, Word

MAX_FILE_ANNOTATIONS = 20_000  # of an uploaded file

Identifier = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Window = Annotated[str, Header(alias="X-HaloNeRF-Window", max_length=64)]  # which one changes something
Coordinate = Annotated[float, Field(ge=-0.5, le=1.5, allow_inf_nan=False)]


class NewAnnotation(Strict):
    """A mark on a photo, by its position, or on the 3D view, by its camera; see `halonerf.annotations.Annotation`.

    id: one that was removed comes back with its own. points: in widths and heights of the picture. radius: of points
    and strokes, in long sides of the picture. snap: what it is extended to, one of `TeachingState.snaps`.
    """

    id: Identifier | None = None
    concept: Text
    photo: Annotated[int, Field(ge=0)] | None = None
    camera: AnnotatedCamera | None = None
    tool: Literal["point", "stroke", "polygon"]
    points: Annotated[list[tuple[Coordinate, Coordinate]], Field(min_length=1, max_length=MAX_POINTS)]
    radius: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)] = RADIUS
    snap: Snap = "off"
    positive: bool = True
    author: Annotated[str, Field(max_length=MAX_TEXT)] = ""


class AnnotationFile(Strict):
    """A file of annotations, as the page and `halonerf.annotations.AnnotationSet.save` write it."""

    kind: Literal["halonerf annotations"]
    version: Literal[1]
    annotations: Annotated[list[Annotation], Field(default_factory=list, max_length=MAX_FILE_ANNOTATIONS)]
    removed: Annotated[list[Identifier], Field(default_factory=list, max_length=MAX_FILE_ANNOTATIONS)]
    corrected: Annotated[list[Text], Field(default_factory=list, max_length=MAX_FILE_ANNOTATIONS)]


class ModeChoice(Strict):
    """What annotations teach: the place, everything similar, or both as far as what is similar can be told."""

    mode: FewShotMode


class Correction(Strict):
    """Whether the annotations of a concept correct what the segmenter finds for that word, or stand alone."""

    concept: Text
    on: bool


class TeachingState(BaseModel):
    """All marks. missing: why nothing can be taught; null where it can. ready: whether photos' features are lifted.

    mode: what annotations teach. corrected: concepts whose annotations correct the word's own result. snaps: what new
    marks on photos can snap to. reconstruction: in whose world frame marks on the 3D view of this scene are, as
    `AnnotatedCamera.reconstruction` has it.
    """

    missing: str | None
    ready: bool
    mode: FewShotMode
    corrected: list[str]
    snaps: list[Snap]
    reconstruction: str
    annotations: list[Annotation]


class Taught(BaseModel):
    """What is believed of a concept.

    word: null where no mark of it is left. certainty: mean probability where it is shown. next: positions of photos
    without marks, those first that would tell most.
    """

    concept: str
    word: Word | None
    certainty: Share
    next: list[int]


class TaughtChange(BaseModel):
    """Told to all windows when marks changed. by: the header X-HaloNeRF-Window of who changed them."""

    changed: list[str]
    by: str
