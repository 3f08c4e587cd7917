"""Synthetic metadata of photos: in many languages, often empty, sometimes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from halonerf.data.procedural.building import stream
from halonerf.data.procedural.vocabulary import (
    BUILDING,
    CAPTIONS,
    EMPTY,
    LANGUAGES,
    PATRONS,
    TOWNS,
    TRAPS,
    WHOLE,
    WORDS,
)
from halonerf.types import ImageRecord

INFORMED = 0.72  # share of close-ups whose text names their part
WRONG = 0.05  # share of close-ups whose text names another part


@dataclass(frozen=True)
class Landmark:
    """Invented name of a landmark in every language, and its town."""

    kind: str
    place: str
    patron: str

    def name(self, language: str) -> str:
        """Name of the landmark in a language."""
        noun = BUILDING[self.kind][language]
        return f"{self.patron} {noun}" if language in ("en", "tr", "nl") else f"{noun} {self.patron}"


def landmark(kind: str, seed: int) -> Landmark:
    """The landmark's invented name."""
    rng = stream(kind, seed, "name")
    return Landmark(kind, TOWNS[rng.integers(len(TOWNS))], PATRONS[kind][rng.integers(len(PATRONS[kind]))])


def record(image_id: str, place: Landmark, seed: int, index: int, label: str, concepts: Sequence[str]) -> ImageRecord:
    """Metadata of photo `index`, a close-up of the part `label`, or of the whole building for ""."""
    rng = stream(place.kind, seed, "metadata", index)
    language = str(rng.choice(LANGUAGES, p=[0.34, 0.15, 0.15, 0.09, 0.09, 0.04, 0.04, 0.04, 0.03, 0.03]))
    fields = {
        "name": place.name(language),
        "place": place.place,
        "year": str(rng.integers(2004, 2025)),
        "number": str(rng.integers(100, 9999)).zfill(4),
    }
    draw = rng.random()
    if not label:
        text = _pick(rng, TRAPS if draw < 0.12 else EMPTY if draw < 0.35 else WHOLE[language]).format(**fields)
        return _record(rng, image_id, place, fields, text, None)
    if draw < INFORMED + WRONG:
        others = [c for c in concepts if c != label]
        shown = label if draw < INFORMED or not others else others[rng.integers(len(others))]
        word = _pick(rng, WORDS[shown][language])
        text = _pick(rng, CAPTIONS[language]).format(part=word, **fields)
        return _record(rng, image_id, place, fields, text[:1].upper() + text[1:], (shown, word))
    return _record(rng, image_id, place, fields, _pick(rng, TRAPS if draw > 0.95 else EMPTY).format(**fields), None)


def _record(
    rng: Generator, image_id: str, place: Landmark, fields: dict[str, str], text: str, named: tuple[str, str] | None
) -> ImageRecord:
    """Distribute the text over file name, caption and categories; at least one of them names the concept `named`."""
    name = place.name("en")
    categories = [name, f"Exterior of {name}"] if rng.random() < 0.7 else []
    if rng.random() < 0.4:
        categories.append(
            _pick(
                rng,
                (
                    f"{place.place} in {fields['year']}",
                    f"Views of {place.place}",
                    "Taken with Canon EOS 450D",
                    f"{BUILDING[place.kind]['en']}s in {place.place}",
                    "Quality images",
                    "Self-published work",
                ),
            )
        )
    where = rng.random()
    camera = _pick(rng, ("IMG_{number}", "DSC_{number}", "P1{number}", "{place}_{year}_{number}")).format(**fields)
    filename, caption = camera, text
    if named is not None:
        concept, _ = named
        if where < 0.35:
            filename = text
        elif where < 0.5:
            filename, caption = text, ""
        elif where < 0.62:
            plural = {"rose window": "Rose windows"}.get(concept, f"{concept.capitalize()}s")
            categories += [f"Details of {name}", f"{plural} of {name}"]
            caption = _pick(rng, EMPTY).format(**fields)
        if rng.random() < 0.3:
            categories.append(f"{concept.capitalize()}s in {place.place}")
    elif where < 0.4:
        filename = text or camera
    stem = filename.replace(" ", "_").replace("/", "-").strip("._ ") or camera
    return ImageRecord(
        image_id=image_id,
        landmark=name,
        filename=f"{stem}.jpg",
        caption=caption,
        categories=tuple(categories),
        building_type=place.kind,
    )


def _pick(rng: Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
