"""Notes, distances and saved views of a scene, as JSON: what the routes take and give, and what `notes.json` holds."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, computed_field, model_validator

from halonerf.viewer.web.models import Finite, PositiveFinite, Strict

Point = Annotated[tuple[Finite, Finite, Finite], Field(description="world units")]
Label = Annotated[str, Field(min_length=1, max_length=1000)]
Address = Annotated[str, Field(max_length=8000, pattern="^(#.*)?$")]
Metres = Annotated[float, Field(gt=0, le=1e6)]

MAX_ENTRIES = 1000  # notes, distances and views of a scene


class NewNote(Strict):
    """A text pinned to a point."""

    kind: Literal["note"]
    text: Label
    point: Point


class NewDistance(Strict):
    """A line between two points. name: what it measures."""

    kind: Literal["distance"]
    name: Annotated[str, Field(max_length=1000)] = ""
    points: tuple[Point, Point]


class NewView(Strict):
    """A view with words and light. address: what the page's address has behind the "#", with it."""

    kind: Literal["view"]
    name: Label
    address: Address


NewEntry = Annotated[NewNote | NewDistance | NewView, Field(discriminator="kind")]


class Note(NewNote):
    """A note and its number."""

    number: int


class Distance(NewDistance):
    """A distance and its number."""

    number: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def length(self) -> float:
        """World units."""
        return math.dist(*self.points)


class SavedView(NewView):
    """A view and its number."""

    number: int


Entry = Annotated[Note | Distance | SavedView, Field(discriminator="kind")]


class Scale(Strict):
    """A distance whose true length is known. number: of the distance. metres: its length."""

    number: int
    metres: Metres


class Notes(BaseModel):
    """All entries of a scene, in the order in which they were made.

    scale: the distance that the scene's scale comes from; null: unknown. metres_per_unit: follows from it.
    """

    entries: list[Entry]
    scale: Scale | None = None

    @model_validator(mode="after")
    def _scale_is_of_a_distance(self) -> Self:
        known = {one.number: one for one in self.entries if isinstance(one, Distance) and one.length > 0}
        if self.scale is not None and self.scale.number not in known:
            raise ValueError(f"expected scale.number to be that of a distance with a length, got {self.scale.number}")
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def metres_per_unit(self) -> float | None:
        """Metres of a world unit; null: unknown."""
        if self.scale is None:
            return None
        known = next(one for one in self.entries if one.number == self.scale.number)
        assert isinstance(known, Distance)
        return self.scale.metres / math.dist(*known.points)


class NotesChanged(BaseModel):
    """A message to all windows. notes: the number of entries."""

    notes: int


class Pixel(Strict):
    """A place in a picture. x, y: px, the centre of the first pixel at (0.5, 0.5); the rest as in `Rendering`."""

    width: Annotated[int, Field(ge=16, le=8192)]
    height: Annotated[int, Field(ge=16, le=8192)]
    focal: PositiveFinite
    principal: tuple[Finite, Finite]
    pose: Annotated[tuple[Finite, ...], Field(min_length=12, max_length=12)]
    x: Finite
    y: Finite


class SurfacePoint(BaseModel):
    """Where a ray meets the surface. point: null where it meets none."""

    point: Point | None
