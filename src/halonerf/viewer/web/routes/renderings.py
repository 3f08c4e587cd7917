"""Pictures of the field: to look at while the camera rests, and to keep."""

from __future__ import annotations

from fastapi import APIRouter, Response

from halonerf.viewer.saved_files import save_numbered
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Rendering
from halonerf.viewer.web.routes.binary import attachment, described

PNG = "image/png"


def renderings_router(scene: LiveScene) -> APIRouter:
    """Routes `/api/renderings` and `/api/pictures`."""
    router = APIRouter(tags=["renderings"])

    @router.post("/renderings", response_class=Response, responses=described(PNG))
    def render(wanted: Rendering) -> Response:
        """A picture of the field from any camera, in any light, with words lit up or a word's confidence."""
        return Response(scene.render(wanted), media_type=PNG)

    @router.post("/pictures", response_class=Response, responses=described(PNG))
    def save(wanted: Rendering) -> Response:
        """The same picture, kept besides, numbered, in the folder `pictures`."""
        content = scene.render(wanted)
        return attachment(content, PNG, save_numbered(scene.folder / "pictures", "picture.png", content).name)

    return router
