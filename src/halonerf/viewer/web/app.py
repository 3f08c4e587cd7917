"""The FastAPI application: the page, its modules, and the routes of every subject behind one guard."""

from __future__ import annotations

import logging
from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from halonerf import __version__
from halonerf.errors import UserError
from halonerf.page.document import app_files, live_page
from halonerf.viewer.web.films import FilmStudio
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.note_book import NoteBook
from halonerf.viewer.web.routes.films import films_router
from halonerf.viewer.web.routes.lights import lights_router
from halonerf.viewer.web.routes.notes import notes_router
from halonerf.viewer.web.routes.paths import paths_router
from halonerf.viewer.web.routes.photos import photos_router
from halonerf.viewer.web.routes.renderings import renderings_router
from halonerf.viewer.web.routes.scene import scene_router
from halonerf.viewer.web.routes.teaching import teaching_router
from halonerf.viewer.web.routes.uploads import uploads_router
from halonerf.viewer.web.routes.words import words_router
from halonerf.viewer.web.teaching import Teaching

log = logging.getLogger("halonerf")

MEDIA_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}


def make_app(scene: LiveScene, studio: FilmStudio, book: NoteBook, teaching: Teaching) -> FastAPI:
    """The application, without its guard. `/openapi.json` describes it; a page of documentation would need a CDN."""
    app = FastAPI(title=f"HaloNeRF: {scene.title}", version=__version__, docs_url=None, redoc_url=None)
    for router in (
        scene_router(scene),
        photos_router(scene),
        lights_router(scene),
        words_router(scene, book),
        renderings_router(scene),
        paths_router(scene),
        films_router(studio),
        uploads_router(scene, teaching),
        notes_router(scene, book),
        teaching_router(scene, teaching),
    ):
        app.include_router(router, prefix="/api")

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(live_page(scene.title))

    @app.get("/app/{name}", include_in_schema=False)
    def app_file(name: str) -> Response:
        if name not in app_files():
            raise HTTPException(404, "Expected a module or the style of the page.")
        return Response(app_files()[name], media_type=MEDIA_TYPES[name.rpartition(".")[2]])

    app.add_exception_handler(UserError, _mistake)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OSError, _file_failed)
    return app


def _mistake(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 400)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    """What was expected where, as one text; what came is not repeated."""
    assert isinstance(error, RequestValidationError)
    found = (f"{'.'.join(str(place) for place in one['loc'][1:])}: {one['msg']}" for one in error.errors())
    return JSONResponse({"detail": "\n".join(found)}, 422)


def _file_failed(_: Request, error: Exception) -> JSONResponse:
    """Which file could not be read or written, without its folder, and why; the log has the rest."""
    assert isinstance(error, OSError)
    log.error("a file could not be read or written", exc_info=error)
    name = Path(str(error.filename)).name if error.filename else "a file of the scene"
    text = (
        f"expected to read or write {name}, but: {error.strerror or 'it could not be'}.\n"
        "Was a folder of the scene removed, or is the disk full? The log of stage=explore names the file."
    )
    return JSONResponse({"detail": text}, 500)
