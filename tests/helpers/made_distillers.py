"""Distillers for tests of engines: light to import, since every worker of a cluster imports them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from halonerf.distillers.llm.answer_cache import Reply
from halonerf.distillers.llm.base import LanguageDistiller
from halonerf.distillers.llm.prompts import Messages
from halonerf.errors import BadInput
from halonerf.types import ImageRecord, PseudoLabel


class Slow:
    """Repeats what it reads, takes its time, and notes each batch with the process that did it."""

    def __init__(self, notes: str) -> None:
        self.notes = Path(notes)

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        with open(self.notes, "a") as stream:
            stream.write(f"{os.getpid()} {records[0].image_id}\n")
        time.sleep(0.1)
        return [PseudoLabel(record.image_id, record.caption, 0.5, record.caption) for record in records]


class Refusing:
    """Says what is missing."""

    def distill(self, records: Sequence[ImageRecord]) -> list[PseudoLabel]:
        raise BadInput("expected a key, got none")


class Parrot(LanguageDistiller):
    """A language model that says of each photo what its caption says; of every seventh, nothing that can be read."""

    def __init__(self, model: str = "parrot") -> None:
        super().__init__(model, {}, "short", "plain", 1, False, None, None, 0.5, 0.0, 100, None)

    def query(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        for place, messages in enumerate(prompts):
            said = next(line for line in messages[-1]["content"].splitlines() if "part " in line)
            number = int("".join(c for c in said.split("part ")[1] if c.isdigit()))
            yield place, Reply(f"portal {number}", 10, 2, 0.5, "" if number % 7 else "timeout")
