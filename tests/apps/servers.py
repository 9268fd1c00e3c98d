"""One embedded server, or one cluster, for all agents, with a database and a Redis for the agents' own use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from runstead.cli.servers.ports import free_port
from tests.cluster.nodes import Cluster
from tests.processes.server import ServerProcess
from tests.providers.running import Providers
from tests.servers.postgres import own_postgres
from tests.servers.proxy import TcpProxy
from tests.servers.valkey import own_valkey

CONFIG: Final = Path(__file__).parent / "project" / "langgraph.json"
_SETTINGS: Final[Mapping[str, Any]] = {"show_errors": True, "heartbeat_seconds": 1, "shutdown_grace_seconds": 1}


class Site:
    """A server of the agents, and the processes that execute them."""

    def __init__(self, url: str, executing: Sequence[ServerProcess], all_nodes: Sequence[ServerProcess]) -> None:
        self.url, self._executing, self._all = url, executing, all_nodes

    def kill(self) -> None:
        """Kill all processes that execute runs."""
        for node in self._executing:
            node.kill()

    def start(self) -> None:
        """Restart the killed processes."""
        with ThreadPoolExecutor(len(self._executing)) as pool:
            for started in [pool.submit(node.start) for node in self._executing]:
                started.result()

    @property
    def logs(self) -> str:
        return "\n".join(f"== {node.data_dir.name}\n{node.log[-6_000:]}" for node in self._all)


@contextmanager
def embedded_site(folder: Path, providers: Providers) -> Iterator[Site]:
    """One `serve` process with its own data directory."""
    with own_postgres() as postgres, own_valkey(folder / "valkey") as valkey:
        environ = agents_environ(providers, postgres.url, valkey.url)
        server = ServerProcess(folder / "embedded", config=CONFIG, settings=_SETTINGS, environ=environ)
        environ["AGENTS_URL"] = server.url
        try:
            server.start()
            yield Site(server.url, [server], [server])
        finally:
            server.stop()


@contextmanager
def cluster_site(folder: Path, providers: Providers) -> Iterator[Site]:
    """A gateway and two workers; the agents also use the cluster's PostgreSQL and Valkey for their own data."""
    with ExitStack() as stack:
        balanced: list[int] = [free_port()]
        proxy = stack.enter_context(TcpProxy.running(balanced))
        shared = stack.enter_context(own_postgres()), stack.enter_context(own_valkey(folder / "agents-valkey"))
        environ = agents_environ(providers, shared[0].url, shared[1].url)
        environ["AGENTS_URL"] = proxy.url
        cluster = stack.enter_context(
            Cluster.running(folder, gateways=1, workers=2, config=CONFIG, environ=environ, **_SETTINGS)
        )
        balanced[:] = [gateway.port for gateway in cluster.gateways]
        yield Site(proxy.url, cluster.workers, [*cluster.gateways, *cluster.workers])


def agents_environ(providers: Providers, database_url: str, redis_url: str) -> dict[str, str]:
    """The variables that the agents read."""
    return {**providers.environ, "APP_DATABASE_URL": database_url, "APP_REDIS_URL": redis_url}
