"""Words: where a text is, in numbers and as a byte for every splat; progress while it is looked for."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response, WebSocket

from halonerf.viewer.engine import MAX_TEXT_CHARS
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Progress, Question, Word
from halonerf.viewer.web.progress import ProgressBoard
from halonerf.viewer.web.routes.binary import BYTES, binary


def words_router(scene: LiveScene, board: ProgressBoard) -> APIRouter:
    """Routes `/api/words`, `/api/words/values` and the socket `/api/progress`."""
    router = APIRouter(tags=["words"])

    @router.post("/words")
    def find(question: Question) -> Word:
        """Find a word or an expression of words, such as `window AND NOT rose window`."""
        return scene.word(question, lambda share: board.publish(Progress(text=question.text, share=share)))

    @router.get("/words/values", response_class=Response, responses=BYTES)
    def values(text: Annotated[str, Query(min_length=1, max_length=MAX_TEXT_CHARS)]) -> Response:
        """Probability of every splat (255: certain), then confidence of every splat (0: unknown; 128: the median)."""
        return binary(scene.word_bytes(text))

    @router.websocket("/progress")
    async def progress(socket: WebSocket) -> None:
        """Messages `Progress` of all queries while they run, and `TaughtChange` of marks."""
        await socket.accept()
        with board.subscribed() as queue:

            async def tell() -> None:
                while True:
                    await socket.send_text((await queue.get()).model_dump_json())

            telling = asyncio.create_task(tell())
            try:
                while (await socket.receive())["type"] != "websocket.disconnect":
                    pass  # a window says nothing
            finally:
                telling.cancel()

    return router
