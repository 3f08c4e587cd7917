"""The annotations of a scene: added, removed, merged between people, kept in one JSON file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from halonerf.annotations.annotation import AnnotatedCamera, Annotation
from halonerf.errors import BadInput, MissingArtifact
from halonerf.files import write_atomic

MAX_FILE_BYTES = 64_000_000


class _File(BaseModel):
    """The JSON file."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["halonerf annotations"] = "halonerf annotations"
    version: Literal[1] = 1
    annotations: list[Annotation] = []
    removed: list[str] = []
    corrected: list[str] = []


class AnnotationSet:
    """Annotations in the order in which they were drawn. Removed ones stay known by id, so that merging cannot bring
    them back.

    Attributes:
        corrected: concepts whose annotations correct what the segmenter finds for that word; those of other concepts
            stand alone.
    """

    def __init__(
        self, annotations: Iterable[Annotation] = (), removed: Iterable[str] = (), corrected: Iterable[str] = ()
    ) -> None:
        self.corrected = frozenset(corrected)
        self._removed = dict.fromkeys(removed)
        self._kept = {entry.id: entry for entry in annotations if entry.id not in self._removed}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Annotation]:
        return iter(list(self._kept.values()))

    def __contains__(self, annotation: Annotation) -> bool:
        return annotation.id in self._kept

    def concepts(self) -> list[str]:
        """The annotated concepts, in the order of their first annotations."""
        return list(dict.fromkeys(entry.concept for entry in self))

    def usable_concepts(self, photos: Collection[str], reconstruction: str) -> list[str]:
        """The concepts that can be learnt in a scene, in order: all their photos are of it, and something is annotated.

        photos: of the scene. reconstruction: in whose world frame annotations of renderings count, as
        `AnnotatedCamera.reconstruction`.
        """
        known = set(photos)
        return [
            concept
            for concept in self.concepts()
            if set(self.photos(concept)) <= known
            and (self.photos(concept) or any(c.reconstruction == reconstruction for c in self.cameras(concept)))
        ]

    def photos(self, concept: str) -> list[str]:
        """The photos on which a concept was annotated, in the order of their first annotations."""
        return list(dict.fromkeys(e.photo for e in self if e.concept == concept and e.photo is not None))

    def cameras(self, concept: str) -> list[AnnotatedCamera]:
        """The cameras, not of photos, that a concept was annotated from, in the order of their first annotations."""
        return list(dict.fromkeys(e.camera for e in self if e.concept == concept and e.camera is not None))

    def of(self, concept: str, picture: str | AnnotatedCamera) -> list[Annotation]:
        """The annotations of a concept on a photo, or on the rendering from a camera, in order."""
        return [e for e in self if e.concept == concept and picture in (e.photo, e.camera)]

    def add(self, annotation: Annotation) -> None:
        """Add an annotation, or bring a removed one back."""
        self._removed.pop(annotation.id, None)
        self._kept[annotation.id] = annotation

    def remove(self, identifier: str) -> Annotation | None:
        """Remove the annotation of that id; the annotation, or None where there is none."""
        found = self._kept.pop(identifier, None)
        if found is not None:
            self._removed[identifier] = None
        return found

    def merged(self, other: AnnotationSet) -> AnnotationSet:
        """The annotations of both, those of `self` first, without what either has removed."""
        return AnnotationSet([*self, *other], [*self._removed, *other._removed], self.corrected | other.corrected)

    def of_photos(self, photos: Collection[str]) -> AnnotationSet:
        """The annotations of some photos and of all other cameras, with all that is known of removed ones."""
        kept = [entry for entry in self if entry.photo is None or entry.photo in photos]
        return AnnotationSet(kept, self._removed, self.corrected)

    def differing(self, other: AnnotationSet) -> set[str]:
        """The concepts that are annotated differently in another set, or corrected in one of them alone."""
        kept = self._kept.keys() | other._kept.keys()
        pairs = [(self._kept.get(key), other._kept.get(key)) for key in kept]
        changed = {entry.concept for pair in pairs if pair[0] != pair[1] for entry in pair if entry is not None}
        return changed | (self.corrected ^ other.corrected)

    def save(self, path: Path) -> None:
        """Atomically write the file. Raises: BadInput: it would be too large to be read again."""
        content = _File(annotations=list(self), removed=list(self._removed), corrected=sorted(self.corrected))
        text = content.model_dump_json() + "\n"
        if len(text) > MAX_FILE_BYTES:
            raise BadInput(
                f"expected annotations of at most {MAX_FILE_BYTES:,} bytes, got {len(text):,}.\n"
                "Remove some, or start another file"
            )
        write_atomic(path, text)

    @classmethod
    def load(cls, path: Path) -> AnnotationSet:
        """Read what `save` wrote.

        Raises: MissingArtifact: there is no such file. BadInput: it is not a file of annotations.
        """
        if not path.is_file():
            raise MissingArtifact(
                f"expected a file of annotations at {path}, found none.\n"
                "Annotate photos in the window: halonerf stage=explore …"
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"expected a file of annotations of at most {MAX_FILE_BYTES} bytes, got {path}")
        try:
            content = _File.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            raise BadInput(
                f"expected a file of annotations at {path}, but {place} is wrong: {first['msg']}.\n"
                "Use one that the window or halonerf.annotations.AnnotationSet.save wrote."
            ) from error
        return cls(content.annotations, content.removed, content.corrected)
