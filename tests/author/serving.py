"""A server in this process, on a loop in its own thread, in either profile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.postgres import a_schema
from tests.servers.sqlite import current_data
from tests.servers.valkey import valkey_url

Profile: TypeAlias = Literal["embedded", "scaled"]


@contextmanager
def server_for(
    config: Path, place: Path, database_url: str | None = None, *, execute: bool = True, **flags: Any
) -> Iterator[str]:
    """Serve for the length of a block and yield the URL: a cluster of one node if ``database_url`` is given."""
    with ExitStack() as stack:
        if database_url is not None:
            redis = stack.enter_context(valkey_url(place))
            flags |= {"database_url": database_url, "redis_url": redis, "database_schema": a_schema()}
        flags = {"data_dir": current_data(place / "data"), "port": 0, "shutdown_grace_seconds": 0.1, **flags}
        application = Application(
            load_settings({**flags, "shutdown_notice_seconds": 0}, project=place),
            read_configuration(config),
            execute=execute,
        )
        yield stack.enter_context(_in_a_thread(application))


@contextmanager
def _in_a_thread(application: Application) -> Iterator[str]:
    started, outcome = threading.Event(), dict[str, Any]()

    async def serve() -> None:
        async with serving(application) as url:
            outcome.update(url=url, loop=asyncio.get_running_loop(), end=asyncio.Event())
            started.set()
            await outcome["end"].wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            outcome["error"] = error
            raise
        finally:
            started.set()

    thread = threading.Thread(target=run, name="server", daemon=True)
    thread.start()
    started.wait(60)
    if "url" not in outcome:
        raise RuntimeError("the server did not start") from outcome.get("error")
    try:
        yield outcome["url"]
    finally:
        outcome["loop"].call_soon_threadsafe(outcome["end"].set)
        thread.join(30)


def profile_url(request: pytest.FixtureRequest) -> str | None:
    """The database of the profile that a parametrized fixture asks for."""
    url: str | None = request.getfixturevalue("postgres_url") if request.param == "scaled" else None
    return url
