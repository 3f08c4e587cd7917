"""Answers of bytes, and how OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from fastapi import Response


def described(media_type: str) -> dict[int | str, dict[str, Any]]:
    """An answer of that media type, for OpenAPI."""
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


BYTES = described("application/octet-stream")


def binary(content: bytes) -> Response:
    """Bytes as they are."""
    return Response(content, media_type="application/octet-stream")


def attachment(content: bytes, media_type: str, name: str) -> Response:
    """Bytes that a browser saves under a name, one that `saved_files` gave: letters, digits, dots, dashes."""
    return Response(content, media_type=media_type, headers={"content-disposition": f'attachment; filename="{name}"'})
