"""What does `openai_server` cost beside a bare load generator against the same server?

    python benchmarks/openai_server.py [--url URL --model NAME] [--requests 2000] [--workers 32] [--rounds 3]

Without --url the server is a local one that answers after --delay seconds (a process of its own, so that the client's
processor is its own, too); its figure is what the client can do, not what a model does. Both send the same bodies with
as many connections, in turns, --rounds times. The bare one is a loop of aiohttp that posts and reads, no more; the
distiller besides fills prompts, hashes, keeps answers on disk, parses, looks evidence up and writes the trace.
Prints requests/s of both and their ratio, the median over rounds; writes benchmarks/out/openai_server.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halonerf.distillers.openai_server import OpenaiServer
from halonerf.types import ImageRecord

OUT = Path(__file__).parent / "out"
ANSWER = '{"labels": [{"label": "portal", "confidence": 0.9, "evidence": "west portal"}], "language": "en"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a running server; none: a local one that only answers")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--requests", type=int, default=2000, help="a round and client")
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.1, help="s that the local server takes for an answer")
    parser.add_argument("--tokens", type=int, default=64, help="new ones an answer at most")
    options = parser.parse_args()

    process = None
    url = options.url
    if url is None:
        near, far = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(far, options.delay), daemon=True)
        process.start()
        url = f"http://127.0.0.1:{near.recv()}/v1"
    rounds = []
    for number in range(options.rounds):
        records = made(options.requests, number)
        order = (bare, distilled) if number % 2 else (distilled, bare)
        rates = {run.__name__: run(url, options, records) for run in order}
        rounds.append({**rates, "ratio": rates["distilled"] / rates["bare"]})
        print(f"round {number}: bare {rates['bare']:.1f}/s, openai_server {rates['distilled']:.1f}/s, "
              f"ratio {rounds[-1]['ratio']:.3f}", flush=True)  # fmt: skip
    result = {name: statistics.median(entry[name] for entry in rounds) for name in ("bare", "distilled", "ratio")}
    print(
        f"median: bare {result['bare']:.1f}/s, openai_server {result['distilled']:.1f}/s, ratio {result['ratio']:.3f}"
    )
    OUT.mkdir(exist_ok=True)
    report = {**vars(options), "median": result, "rounds": rounds}
    (OUT / "openai_server.json").write_text(json.dumps(report, indent=2) + "\n")
    if process:
        process.terminate()


def made(count: int, seed: int) -> list[ImageRecord]:
    """Records whose prompts differ, so that no cache answers."""
    return [
        ImageRecord(
            f"{seed}/{i}.jpg", "A minster", f"West_portal_{seed}_{i}.jpg", f"The west portal, no. {i}", ("Portals",)
        )
        for i in range(count)
    ]


def distiller(url: str, options: argparse.Namespace) -> OpenaiServer:
    return OpenaiServer(
        options.model, url, structured="json_schema", labels=1, tokens=options.tokens, workers=options.workers
    )


def distilled(url: str, options: argparse.Namespace, records: Sequence[ImageRecord]) -> float:
    """Requests/s of the distiller, with cache and trace on disk; its connections are made before."""
    one = distiller(url, options)
    with tempfile.TemporaryDirectory() as folder:
        one.open(Path(folder))
        one.distill(made(options.workers, -1))
        started = time.perf_counter()
        one.distill(records)
        seconds = time.perf_counter() - started
    assert one.figures()["requests"] == len(records) + options.workers, "something was tried again"
    return len(records) / seconds


def bare(url: str, options: argparse.Namespace, records: Sequence[ImageRecord]) -> float:
    """Requests/s of a loop that posts the same bodies and reads the answers; its connections are made before."""
    one = distiller(url, options)

    def bodies(wanted: Sequence[ImageRecord]) -> list[dict[str, Any]]:
        return [
            {**one.body, "messages": list(one.prompt.render(one.prompt.fields(r))), **one._format("json_schema")}
            for r in wanted
        ]

    return asyncio.run(post(url, bodies(made(options.workers, -1)), bodies(records), options.workers))


async def post(url: str, first: Sequence[Any], bodies: Sequence[Any], workers: int) -> float:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=workers)) as session:

        async def work(waiting: Any) -> None:
            for body in waiting:
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    assert response.status == 200, await response.text()
                    await response.json()

        waiting = iter(first)
        await asyncio.gather(*(work(waiting) for _ in range(workers)))
        waiting = iter(bodies)
        started = time.perf_counter()
        await asyncio.gather(*(work(waiting) for _ in range(workers)))
        return len(bodies) / (time.perf_counter() - started)


def serve(far: Any, delay: float) -> None:
    """A server that answers every request the same after `delay` seconds; its port goes to `far`."""
    from aiohttp import web

    async def completion(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(delay)
        message = {"role": "assistant", "content": ANSWER}
        usage = {"prompt_tokens": 400, "completion_tokens": 40}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    async def run() -> None:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", completion)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        far.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main()
