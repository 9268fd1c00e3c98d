"""One ``runstead dev`` for all libraries, with fake providers, a PostgreSQL and a Valkey."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.processes import Background
from tests.providers import mcp_stdio
from tests.providers.fixtures import google_grpc_address, providers
from tests.providers.running import Providers
from tests.servers.valkey import valkey_url

__all__ = ["google_grpc_address", "providers"]

PROJECT = Path(__file__).parent / "project"


class Development:
    """A running ``dev`` and the files that it serves."""

    def __init__(self, process: Background, project: Path) -> None:
        self._process, self._agent = process, project / "agent.py"
        self.url: str = process.wait_for("started")["url"]

    def reload(self) -> None:
        """Change a file, and return when the next server answers."""
        self._agent.write_text(self._agent.read_text() + "\n")
        self._process.wait_for("reloading")
        self._process.wait_for("started")


@pytest.fixture(scope="module")
def development(
    providers: Providers,
    google_grpc_address: str,
    postgres_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Development]:
    place = tmp_path_factory.mktemp("libraries")
    shutil.copytree(PROJECT, place / "project", ignore=shutil.ignore_patterns("__pycache__"))
    with valkey_url(place / "valkey") as redis_url:
        environ = {
            **providers.environ,
            "GOOGLE_GRPC_ADDRESS": google_grpc_address,
            "MCP_SCRIPT": str(Path(mcp_stdio.__file__)),
            "APP_DATABASE_URL": postgres_url,
            "APP_REDIS_URL": redis_url,
        }
        arguments = ("--config", "langgraph.json", "--port", "0", "--data-dir", str(place / "data"), "--json")
        process = Background("dev", *arguments, cwd=place / "project", home=place, **environ)
        yield Development(process, place / "project")
        assert process.end() == 0
