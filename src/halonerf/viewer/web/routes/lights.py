"""Lights: the mean, the times of day, every photo's, and those of uploaded photos."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response

from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Light, LitScene
from halonerf.viewer.web.routes.binary import BYTES, binary


def lights_router(scene: LiveScene) -> APIRouter:
    """Routes below `/api/lights`."""
    router = APIRouter(prefix="/lights", tags=["lights"])

    def checked(number: int) -> int:
        if not 0 <= number < len(scene.lights):
            raise HTTPException(404, f"Expected a light from 0 to {len(scene.lights) - 1}, got {number}.")
        return number

    @router.get("")
    def lights() -> list[Light]:
        """All lights, in the order of their numbers."""
        return scene.lights.all()

    @router.get("/{number}")
    def light(number: int) -> LitScene:
        """A light and the colours of its sky."""
        return scene.light(checked(number))

    @router.get("/{number}/colours", response_class=Response, responses=BYTES)
    def colours(number: int) -> Response:
        """Red, green and blue of every splat in a light, a byte each."""
        return binary(scene.colours(checked(number)).tobytes())

    return router
