"""A real server in this process, with a langgraph.json of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from . import auth, site

HERE = Path(__file__).parent
GRAPHS = HERE.parent / "graphs" / "recorded.py"

Configured: TypeAlias = Callable[..., Application]
Served: TypeAlias = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    """An application with these keys in its langgraph.json; ``auth`` requires authentication."""

    def make(settings: dict[str, Any] | None = None, **document: Any) -> Application:
        graphs = {name: f"{GRAPHS}:{name}" for name in ("agent", "slow")}
        file = tmp_path / "langgraph.json"
        file.write_text(json.dumps({"graphs": graphs, "dependencies": [], **document}))
        flags = {
            "data_dir": current_data(tmp_path / "data"),
            "port": 0,
            "shutdown_grace_seconds": 0.1,
            "heartbeat_seconds": 0.2,
            **(settings or {}),
        }
        return Application(load_settings(flags, project=tmp_path), read_configuration(file))

    return make


@pytest.fixture
def served(configured: Configured) -> Served:
    """The URL of such a server, for the length of a block."""
    site.SEEN.clear()
    auth.ASKED.clear()
    return lambda **document: serving(configured(**document))


def with_app(name: str = "app", **http: Any) -> dict[str, Any]:
    return {"app": f"{HERE / 'site.py'}:{name}", **http}


WITH_AUTH: dict[str, Any] = {"path": f"{HERE / 'auth.py'}:auth"}
