"""Uploads: a photo whose light is taken, a path, a file of marks. The guard counts their bytes while they arrive."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from halonerf.annotations import AnnotationSet
from halonerf.camera_paths.path import CameraPath
from halonerf.errors import BadInput
from halonerf.viewer.film import check_lights
from halonerf.viewer.web.film_models import UploadedLight
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.routes.paths import stored_path
from halonerf.viewer.web.teaching import Teaching
from halonerf.viewer.web.teaching_models import AnnotationFile, TaughtChange, Window

UPLOADS_AT_A_TIME = 2  # bounds the memory that they take; others wait before they are read
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}  # for OpenAPI


def uploads_router(scene: LiveScene, teaching: Teaching) -> APIRouter:
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

    @router.post("/annotations", openapi_extra=BODY)
    async def annotations(request: Request, window: Window = "") -> list[str]:
        """Add the marks of another person's file; the concepts that changed."""
        async with turn:
            changed = await run_in_threadpool(_merge, await request.body(), teaching)
        scene.board.publish(TaughtChange(changed=changed, by=window))
        return changed

    return router


def _merge(content: bytes, teaching: Teaching) -> list[str]:
    """Raises: BadInput for what is no file of annotations, or has too many."""
    try:
        file = AnnotationFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(
            f"expected a file of marks that this page saved, but {place} is wrong: {first['msg']}"
        ) from error
    return teaching.merge(AnnotationSet(file.annotations, file.removed, file.corrected))


def _read_path(content: bytes, scene: LiveScene) -> dict[str, Any]:
    """Raises: BadInput for what is no path, or has lights that the scene lacks."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadInput("expected a path's JSON file, got a file that is no text") from error
    path = CameraPath.from_json(text)
    check_lights(path, scene.engine)
    return stored_path(path)
