"""Facts of the scene, and the geometry of its splats."""

from __future__ import annotations

from fastapi import APIRouter, Response

from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import SceneFacts
from halonerf.viewer.web.routes.binary import BYTES, binary


def scene_router(scene: LiveScene) -> APIRouter:
    """Routes `/api/scene` and `/api/splats`."""
    router = APIRouter(tags=["scene"])

    @router.get("/scene")
    def facts() -> SceneFacts:
        """Photos with their cameras, lights, and how to read `/api/splats`."""
        return scene.facts

    @router.get("/splats", response_class=Response, responses=BYTES)
    def splats() -> Response:
        """Centres, sizes, rotations, opacities and the colours in the first light, one block of bytes."""
        return binary(scene.splats)

    return router
