"""Labels from any server with OpenAI's chat-completions API: `vllm serve`, llama.cpp, Ollama, hosted ones."""

from __future__ import annotations

import asyncio
import queue
import threading
import weakref
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from halonerf.config.option_types import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    Seed,
    Text,
)
from halonerf.distillers.llm.answer_cache import Reply
from halonerf.distillers.llm.base import LanguageDistiller
from halonerf.distillers.llm.prompts import Messages
from halonerf.distillers.llm.server_client import Refused, ServerClient
from halonerf.errors import BadInput

FORMATS = ("json_schema", "json_object", "none")  # from the strictest; "auto" tries them in this order


class OpenaiServer(LanguageDistiller):
    """A `LabelDistiller` that sends concurrent requests to a server; see `LanguageDistiller` for the shared options.

    The key is read from the environment and written nowhere. A server that is down makes the run pause; see
    `ServerClient`. A request that fails while the server answers others gives an empty label and is counted by kind.

    Args:
        model: its name on the server. url: of the server's API. key_variable: environment variable with the key.
        structured: how answers are constrained: "json_schema", "json_object", "none", or "auto", the strictest that
            the server accepts.
        temperature, top_p, seed: of sampling; seed None: the server is given none.
        tokens: maximum number of new tokens per answer. tokens_name: the server's name of that option.
        chat_options: for the model's chat template, on vLLM's server.
        workers: concurrent requests. per_minute: requests at most; None: any number.
        timeout_s: s, of a request. retries: of a request. backoff_s: s before the first retry, doubled each time.
        patience_s: s that the server may be down before the run is given up.
    """

    runtime_options: ClassVar[tuple[str, ...]] = (
        "key_variable", "workers", "per_minute", "timeout_s", "retries", "backoff_s", "patience_s",
    )  # fmt: skip

    def __init__(
        self,
        model: Text,
        url: Text = "http://localhost:8000/v1",
        key_variable: Text = "OPENAI_API_KEY",
        prompt: Text = "structured",
        answers: Literal["json", "plain", "paper"] = "json",
        structured: Literal["auto", "json_schema", "json_object", "none"] = "auto",
        labels: PositiveInt = 3,
        closed: bool = False,
        vocabulary: str | None = None,
        same_as: str | None = None,
        ungrounded: Fraction = 0.5,
        min_confidence: Fraction = 0.2,
        characters: PositiveInt = 1000,
        temperature: NonNegativeFloat = 0.0,
        top_p: PositiveFraction = 1.0,
        seed: Seed | None = 0,
        tokens: PositiveInt = 1024,
        tokens_name: Text = "max_tokens",
        chat_options: Mapping[str, Any] | None = None,
        workers: PositiveInt = 32,
        per_minute: PositiveFloat | None = None,
        timeout_s: PositiveFloat = 120.0,
        retries: NonNegativeInt = 4,
        backoff_s: PositiveFloat = 0.5,
        patience_s: PositiveFloat = 600.0,
        cache: str | None = None,
    ) -> None:
        """Raises: BadInput for an address that is none, or that has a password."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise BadInput(
                f"expected url to be like http://localhost:8000/v1, without user name or password, got one with scheme "
                f"'{parts.scheme}' and host '{parts.hostname}'.\n"
                f"Set the key in the environment variable {key_variable}."
            )
        sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, tokens_name: tokens}
        sampling |= {"seed": seed} if seed is not None else {}
        sampling |= {"chat_template_kwargs": dict(chat_options)} if chat_options else {}
        super().__init__(
            model, {**sampling, "structured": structured}, prompt, answers, labels, closed, vocabulary, same_as,
            ungrounded, min_confidence, characters, cache,
        )  # fmt: skip
        self.body, self.workers = {"model": model, **sampling}, workers
        self._formats = list(FORMATS if structured == "auto" else (structured,)) if answers == "json" else ["none"]
        self._accepted = False  # whether the server has answered in the first of them
        self._connect = partial(
            ServerClient, url, key_variable, workers, timeout_s, retries, backoff_s, patience_s, per_minute
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: list[ServerClient] = []  # one, once the loop runs

    def query(self, prompts: Sequence[Messages]) -> Iterator[tuple[int, Reply]]:
        """Replies in order of arrival; `workers` requests are under way at any time."""
        arrived: queue.SimpleQueue[tuple[int, Reply] | None] = queue.SimpleQueue()
        running = self._start(self._query_all(prompts, arrived))
        running.add_done_callback(lambda _: arrived.put(None))
        try:
            while (entry := arrived.get()) is not None:
                yield entry
            running.result()  # raises the error, if any
        finally:
            running.cancel()

    def counts(self) -> dict[str, float]:
        """Counts of `LanguageDistiller`, and `requests`: number of requests, retries included."""
        return {**super().counts(), "requests": sum(client.tries for client in self._clients)}

    def _start(self, work: Coroutine[Any, Any, None]) -> Any:
        """Start `work` in an event loop in a thread: connections stay open, and notebooks already run a loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="openai_server", daemon=True).start()
            weakref.finalize(self, _stop, self._loop, self._clients)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _query_all(self, prompts: Sequence[Messages], arrived: queue.SimpleQueue[Any]) -> None:
        if not self._clients:
            self._clients.append(self._connect())
        waiting = iter(enumerate(prompts))

        async def work() -> None:
            for place, messages in waiting:
                arrived.put((place, await self._answer(messages)))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.workers, len(prompts))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:  # the first one is the cause of the others
            raise errors.exceptions[0] from None

    async def _answer(self, messages: Messages) -> Reply:
        """The server's reply, in the strictest format that it accepts."""
        place = 0
        while True:
            form = self._formats[min(place, len(self._formats) - 1)]
            body = {**self.body, "messages": list(messages), **self._format(form)}
            try:
                reply = _reply(await self._clients[0].post("chat/completions", body))
            except Refused as refusal:
                if refusal.kind in ("http_400", "http_422") and not self._accepted and place + 1 < len(self._formats):
                    place += 1
                    continue
                return Reply("", failure=refusal.kind)
            if not self._accepted:
                self._formats, self._accepted = self._formats[self._formats.index(form) :], True
            return reply

    def _format(self, form: str) -> dict[str, Any]:
        if form == "json_schema":
            named = {"name": "labels", "schema": self.schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        return {"response_format": {"type": "json_object"}} if form == "json_object" else {}


def _stop(loop: asyncio.AbstractEventLoop, clients: list[ServerClient]) -> None:
    """Close the connections, then end the loop's thread."""

    async def close() -> None:
        for client in clients:
            await client.close()
        loop.stop()

    asyncio.run_coroutine_threadsafe(close(), loop)


def _reply(data: Mapping[str, Any]) -> Reply:
    """Text and token counts of a chat completion; anything else is a reply with the failure "garbage"."""
    try:
        choice = data["choices"][0]
        text, finish_reason = choice["message"]["content"], choice.get("finish_reason")
        usage = data.get("usage") or {}
        tokens_in, tokens_out = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return Reply("", failure="garbage")
    if not isinstance(text, str):
        return Reply("", tokens_in, tokens_out, failure="no_text")
    return Reply(
        text,
        tokens_in,
        tokens_out,
        failure="" if finish_reason in ("stop", None) else f"ended_by_{str(finish_reason)[:20]}",
    )
