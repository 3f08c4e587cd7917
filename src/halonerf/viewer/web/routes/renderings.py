"""Renderings of the field, to keep."""

from __future__ import annotations

from fastapi import APIRouter, Response

from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Rendering
from halonerf.viewer.web.routes.binary import described

PNG = "image/png"


def renderings_router(scene: LiveScene) -> APIRouter:
    """Route `/api/renderings`."""
    router = APIRouter(tags=["renderings"])

    @router.post("/renderings", response_class=Response, responses=described(PNG))
    def render(wanted: Rendering) -> Response:
        """A picture of the field from any camera, in any light, with words highlighted."""
        return Response(scene.render(wanted), media_type=PNG)

    return router
