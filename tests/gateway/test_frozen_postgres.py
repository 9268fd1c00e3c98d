"""Requests to a server whose PostgreSQL is suspended, with its connections open."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from tests.servers.postgres import own_postgres
from tests.servers.valkey import valkey_url

from .conftest import GRAPHS

PATIENCE = 2.0
RUN = {"assistant_id": "agent", "input": {"messages": [{"role": "human", "content": "hi"}]}}


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Suspend a process and its children for the length of a block."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=True)
    stopped = [pid, *map(int, listed.stdout.split())]
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in stopped:
            os.kill(one, signal.SIGCONT)


async def test_every_request_is_answered_within_the_database_timeout(tmp_path: Path) -> None:
    with own_postgres(max_connections="40") as server, valkey_url(tmp_path / "valkey") as redis_url:
        application = Application.from_file(
            GRAPHS,
            data_dir=tmp_path / "data",
            database_url=server.url,
            redis_url=redis_url,
            database_patience_seconds=PATIENCE,
            database_pool_size=4,
            port=0,
            shutdown_grace_seconds=0.1,
            shutdown_notice_seconds=0,
        )
        async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
            thread = f"/threads/{(await http.post('/threads', json={})).json()['thread_id']}"
            with frozen(server.pid):
                began = time.monotonic()
                answers = await asyncio.gather(
                    http.get("/ok"),
                    *(http.get(thread) for _ in range(5)),
                    *(http.post("/threads", json={}) for _ in range(5)),
                    http.post("/threads/search", json={"values": {"a": 1}}),
                    http.post(f"{thread}/runs", json=RUN),
                    http.get("/ready"),
                )
                took = time.monotonic() - began
            assert [answer.status_code for answer in answers] == [200, *[503] * 13]
            # A request may need the database more than once, and this machine has other load.
            assert took < 5 * PATIENCE
            assert "retry-after" in answers[1].headers
            assert (await http.get(thread)).status_code == 200
