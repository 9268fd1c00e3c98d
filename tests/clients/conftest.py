"""One real server, one node and one browser for all tests with the JavaScript clients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.processes.server import ServerProcess

from .node import Node, NodeMissing, find_node
from .suite import Suite

Suites: TypeAlias = Callable[[Path, Mapping[str, str], Collection[str]], Suite]
GRAPHS = Path(__file__).parent / "langgraph.json"


@pytest.fixture(scope="session")
def node() -> Node:
    """Node, with the clients' packages installed."""
    try:
        found = find_node()
        found.install()
    except NodeMissing as missing:
        pytest.skip(f"missing server: {missing}")
    return found


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that all tests share: each makes threads of its own."""
    server = ServerProcess(tmp_path_factory.mktemp("clients") / "data", config=GRAPHS)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def suites(node: Node) -> Iterator[Suites]:
    """Runs each file of tests once for each set of variables."""
    running: dict[tuple[object, ...], Suite] = {}

    def suite(file: Path, variables: Mapping[str, str], only: Collection[str]) -> Suite:
        key = (file, *sorted(variables.items()))
        if key not in running:
            running[key] = Suite(node, file, variables, only)
        return running[key]

    yield suite
    for each in running.values():
        each.stop()
