"""Uploads: a photo whose light is taken, and a path to go on with. The guard counts their bytes while they arrive."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from halonerf.camera_paths.path import CameraPath
from halonerf.errors import BadInput
from halonerf.viewer.film import check_lights
from halonerf.viewer.web.film_models import UploadedLight
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.routes.paths import stored_path

UPLOADS_AT_A_TIME = 2  # bounds the memory that they take; others wait before they are read
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}  # for OpenAPI


def uploads_router(scene: LiveScene) -> APIRouter:
    """Routes below `/api/uploads`, whose bodies may have `viewer.upload_mb`."""
    router = APIRouter(prefix="/uploads", tags=["uploads"])
    turn = asyncio.Semaphore(UPLOADS_AT_A_TIME)

    @router.post("/light", openapi_extra=BODY)
    async def light(request: Request, name: Annotated[str, Query(max_length=1000)] = "") -> UploadedLight:
        """Take the light of a photo (JPEG, PNG, WebP, TIFF, BMP), where the field computes one from photos."""
        async with turn:
            content = await request.body()
            number = await run_in_threadpool(scene.lights.add, name, content)
        return UploadedLight(number=number, name=scene.lights[number].name)

    @router.post("/path", openapi_extra=BODY)
    async def path(request: Request) -> dict[str, Any]:
        """Check a path's JSON file; the answer is the path."""
        async with turn:
            return await run_in_threadpool(_read_path, await request.body(), scene)

    return router


def _read_path(content: bytes, scene: LiveScene) -> dict[str, Any]:
    """Raises: BadInput for what is no path, or has lights that the scene lacks."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadInput("expected a path's JSON file, got a file that is no text") from error
    path = CameraPath.from_json(text)
    check_lights(path, scene.engine)
    return stored_path(path)
