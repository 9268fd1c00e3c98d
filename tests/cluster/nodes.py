"""A cluster of real processes on this machine: PostgreSQL, Valkey, gateways and workers, each of which can be
disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx

from runstead.cli.servers.postgres import PostgresServer
from runstead.cli.servers.valkey import ValkeyServer
from tests.processes.server import GRAPHS, ServerProcess
from tests.servers.postgres import own_postgres
from tests.servers.valkey import own_valkey

SETTINGS: Final[Mapping[str, object]] = {
    # A crash costs three of them, and the time to detect it.
    "lease_term_seconds": 3,
    "max_attempts": 1_000,
    "database_pool_size": 6,
    "shutdown_grace_seconds": 2,
    "shutdown_notice_seconds": 2,
}


class WorkerProcess(ServerProcess):
    """A ``runstead worker``; it is ready once it says so."""

    def _what(self) -> list[str]:
        return ["worker", "--json"]

    def start(self) -> None:
        self._said = len(self.log)
        super().start()

    def _answers(self) -> bool:
        return '"event": "started"' in self.log[self._said :] or '"event":"started"' in self.log[self._said :]


class AnyGateway(httpx.AsyncBaseTransport):
    """A load balancer: each request goes to some gateway; a gateway that refuses the connection is skipped."""

    def __init__(self, urls: Sequence[str], chance: random.Random) -> None:
        self._urls, self._chance = [httpx.URL(url) for url in urls], chance
        self._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=400))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        order = self._chance.sample(self._urls, len(self._urls))
        for last, url in enumerate(order, 1 - len(order)):
            request.url = request.url.copy_with(host=url.host, port=url.port)
            request.headers["host"] = f"{url.host}:{url.port}"
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError:
                if last == 0:
                    raise
        raise AssertionError("there is at least one gateway")

    async def aclose(self) -> None:
        await self._transport.aclose()


@dataclass(frozen=True, slots=True)
class Cluster:
    """All processes that can be started, killed, frozen."""

    postgres: PostgresServer
    valkey: ValkeyServer
    gateways: Sequence[ServerProcess]
    workers: Sequence[WorkerProcess]

    @classmethod
    @contextmanager
    def running(
        cls,
        folder: Path,
        *,
        gateways: int = 2,
        workers: int = 3,
        config: Path = GRAPHS,
        environ: Mapping[str, str] | None = None,
        postgres_disk: str | None = None,
        **settings: Any,
    ) -> Iterator[Self]:
        """Start the cluster, and end it at the end of the block. Gateways execute nothing. Skips without the
        servers.

        ``postgres_disk``: size in bytes of a separate disk for PostgreSQL, so that it can be filled.
        """
        with ExitStack() as stack:
            # Durable as in production: a database that loses data is out of scope here.
            kept = {"synchronous_commit": "on", "max_connections": "200", "max_wal_size": "256MB"}
            postgres = stack.enter_context(own_postgres(None, disk=postgres_disk, fsync="off", **kept))
            valkey = stack.enter_context(own_valkey(folder / "valkey"))
            servers = {"RUNSTEAD_DATABASE_URL": postgres.url, "RUNSTEAD_REDIS_URL": valkey.url}
            common: dict[str, Any] = {"config": config, "environ": {**servers, **(environ or {})}}
            # The servers may be started while Redis or PostgreSQL is unavailable.
            common["insistent"] = True
            chosen = {**SETTINGS, **settings}
            serving = [
                ServerProcess(folder / f"gateway-{number}", settings={**chosen, "max_concurrent_runs": 0}, **common)
                for number in range(gateways)
            ]
            working = [
                WorkerProcess(folder / f"worker-{number}", settings=chosen, **common) for number in range(workers)
            ]
            start_all(stack, [*serving, *working])
            yield cls(postgres, valkey, serving, working)

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    @property
    def logs(self) -> str:
        return "\n".join(f"== {node.data_dir.name}\n{node.log[-3_000:]}" for node in (*self.gateways, *self.workers))

    def copy_logs(self, folder: Path) -> None:
        """Logs of all nodes, by file."""
        folder.mkdir(parents=True, exist_ok=True)
        for node in (*self.gateways, *self.workers):
            (folder / f"{node.data_dir.name}.log").write_text(node.log)


def start_all(stack: ExitStack, nodes: Sequence[ServerProcess]) -> None:
    """Start all nodes in parallel, as in a cluster; they end with ``stack``."""
    for node in nodes:
        stack.callback(node.stop)
    with ThreadPoolExecutor(len(nodes)) as pool:
        for started in [pool.submit(node.start) for node in nodes]:
            started.result()


def freeze(node: ServerProcess) -> None:
    """Stop a process, which keeps its connections."""
    os.kill(node.pid, signal.SIGSTOP)
    # A sent signal is not yet delivered: on a busy machine one of its threads may still run.
    state = Path(f"/proc/{node.pid}/stat")
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)


def thaw(node: ServerProcess) -> None:
    """Continue a stopped process, which does not notice the passed time."""
    os.kill(node.pid, signal.SIGCONT)
