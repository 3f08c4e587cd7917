"""Teaching: annotations of photos and of the 3D view, where the annotated concepts are found, and export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Response

from halonerf.viewer.engine import MAX_TEXT_CHARS
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Question
from halonerf.viewer.web.routes.binary import attachment, described
from halonerf.viewer.web.teaching import ANNOTATIONS, Teaching, certainty
from halonerf.viewer.web.teaching_models import (
    Correction,
    Identifier,
    ModeChoice,
    NewAnnotation,
    Taught,
    TaughtChange,
    TeachingState,
    Window,
)

JSON, PNG, ZIP = "application/json", "image/png", "application/zip"

Concept = Annotated[str, Query(min_length=1, max_length=MAX_TEXT_CHARS)]


def teaching_router(scene: LiveScene, teaching: Teaching) -> APIRouter:
    """Routes below `/api/teaching`. Changes are told to all windows."""
    router = APIRouter(tags=["teaching"])

    def state() -> TeachingState:
        kept = teaching.annotations
        return TeachingState(
            missing=teaching.missing,
            ready=teaching.ready,
            mode=teaching.mode,
            corrected=sorted(kept.corrected),
            snaps=teaching.snaps,
            reconstruction=teaching.reconstruction,
            annotations=list(kept),
        )

    def taught(concept: str) -> Taught:
        word = scene.word(Question(text=concept))
        sure = certainty(scene.engine.find(concept))
        return Taught(concept=concept, word=word, certainty=sure, next=teaching.next_photos(concept))

    def unmarked(concept: str) -> Taught:
        return Taught(concept=concept, word=None, certainty=0, next=[])

    def tell(changed: Sequence[str], window: str) -> None:
        scene.board.publish(TaughtChange(changed=list(changed), by=window))

    @router.get("/teaching")
    def marks() -> TeachingState:
        """All marks, and how they are used."""
        return state()

    @router.post("/teaching/open")
    def opened() -> TeachingState:
        """Lift the features of the photos, which takes seconds once, so that marks are answered at once."""
        teaching.open()
        return state()

    @router.post("/teaching/annotations")
    def add(wanted: NewAnnotation, window: Window = "") -> Taught:
        """Add a mark; what is believed of its concept now."""
        concept = teaching.add(wanted)
        tell([concept], window)
        return taught(concept)

    @router.delete("/teaching/annotations/{identifier}")
    def remove(identifier: Identifier, window: Window = "") -> Taught:
        """Remove a mark; what is believed of its concept now."""
        concept, left = teaching.remove(identifier)
        tell([concept], window)
        return taught(concept) if left else unmarked(concept)

    @router.get("/teaching/taught")
    def believed(concept: Concept) -> Taught:
        """What is believed of a concept; nothing where it has no marks."""
        return taught(concept) if concept in teaching.concepts() else unmarked(concept)

    @router.get("/teaching/map", response_class=Response, responses=described(PNG))
    def belief(concept: Concept, photo: int) -> Response:
        """Probability of a word or concept in a photo, 255 is certain, as a grey PNG of the photo's aspect."""
        if not 0 <= photo < len(scene.photos):
            raise HTTPException(404, f"Expected a photo from 0 to {len(scene.photos) - 1}, got {photo}.")
        return Response(scene.word_map(concept, photo), media_type=PNG)

    @router.put("/teaching/mode")
    def choose(choice: ModeChoice, window: Window = "") -> TeachingState:
        """Change what annotations teach, for all concepts."""
        tell(teaching.set_mode(choice.mode), window)
        return state()

    @router.put("/teaching/corrected")
    def correct(choice: Correction, window: Window = "") -> TeachingState:
        """Let the marks of a concept correct what the segmenter finds for that word, or stand alone."""
        teaching.correct(choice.concept, choice.on)
        tell([choice.concept], window)
        return state()

    @router.get("/teaching/file", response_class=Response, responses=described(JSON))
    def file() -> Response:
        """All marks as a file for another person, or for `segmenter=annotations`."""
        return attachment(teaching.file(), JSON, ANNOTATIONS)

    @router.post("/teaching/masks", response_class=Response, responses=described(ZIP))
    def masks() -> Response:
        """The masks of all annotated photos, `<concept>/<photo>.png`, kept in the viewer's folder, too."""
        return attachment(teaching.masks(), ZIP, "masks.zip")

    return router
