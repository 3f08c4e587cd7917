"""Films: they are ordered, rendered while the window stays usable, kept, and downloaded."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

from halonerf.viewer.web.film_models import Film, FilmOrder
from halonerf.viewer.web.films import FilmStudio
from halonerf.viewer.web.routes.binary import described
from halonerf.viewer.web.routes.paths import path_of

MEDIA_TYPES = {"mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif"}


def films_router(studio: FilmStudio) -> APIRouter:
    """Routes below `/api/films`."""
    router = APIRouter(prefix="/films", tags=["films"])

    def checked(number: int) -> int:
        if number not in studio:
            raise HTTPException(404, f"Expected the number of a film that was ordered, got {number}.")
        return number

    @router.get("")
    def films() -> list[Film]:
        """The films that were ordered since the start, the last ones first."""
        return studio.films()

    @router.post("")
    def order(wanted: FilmOrder) -> Film:
        """Order a film along a path; `/api/progress` tells how far it is."""
        return studio.order(wanted, path_of(wanted))

    @router.delete("/{number}")
    def cancel(number: int) -> Film:
        """Give up a film that is not finished."""
        return studio.cancel(checked(number))

    @router.get("/{number}/file", response_class=FileResponse, responses=described("video/mp4"))
    def file(number: int) -> FileResponse:
        """The file of a finished film."""
        path = studio.file(checked(number))
        if path is None:
            raise HTTPException(404, "Expected a film that is finished, and whose file is still in its folder.")
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix[1:]], filename=path.name)

    return router
