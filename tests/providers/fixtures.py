"""Fixtures of the fake providers, to be imported by a ``conftest``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .running import Providers


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    """The fake OpenAI, Anthropic, Google and MCP server of this session."""
    with Providers.running() as providers:
        yield providers


@pytest.fixture(scope="session")
def google_grpc_address(providers: Providers) -> Iterator[str]:
    """The ``host:port`` of a fake Google over gRPC, without TLS."""
    from .google_grpc import google_grpc_running

    with google_grpc_running(providers.answers) as address:
        yield address
