"""One real server, one node and one browser for all tests with the JavaScript clients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest
import trustme

from tests.processes.server import ServerProcess

from .chromium import Chromium, find_chromium
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
    """A server shared by all tests; each creates its own threads."""
    server = ServerProcess(tmp_path_factory.mktemp("clients") / "data", config=GRAPHS)
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def browser_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The debugging address of a browser shared by all tests; each test has its own session."""
    if (program := find_chromium()) is None:
        pytest.skip("missing server: chromium; apt-get install chromium-headless-shell brings it")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium") / "profile")
    yield browser.url
    browser.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1, in one file: browsers speak HTTP/2 only over TLS."""
    file = tmp_path_factory.mktemp("certificate") / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    return file


@pytest.fixture(scope="session")
def suites(node: Node) -> Iterator[Suites]:
    """Run each test file once for each set of variables."""
    running: dict[tuple[object, ...], Suite] = {}

    def suite(file: Path, variables: Mapping[str, str], only: Collection[str]) -> Suite:
        key = (file, *sorted(variables.items()))
        if key not in running:
            running[key] = Suite(node, file, variables, only)
        return running[key]

    yield suite
    for each in running.values():
        each.stop()
