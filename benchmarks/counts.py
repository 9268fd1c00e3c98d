"""``python -m benchmarks counts``: what a trivial run asks of PostgreSQL and Redis. The same on every machine.

One process serves the scaled profile on its own servers, creates runs and awaits them one after the other. PostgreSQL
logs each message that a client waits for, and counts the transactions; Redis counts its commands.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import reduce
from pathlib import Path
from typing import Final

import psycopg

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.cli.servers.postgres import QUICK, PostgresServer
from runstead.cli.servers.valkey import ValkeyServer

from .client import Connection

LOGGED: Final[Mapping[str, str]] = {"log_statement": "all", "log_line_prefix": "[%p] "}
"""Settings of the PostgreSQL server whose log is read."""
_RUNS: Final = 10
_NOOP: Final = {"assistant_id": "noop", "input": {"n": 1}}
_MESSAGE: Final = re.compile(r"^\[\d+\] LOG:  (?:statement|execute [^:]*): *(.*)$", re.MULTILINE)
_COMMAND: Final = re.compile(r"^cmdstat_([^:]+):calls=(\d+)", re.MULTILINE)
_MOMENT: Final = 0.2
_SENT: Final = ("eval", "publish", "xread", "client", "zrand")
_OF_THE_COUNTER: Final = ("config", "info", "quit", "ping")


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages and commands of one run. Of several runs, the least: others include periodic work of the node."""

    messages: int
    """Messages to PostgreSQL, for each of which a thread of the node waits."""
    commits: int
    """Transactions that wrote."""
    sent: int
    """Commands to Redis that a node sends: scripts, and commands outside of them."""
    commands: int
    """Commands in Redis, with those inside of scripts."""

    def least(self, other: Counts) -> Counts:
        return Counts(*map(min, astuple(self), astuple(other)))

    def line(self) -> str:
        return (
            f"{self.messages} messages and {self.commits} commits in PostgreSQL, "
            f"{self.sent} commands sent to Redis and {self.commands} executed there"
        )


async def counts(postgres: PostgresServer, valkey: ValkeyServer, folder: Path, runs: int = _RUNS) -> Counts:
    """Count on two servers that nothing else uses; the settings of ``postgres`` contain LOGGED."""
    application = Application.from_file(
        Path(__file__).parent / "langgraph.json",
        data_dir=folder / "data",
        port=0,
        database_url=postgres.url,
        redis_url=valkey.url,
        shutdown_grace_seconds=0,
        shutdown_notice_seconds=0,
    )
    log = postgres.folder / "postgres.log"
    async with serving(application) as url, Connection(int(url.rpartition(":")[2])) as connection:
        for _ in range(3):
            await connection.post("/runs/wait", _NOOP)
        await _quiet(log)
        found = []
        for _ in range(runs):
            valkey.ask("CONFIG", "RESETSTAT")
            commits, started = _latest_commit(postgres), log.stat().st_size
            await connection.post("/runs/wait", _NOOP)
            await _quiet(log)
            text = log.read_bytes()[started:].decode(errors="replace")
            commits = _latest_commit(postgres) - commits - 1
            commands = _commands(valkey)
            sent = sum(count for name, count in commands.items() if name.startswith(_SENT))
            found.append(Counts(len(_MESSAGE.findall(text)), commits, sent, sum(commands.values())))
    return reduce(Counts.least, found)


async def _quiet(log: Path) -> None:
    """Wait until the work that follows the end of a run is done: until nothing was logged for a moment."""
    size = -1
    while (grown := os.path.getsize(log)) != size:  # noqa: ASYNC240  (nothing else runs here)
        size = grown
        await asyncio.sleep(_MOMENT)


def main(arguments: Sequence[str]) -> None:
    if arguments:
        raise SystemExit("python -m benchmarks counts: takes no arguments")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="runstead-counts-") as name, ExitStack() as stack:
        folder = Path(name)
        # PostgreSQL may run as another user.
        folder.chmod(0o755)
        postgres = PostgresServer(folder / "postgres", settings={**QUICK, **LOGGED})
        valkey = ValkeyServer(folder / "valkey")
        for server in (postgres, valkey):
            server.start()
            stack.callback(server.stop)
        found = asyncio.run(counts(postgres, valkey, folder))
    print(f"a trivial run: {found.line()}")
    print(f"measured in {time.monotonic() - began:.0f} s", file=sys.stderr)


def _latest_commit(postgres: PostgresServer) -> int:
    """Return the number of the latest transaction that wrote, which takes a number itself."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_xact_id()::text::bigint").fetchone()
    assert row is not None
    return int(row[0])


def _commands(valkey: ValkeyServer) -> Mapping[str, int]:
    found = {name: int(count) for name, count in _COMMAND.findall(valkey.ask("INFO", "commandstats").replace("\r", ""))}
    return {name: count for name, count in found.items() if not name.startswith(_OF_THE_COUNTER)}
