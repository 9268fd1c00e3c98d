"""``python -m benchmarks.retention``: latency of small requests while retention deletes a million checkpoints.

The sweep is switched on and off by turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import servers
from .client import Connection
from .figures import percentile
from .servers import Server

_OFF: Final = 4_000_000_000_000_000
"""A time that does not come, in microseconds since 1970."""
_SETTLE: Final = 7.0
"""Seconds until the server notices that the sweep is on or off."""
_RATE: Final = 100
"""Requests per second, over this many connections."""
_CONNECTIONS: Final = 8
_FILL: Final = """
    WITH RECURSIVE numbers(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i < {last})
    INSERT INTO {table} (thread_id, {columns}) SELECT printf('bench-%08d', i), {columns} FROM numbers, {table}
    WHERE thread_id = ?
"""
_THREADS_AT_ONCE: Final = 10_000


@dataclass(slots=True)
class Latencies:
    """Seconds of each request, by phase, with the sweep off and on."""

    off: list[list[float]] = field(default_factory=list)
    on: list[list[float]] = field(default_factory=list)

    def summary(self) -> Mapping[str, float]:
        """Return milliseconds of all phases together, and the medians of the ratios of neighbouring phases."""
        figures: dict[str, float] = {}
        for percent in (50, 99):
            for name, phases in (("off", self.off), ("on", self.on)):
                figures[f"p{percent}_{name}_ms"] = percentile([one for phase in phases for one in phase], percent) * 1e3
            ratios = [percentile(b, percent) / percentile(a, percent) for a, b in zip(self.off, self.on, strict=False)]
            figures[f"p{percent}_ratio"] = statistics.median(ratios)
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention", description=__doc__)
    parser.add_argument("--checkpoints", type=int, default=1_000_000)
    parser.add_argument("--phases", type=int, default=10, help="pairs of phases with the sweep off and on")
    parser.add_argument("--seconds", type=float, default=20, help="seconds of a phase")
    parser.add_argument("--most-seconds", type=float, default=3_600, help="of the whole sweep")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runstead-retention-") as directory:
        data = Path(directory) / "data"
        with servers.runstead(data) as server:
            template = asyncio.run(_template(server))
        began = time.monotonic()
        stored = _fill(data, template, options.checkpoints)
        print(f"{stored} checkpoints in {_megabytes(data)} MB, made in {time.monotonic() - began:.0f} s", flush=True)
        _switch(data, on=False)
        rule = json.dumps([{"checkpoints_per_thread": 1}])
        with servers.runstead(data, [f"retention={rule}"]) as server:
            asyncio.run(_measure(server, data, options))


async def _template(server: Server) -> str:
    """Execute runs on a thread, until it has about ten checkpoints, and return its id."""
    async with Connection(server.port) as connection:
        thread: str = json.loads(await connection.post("/threads", {}))["thread_id"]
        for _ in range(4):
            text = {"role": "user", "content": "x" * 1_000}
            body = {"assistant_id": "tokens", "input": {"messages": [text], "count": 50}}
            await connection.post(f"/threads/{thread}/runs/wait", body)
    return thread


def _fill(data: Path, template: str, checkpoints: int) -> int:
    """Copy the template to so many threads that there are about as many ``checkpoints``; return their number."""
    main_file, checkpoint_file = data / "runstead.db", data / "checkpoints.db"
    with closing(sqlite3.connect(checkpoint_file)) as database:
        each: int = database.execute("SELECT count(*) FROM checkpoints WHERE thread_id = ?", (template,)).fetchone()[0]
    threads = max(checkpoints // each, 1)
    for file, tables in ((main_file, ("threads",)), (checkpoint_file, ("checkpoints", "writes"))):
        with closing(sqlite3.connect(file)) as database:
            for table in tables:
                names = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "thread_id"]
                for first in range(0, threads, _THREADS_AT_ONCE):
                    last = min(first + _THREADS_AT_ONCE, threads) - 1
                    statement = _FILL.format(first=first, last=last, table=table, columns=", ".join(names))
                    with database:
                        database.execute(statement, (template,))
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return threads * each


def _switch(data: Path, *, on: bool) -> None:
    """Let the sweep continue, or stop: it stops when it finds that its claim is gone."""
    with closing(sqlite3.connect(data / "runstead.db", timeout=30)) as database, database:
        database.execute(
            "INSERT INTO sweeps (name, next_at, deleted) VALUES ('retention', ?, '{}') ON CONFLICT (name) DO UPDATE"
            " SET next_at = excluded.next_at, holder = NULL, lease_until = NULL",
            (0 if on else _OFF,),
        )


def _swept(data: Path) -> tuple[bool, int]:
    """Return whether the pass is complete, and how many checkpoints it has deleted."""
    with closing(sqlite3.connect(data / "runstead.db", timeout=30)) as database:
        ended, deleted = database.execute("SELECT ended_at, deleted FROM sweeps").fetchone()
    return ended is not None, json.loads(deleted).get("checkpoints", 0)


async def _measure(server: Server, data: Path, options: argparse.Namespace) -> None:
    latencies = Latencies()
    sweeping = 0.0
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(Connection(server.port)) for _ in range(_CONNECTIONS)]
        threads = [json.loads(await one.post("/threads", {}))["thread_id"] for one in connections]
        for connection, thread in zip(connections, threads, strict=True):
            body = {"assistant_id": "noop", "input": {"n": 1}}
            await connection.post(f"/threads/{thread}/runs/wait", body)
        for number in range(options.phases):
            # Which is first alternates as well.
            for on in (False, True) if number % 2 == 0 else (True, False):
                _switch(data, on=on)
                await asyncio.sleep(_SETTLE)
                measured = await _phase(connections, threads, options.seconds)
                (latencies.on if on else latencies.off).append(measured)
                sweeping += (_SETTLE + options.seconds) * on
            print(json.dumps({"deleted": _swept(data)[1], **_rounded(latencies.summary())}), flush=True)
            if _swept(data)[0]:
                break
        _switch(data, on=not _swept(data)[0])
        while not _swept(data)[0] and sweeping < options.most_seconds:
            await asyncio.sleep(5)
            sweeping += 5
    is_done, deleted = _swept(data)
    print(json.dumps({"is_done": is_done, "deleted": deleted, "seconds": round(sweeping)}), flush=True)
    await asyncio.sleep(options.seconds)
    print(f"databases: {_megabytes(data)} MB after the sweep", flush=True)


async def _phase(connections: Sequence[Connection], threads: Sequence[str], seconds: float) -> list[float]:
    """Send small requests at a constant rate, and return how long each answer took."""
    taken: list[float] = []

    async def send(connection: Connection, thread: str, number: int) -> None:
        pause = len(connections) / _RATE
        due = time.monotonic() + pause * number / len(connections)
        end, turn = time.monotonic() + seconds, number
        requests: Sequence[tuple[str, Any]] = (
            ("/threads", {}),
            ("/threads/search", {"limit": 1}),
            (f"/threads/{thread}/history", {"limit": 1}),
            (f"/threads/{thread}/state", {"values": {"n": 1}}),
        )
        while due < end:
            await asyncio.sleep(due - time.monotonic())
            began = time.monotonic()
            await connection.post(*requests[turn % len(requests)])
            taken.append(time.monotonic() - began)
            turn += 1
            due = max(due + pause, time.monotonic())

    pairs = zip(connections, threads, strict=True)
    await asyncio.gather(*(send(one, thread, number) for number, (one, thread) in enumerate(pairs)))
    return taken


def _rounded(figures: Mapping[str, float]) -> Mapping[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def _megabytes(data: Path) -> int:
    return sum(os.stat(file).st_size for file in data.iterdir() if file.is_file()) // 1_000_000


if __name__ == "__main__":
    main()
