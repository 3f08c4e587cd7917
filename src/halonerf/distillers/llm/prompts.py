"""Prompts: a template file with variables, filled with what one record says, so that the record stays data.

A template is a Jinja file. A line of three dashes parts the system's message, above it, from the user's; without one
all is the user's. Variables: `name` (the landmark, or what kind of building it is), `landmark`, `building_type`,
`filename`, `caption`, `categories` (a list), `labels` (how many may be given), `concepts` (a list; empty: any words).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from halonerf.distillers.gazetteer.mentions import clean
from halonerf.errors import BadInput
from halonerf.types import ImageRecord

OWN = Path(__file__).parents[1] / "prompts"
SEPARATOR = re.compile(r"^---[ \t]*$", re.MULTILINE)
CATEGORIES = 16  # the deepest; a photo in hundreds of categories says nothing by the rest
LANDMARK = 200  # characters of a landmark's name, or of a kind of building
_ANGLES = str.maketrans({"<": "‹", ">": "›"})  # nothing in a record can close its block, or be a model's own mark
_ROLE = re.compile(r"\[(/?[A-Z_]{2,})\]")  # "[INST]" is one token to some models

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Fields:
    """What of a record is shown to a model: one line each, without markup and marks that models take for their own."""

    name: str
    landmark: str
    building_type: str
    filename: str
    caption: str
    categories: tuple[str, ...]

    @property
    def told(self) -> tuple[str, ...]:
        """The texts in which evidence may lie, the most direct first."""
        return tuple(text for text in (self.caption, self.filename, *reversed(self.categories)) if text)


class Prompt:
    """A template, and how to fill it."""

    def __init__(self, template: str, characters: int, labels: int = 1, concepts: Sequence[str] = ()) -> None:
        """
        Args:
            template: name of a file in halonerf/distillers/prompts without its ".txt", or the path of a file.
            characters: of each field that are shown; of all categories together, too.

        Raises: BadInput where there is no such file, or it is no template of these variables.
        """
        if characters < 1:
            raise BadInput(f"expected characters of at least 1 in each field, got {characters}.")
        self.characters, self.labels, self.concepts = characters, labels, list(concepts)
        path = _find(template)
        environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            parts = SEPARATOR.split(path.read_text(encoding="utf-8"), maxsplit=1)
            self._parts = [environment.from_string(part.strip()) for part in parts]
            self.render(self.fields(ImageRecord("photo.jpg", "landmark", categories=("category",))))
        except (OSError, UnicodeDecodeError, TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise BadInput(
                f"expected a Jinja template of name, landmark, building_type, filename, caption, categories, labels "
                f"and concepts in {path}, but: {error}.\nMend it, or start from one of: {', '.join(_own())}"
            ) from error

    def fields(self, record: ImageRecord) -> Fields:
        """What `record` says, cleaned and cut."""
        categories: list[str] = []
        left = self.characters
        for category in reversed(record.categories[-CATEGORIES:]):
            text = shown(category, left)
            left -= len(text)
            if text:
                categories.append(text)
            if left < 1:
                break
        landmark, kind = shown(record.landmark, LANDMARK), shown(record.building_type, LANDMARK)
        return Fields(
            name=landmark or (f"a {kind}" if kind else "a building"),
            landmark=landmark,
            building_type=kind,
            filename=shown(PurePosixPath(record.filename or record.image_id).name, self.characters),
            caption=shown(record.caption, self.characters),
            categories=tuple(reversed(categories)),
        )

    def render(self, fields: Fields) -> Messages:
        """The messages, each with "role" ("system" or "user") and "content"."""
        values = {**vars(fields), "categories": list(fields.categories)}
        texts = [part.render(**values, labels=self.labels, concepts=self.concepts).strip() for part in self._parts]
        roles = ("system", "user") if len(texts) == 2 else ("user",)
        return tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=True) if text)


def shown(text: str, characters: int) -> str:
    """One line of at most `characters`, without markup, control characters, and what could pass for a model's mark."""
    line = " ".join(clean(text, characters).translate(_ANGLES).split())
    return _ROLE.sub(r"(\1)", line)[:characters].strip()


def as_text(messages: Messages) -> str:
    """The messages as one text, for models that know no roles."""
    return "\n\n".join(message["content"] for message in messages)


def _own() -> list[str]:
    return sorted(path.stem for path in OWN.glob("*.txt"))


def _find(template: str) -> Path:
    own = OWN / f"{template}.txt"
    path = own if template in _own() else Path(template).expanduser()
    if not path.is_file():
        raise BadInput(
            f"expected prompt to be one of {', '.join(_own())}, or the path of a template file, got '{template}'."
        )
    return path
