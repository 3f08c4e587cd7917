"""Notes, distances and saved views, and the point of the surface at a place of a picture."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.note_book import NoteBook
from halonerf.viewer.web.note_models import NewEntry, Notes, NotesChanged, Pixel, Scale, SurfacePoint
from halonerf.viewer.web.surface import surface_point


def notes_router(scene: LiveScene, book: NoteBook) -> APIRouter:
    """Routes below `/api/notes`, and `/api/surface`."""
    router = APIRouter(tags=["notes"])

    def told(notes: Notes) -> Notes:
        scene.board.publish(NotesChanged(notes=len(notes.entries)))
        return notes

    @router.get("/notes")
    def notes() -> Notes:
        """All notes, distances and saved views."""
        return book.read()

    @router.post("/notes")
    def add(entry: NewEntry) -> Notes:
        """Add one; the answer is all of them."""
        return told(book.add(entry))

    @router.put("/notes/scale")
    def set_scale(scale: Scale | None = None) -> Notes:
        """Say how long a distance is in truth, from which the scene's scale follows; without a body: unknown."""
        return told(book.set_scale(scale))

    @router.delete("/notes/{number}")
    def remove(number: int) -> Notes:
        """Remove one."""
        try:
            return told(book.remove(number))
        except KeyError:
            raise HTTPException(404, f"Expected the number of a note, distance or view, got {number}.") from None

    @router.post("/surface")
    def surface(pixel: Pixel) -> SurfacePoint:
        """The point of the field's surface that is seen at a place of a picture."""
        return SurfacePoint(point=surface_point(pixel, scene.engine))

    return router
