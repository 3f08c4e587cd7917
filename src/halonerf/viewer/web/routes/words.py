"""Words: where a text is, in numbers and as a byte for every splat; progress while it is looked for."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response, WebSocket

from halonerf.queries.part_tables import part_csv
from halonerf.viewer.engine import MAX_TEXT_CHARS
from halonerf.viewer.web.live_scene import LiveScene
from halonerf.viewer.web.models import Progress, Question, Word
from halonerf.viewer.web.note_book import NoteBook
from halonerf.viewer.web.routes.binary import BYTES, attachment, binary, described


def words_router(scene: LiveScene, book: NoteBook) -> APIRouter:
    """Routes `/api/words`, those below it, and the socket `/api/progress`."""
    router = APIRouter(tags=["words"])

    @router.post("/words")
    def find(question: Question) -> Word:
        """Find a word or an expression of words, such as `window AND NOT rose window`."""
        return scene.word(question, lambda share: scene.board.publish(Progress(text=question.text, share=share)))

    @router.get("/words/values", response_class=Response, responses=BYTES)
    def values(text: Annotated[str, Query(min_length=1, max_length=MAX_TEXT_CHARS)]) -> Response:
        """Probability of every splat (255: certain), then confidence of every splat (0: unknown; 128: the median)."""
        return binary(scene.word_bytes(text))

    @router.get("/words/parts", response_class=Response, responses=described("text/csv"))
    def parts(
        text: Annotated[str, Query(min_length=1, max_length=MAX_TEXT_CHARS)],
        threshold: Annotated[float | None, Query(gt=0, le=1)] = None,
        kind: Literal["csv", "json"] = "csv",
    ) -> Response:
        """The list of a text's parts as a file; sizes are in metres, too, where the scale is known."""
        rows = scene.part_rows(text, threshold, book.read().metres_per_unit)
        if kind == "csv":
            return attachment(part_csv(rows).encode("utf-8"), "text/csv; charset=utf-8", "parts.csv")
        return attachment(json.dumps(rows, indent=2, ensure_ascii=False).encode(), "application/json", "parts.json")

    @router.websocket("/progress")
    async def progress(socket: WebSocket) -> None:
        """Messages: `Progress` of queries, `Film` of films, `NotesChanged` of notes, `TaughtChange` of marks."""
        await socket.accept()
        with scene.board.subscribed() as queue:

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
