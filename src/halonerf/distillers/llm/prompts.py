"""Prompt templates, rendered with the cleaned fields of one record, so that the record stays data.

A template is a Jinja file. A line of three dashes separates the system message, above it, from the user message;
without one there is only a user message. Variables: `name` (the landmark, or its building type), `landmark`,
`building_type`, `filename`, `caption`, `categories` (a list), `labels` (maximum number of labels), `concepts` (a list;
empty: any words).
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

PACKAGED = Path(__file__).parents[1] / "prompts"
SEPARATOR = re.compile(r"^---[ \t]*$", re.MULTILINE)
MAX_CATEGORIES = 16  # the deepest; further ones of a photo in hundreds of categories carry no information
MAX_NAME_CHARS = 200  # of a landmark's name or building type
_ANGLES = str.maketrans({"<": "‹", ">": "›"})  # so that no record can close its block or contain a special token
_ROLE = re.compile(r"\[(/?[A-Z_]{2,})\]")  # "[INST]" is a special token of some models

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Fields:
    """The fields of a record in a prompt: one line each, without markup and without special tokens of models."""

    name: str
    landmark: str
    building_type: str
    filename: str
    caption: str
    categories: tuple[str, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Caption, file name and categories from the deepest on, without empty ones: where evidence is searched."""
        return tuple(text for text in (self.caption, self.filename, *reversed(self.categories)) if text)


class Prompt:
    """A prompt template with its options."""

    def __init__(self, template: str, characters: int, labels: int = 1, concepts: Sequence[str] = ()) -> None:
        """
        Args:
            template: name of a file in halonerf/distillers/prompts without its ".txt", or the path of a file.
            characters: maximum length of each field, and of all categories together.
            labels, concepts: values of the template's variables.

        Raises: BadInput where there is no such file, or it is no template of these variables.
        """
        self.characters, self.labels, self.concepts = characters, labels, list(concepts)
        path = _template_path(template)
        environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            parts = SEPARATOR.split(path.read_text(encoding="utf-8"), maxsplit=1)
            self._parts = [environment.from_string(part.strip()) for part in parts]
            self.render(self.fields(ImageRecord("photo.jpg", "landmark", categories=("category",))))
        except (OSError, UnicodeDecodeError, TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise BadInput(
                f"expected a Jinja template of name, landmark, building_type, filename, caption, categories, labels "
                f"and concepts in {path}, but: {error}.\nFix it, or start from one of: {', '.join(_packaged_names())}"
            ) from error

    def fields(self, record: ImageRecord) -> Fields:
        """The fields of `record`, cleaned and truncated."""
        categories: list[str] = []
        left = self.characters
        for category in reversed(record.categories[-MAX_CATEGORIES:]):
            text = one_line(category, left)
            left -= len(text)
            if text:
                categories.append(text)
            if left < 1:
                break
        landmark, kind = one_line(record.landmark, MAX_NAME_CHARS), one_line(record.building_type, MAX_NAME_CHARS)
        return Fields(
            name=landmark or (f"a {kind}" if kind else "a building"),
            landmark=landmark,
            building_type=kind,
            filename=one_line(PurePosixPath(record.filename or record.image_id).name, self.characters),
            caption=one_line(record.caption, self.characters),
            categories=tuple(reversed(categories)),
        )

    def render(self, fields: Fields) -> Messages:
        """The messages, each with "role" ("system" or "user") and "content"."""
        values = {**vars(fields), "categories": list(fields.categories)}
        texts = [part.render(**values, labels=self.labels, concepts=self.concepts).strip() for part in self._parts]
        roles = ("system", "user") if len(texts) == 2 else ("user",)
        return tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=True) if text)


def one_line(text: str, characters: int) -> str:
    """`text` as one line of at most `characters`, without markup, control characters and special tokens of models."""
    line = " ".join(clean(text, characters).translate(_ANGLES).split())
    return _ROLE.sub(r"(\1)", line)[:characters].strip()


def as_text(messages: Messages) -> str:
    """The messages as one text, for models without a chat template."""
    return "\n\n".join(message["content"] for message in messages)


def _packaged_names() -> list[str]:
    return sorted(path.stem for path in PACKAGED.glob("*.txt"))


def _template_path(template: str) -> Path:
    packaged = PACKAGED / f"{template}.txt"
    path = packaged if template in _packaged_names() else Path(template).expanduser()
    if not path.is_file():
        raise BadInput(
            f"expected prompt to be one of {', '.join(_packaged_names())}, or the path of a template file, got "
            f"'{template}'."
        )
    return path
