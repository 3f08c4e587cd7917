"""What the routes take and give, as JSON; `/openapi.json` documents it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from halonerf.viewer.engine import MAX_TEXT_CHARS

MAX_WORDS = 24  # of a window

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
Name = Annotated[str, Field(max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
PositiveFinite = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Byte = Annotated[int, Field(ge=0, le=255)]
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]


class Strict(BaseModel):
    """A request's body: no fields but these."""

    model_config = ConfigDict(extra="forbid")


class PackedArray(BaseModel):
    """Where an array lies in a block of bytes, little endian. start: first byte."""

    type: str
    shape: list[int]
    start: int


class Photo(BaseModel):
    """A photo and its camera: intrinsics in px of `size`; pose: camera to world, row by row; distance: median depth."""

    name: str
    caption: str
    size: list[int]
    focal: list[float]
    principal: list[float]
    pose: list[float]
    distance: float
    thumbnail: str = Field(description="path of its small picture")
    picture: str = Field(description="path of its picture at working size")


class Sky(BaseModel):
    """Red, green and blue in 0..255 at the horizon, and high above it."""

    low: list[int]
    high: list[int]


class Light(BaseModel):
    """A light by name. photo: position of the photo whose light it is; null for the mean."""

    name: str
    photo: int | None


class LitScene(Light):
    """A light with its sky, null where the renderings show none."""

    sky: Sky | None


class SceneFacts(BaseModel):
    """What the page needs to know of the scene besides the splats.

    registered: photos. of: Gaussians in the field; splats: those that are sent. arrays, reach, sizes: how to read
    `/api/splats` (halonerf.page.packing). home: position of the photo of the first view. up: of the world. examples:
    words that the scene knows. initial_words: found at the start. palette: colours of words that are not concepts.
    still_size: px, long side of the field's picture of the resting camera; 0: none. picture_size: px, long side of
    pictures and films at most. pixels_per_s: that the field renders, as measured at the start. encodes:
    whether lights can be taken from uploaded photos.
    """

    title: str
    registered: int
    splats: int
    of: int
    arrays: dict[str, PackedArray]
    reach: float
    sizes: list[float]
    home: int
    up: Triple
    photos: list[Photo]
    credits: list[dict[str, Any]]
    lights: list[LitScene | Light]
    examples: list[str]
    initial_words: list[str]
    palette: list[str]
    still_size: int
    picture_size: int
    pixels_per_s: float
    encodes: bool


class Question(Strict):
    """A word, or an expression of words. threshold: probability from which parts count; null: the text's own."""

    text: Text
    threshold: Threshold | None = None


class Part(BaseModel):
    """A connected part. centre, extent: world units. photo: position of the photo that shows it best."""

    elements: int
    probability: float
    centre: Triple
    extent: Triple
    photo: int | None


class Word(BaseModel):
    """Where a text is.

    text: normalised. colour: a concept's, as "#rrggbb"; null: the window chooses one. known: share of the elements of
    which anything is known. threshold: its own. guess: whether it is nowhere more probable than not. photos: positions
    of those that show most of it, the best first. seconds: that finding took.
    """

    text: str
    colour: str | None
    known: float
    threshold: float
    guess: bool
    notes: list[str]
    parts: list[Part]
    photos: list[int]
    seconds: float


class Progress(BaseModel):
    """How far a query is: share of the indexed photos in which the text has been looked for."""

    text: str
    share: Share


class RenderedWord(Strict):
    """A highlighted word. rgb: its colour. strength: opacity. threshold: from which it is highlighted."""

    text: Text
    rgb: tuple[Byte, Byte, Byte]
    strength: Share = 0.85
    threshold: Threshold


class Rendering(Strict):
    """A picture to render. focal, principal: px. pose: camera to world [3, 4], row by row, x right, y down, z ahead.

    light, to, blend: name of a light, of a second one, and the share of the second. words: lit up. confidence: of a
    text, which is shown instead of words.
    """

    width: Annotated[int, Field(ge=16, le=8192)]
    height: Annotated[int, Field(ge=16, le=8192)]
    focal: PositiveFinite
    principal: Annotated[list[Finite], Field(min_length=2, max_length=2)]
    pose: Annotated[list[Finite], Field(min_length=12, max_length=12)]
    light: Name
    to: Name | None = None
    blend: Share = 0.0
    words: Annotated[list[RenderedWord], Field(max_length=MAX_WORDS)] = []
    confidence: Text | None = None
