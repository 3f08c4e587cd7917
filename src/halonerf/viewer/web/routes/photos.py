"""Photos: their list and their pictures. They are addressed by position: names are texts, never paths."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response

from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Photo
from halonerf.viewer.web.routes.binary import described

JPEG = "image/jpeg"


def photos_router(scene: LiveScene) -> APIRouter:
    """Routes below `/api/photos`."""
    router = APIRouter(prefix="/photos", tags=["photos"])

    def checked(number: int) -> int:
        if not 0 <= number < len(scene.photos):
            raise HTTPException(404, f"Expected a photo from 0 to {len(scene.photos) - 1}, got {number}.")
        return number

    @router.get("")
    def photos() -> list[Photo]:
        """All photos with their cameras."""
        return scene.photos

    @router.get("/{number}/thumbnail", response_class=Response, responses=described(JPEG))
    def thumbnail(number: int) -> Response:
        """A photo's small picture."""
        return Response(scene.small_picture(checked(number)), media_type=JPEG)

    @router.get("/{number}/picture", response_class=Response, responses=described(JPEG))
    def picture(number: int) -> Response:
        """A photo at its working size."""
        return Response(scene.picture(checked(number)), media_type=JPEG)

    return router
