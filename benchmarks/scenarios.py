"""Scenarios of the benchmarks. Each takes a server and returns figures, whose names end in their unit.

Each is limited in number, so that a round takes seconds; there are many rounds instead, and they are interleaved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from .client import Connection
from .figures import percentile
from .servers import Server

Figures: TypeAlias = Mapping[str, float]
Scenario: TypeAlias = Callable[[Server, float], Awaitable[Figures]]
"""Function of the server, and a factor for the amount of work."""

_NOOP: Final = {"assistant_id": "noop", "input": {"n": 1}}


def _talk(count: int) -> dict[str, Any]:
    said = {"messages": [{"role": "human", "content": "go on"}], "count": count}
    return {"assistant_id": "tokens", "input": said, "stream_mode": "messages-tuple"}


async def run_latency(server: Server, size: float) -> Figures:
    """Measure a trivial run, created and awaited, one after the other."""
    times, cpu = [], server.cpu_seconds()
    runs = _times(50, size)
    async with Connection(server.port) as connection:
        for _ in range(runs):
            began = time.perf_counter()
            await connection.post("/runs/wait", _NOOP)
            times.append(time.perf_counter() - began)
    used = server.cpu_seconds() - cpu
    return {
        "median_ms": percentile(times, 50) * 1e3,
        "p95_ms": percentile(times, 95) * 1e3,
        "cpu_ms_per_run": used / runs * 1e3,
    }


async def pickup(server: Server, size: float) -> Figures:
    """Measure the time from the request to the first event, on an otherwise idle server."""
    times = []
    for _ in range(_times(20, size)):
        # A pause, so that no cache is warm and no cleanup of the previous run is active.
        await asyncio.sleep(0.02)
        async with Connection(server.port) as connection:
            times.append(await _first(connection, {**_NOOP, "stream_mode": "values"}, b"data: "))
    return {"median_ms": percentile(times, 50) * 1e3, "p95_ms": percentile(times, 95) * 1e3}


async def first_token(server: Server, size: float) -> Figures:
    """Measure the time from the request to the first token of a model that responds at once."""
    times = []
    for _ in range(_times(20, size)):
        async with Connection(server.port) as connection:
            times.append(await _first(connection, _talk(5), b"AIMessageChunk"))
    return {"median_ms": percentile(times, 50) * 1e3, "p95_ms": percentile(times, 95) * 1e3}


async def tokens_of_one_stream(server: Server, size: float) -> Figures:
    return await _tokens(server, streams=1, count=_times(1_000, size))


async def tokens_of_twenty_streams(server: Server, size: float) -> Figures:
    return await _tokens(server, streams=20, count=_times(100, size))


async def runs_one_by_one(server: Server, size: float) -> Figures:
    return await _runs(server, clients=1, count=_times(50, size))


async def runs_sixteen_at_once(server: Server, size: float) -> Figures:
    return await _runs(server, clients=16, count=_times(160, size))


async def turns_sixteen_at_once(server: Server, size: float) -> Figures:
    """Measure trivial runs on threads that exist, each client on its own thread."""
    return await _runs(server, clients=16, count=_times(160, size), on_threads=True)


async def create(server: Server, size: float) -> Figures:
    """Measure the time until a background run has been accepted, one after the other."""
    times, cpu = [], server.cpu_seconds()
    runs = _times(50, size)
    async with Connection(server.port) as connection:
        for _ in range(runs):
            began = time.perf_counter()
            await connection.post("/runs", _NOOP)
            times.append(time.perf_counter() - began)
        # A run of the same kind after the others ends after them.
        await connection.post("/runs/wait", _NOOP)
    used = server.cpu_seconds() - cpu
    return {"median_ms": percentile(times, 50) * 1e3, "cpu_ms_per_run": used / (runs + 1) * 1e3}


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "run latency": run_latency,
    "pick-up at idle": pickup,
    "first token": first_token,
    "tokens, 1 stream": tokens_of_one_stream,
    "tokens, 20 streams": tokens_of_twenty_streams,
    "runs, 1 client": runs_one_by_one,
    "runs, 16 clients": runs_sixteen_at_once,
    "turns, 16 clients": turns_sixteen_at_once,
    "background runs": create,
}

DURABLE: Final = frozenset(
    ("run latency", "runs, 1 client", "runs, 16 clients", "turns, 16 clients", "background runs")
)
"""Scenarios whose result is acknowledged only when it is on disk: they are compared with a floor that does the same."""


async def warm_up(server: Server) -> None:
    """Warm up first imports, caches and pools; not measured."""
    await _runs(server, clients=4, count=20)
    await _tokens(server, streams=2, count=50)


async def _first(connection: Connection, body: Any, mark: bytes) -> float:
    began, seen, taken = time.perf_counter(), b"", 0.0
    async for piece in connection.stream("/runs/stream", body):
        if not taken:
            seen += piece
            if mark in seen:
                taken = time.perf_counter() - began
    assert taken, "the stream ended without it"
    return taken


async def _tokens(server: Server, *, streams: int, count: int) -> Figures:
    async def read() -> int:
        async with Connection(server.port) as connection:
            body = b"".join([piece async for piece in connection.stream("/runs/stream", _talk(count))])
        return body.count(b"event: messages\r\n")

    cpu, began = server.cpu_seconds(), time.perf_counter()
    seen = await asyncio.gather(*(read() for _ in range(streams)))
    taken = time.perf_counter() - began
    assert min(seen) >= count, f"tokens are missing: {seen} of {count}"
    used = server.cpu_seconds() - cpu
    return {"tokens_per_s": sum(seen) / taken, "cpu_us_per_token": used / sum(seen) * 1e6}


async def _runs(server: Server, *, clients: int, count: int, on_threads: bool = False) -> Figures:
    todo = iter(range(count))

    async def one_client() -> None:
        async with Connection(server.port) as connection:
            path = "/runs/wait"
            if on_threads:
                path = f"/threads/{orjson.loads(await connection.post('/threads', {}))['thread_id']}{path}"
            for _ in todo:
                await connection.post(path, _NOOP)

    cpu, began = server.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    taken = time.perf_counter() - began
    return {"runs_per_s": count / taken, "cpu_ms_per_run": (server.cpu_seconds() - cpu) / count * 1e3}


def _times(count: int, size: float) -> int:
    return max(1, round(count * size))
