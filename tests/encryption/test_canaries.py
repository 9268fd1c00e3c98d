"""Texts of clients and agents are in no file, table, write-ahead log, log line or Redis key of an encrypting server."""

from __future__ import annotations

import base64
import logging
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from langgraph_sdk import get_client

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.bootstrap.transfer import export_file
from runstead.infra.engines.redis import open_redis
from runstead.settings import load_settings
from tests.servers.postgres import own_postgres
from tests.servers.redis_streams import everything_in
from tests.servers.sqlite import current_data
from tests.servers.valkey import valkey_url

CONFIG: Final = Path(__file__).with_name("langgraph.json")
KEY: Final = base64.b64encode(b"k" * 32).decode()
PLAIN: Final = "canary-in-the-clear"
"""In metadata under an unencrypted key: proves that the search below works."""
CANARIES: Final = [f"canary-{number:02}-" for number in range(1, 30)]


@asynccontextmanager
async def served(data: Path, **settings: Any) -> AsyncIterator[str]:
    chosen: dict[str, Any] = {
        "port": 0,
        "data_dir": data,
        "shutdown_grace_seconds": 0.1,
        "shutdown_notice_seconds": 0,
        "encryption_keys": KEY,
        "encryption_json_keys": ["secret", "m"],
        "webhook_allow_loopback": True,
        "stream_memory_bytes": 1,
        **settings,
    }
    async with serving(Application.from_file(CONFIG, **chosen)) as url:
        yield url


async def say_everything(url: str) -> None:
    """Put a canary wherever a client or an agent can put a text, and read all of it back."""
    c = iter(CANARIES)
    # Like any client, without the types of the SDK.
    client: Any = get_client(url=url)
    thread = await client.threads.create(metadata={"secret": next(c), "colour": PLAIN})
    thread_id = thread["thread_id"]
    assistant = await client.assistants.create(
        "agent",
        config={"configurable": {"a": next(c)}},
        metadata={"secret": next(c)},
        description=next(c),
    )
    other = await client.assistants.create("agent", context={"who": next(c)})
    await client.runs.wait(None, other["assistant_id"], input={"given": next(c)}, context={"who": next(c)})
    given = next(c)
    run = await client.runs.create(
        thread_id,
        assistant["assistant_id"],
        input={"given": given, "messages": [{"role": "user", "content": next(c)}]},
        config={"configurable": {"b": next(c)}, "metadata": {"m": next(c)}, "tags": [next(c)]},
        metadata={"secret": next(c)},
        stream_mode=["values", "custom", "messages-tuple", "debug"],
        stream_resumable=True,
        webhook=f"http://127.0.0.1:9/{next(c)}",
    )
    # From its start: the run may have progressed before the stream is joined.
    parts = client.runs.join_stream(thread_id, run["run_id"], last_event_id="-1")
    streamed = "".join([str(part) async for part in parts])
    assert f"{given}-streamed" in streamed
    state = await client.threads.get_state(thread_id)
    assert f"{given}-question" in str(state)
    await client.runs.wait(thread_id, assistant["assistant_id"], command={"resume": next(c)})
    await client.threads.update_state(thread_id, {"answer": next(c)})
    failing = next(c)
    await client.runs.wait(thread_id, "agent", input={"fails": failing, "given": next(c)}, raise_error=False)
    await client.store.put_item(["notes"], "two", value={"note": next(c)})
    cron = await client.crons.create_for_thread(
        thread_id, "agent", schedule="0 0 1 1 *", input={"given": next(c)}, metadata={"secret": next(c)}
    )
    copied = await client.threads.copy(thread_id)
    found = str([await client.threads.get_history(thread_id), copied, cron])
    found += str([await client.store.get_item(["notes"], key) for key in ("one", "two")])
    found += str(await client.threads.get(thread_id)) + str(await client.assistants.get(assistant["assistant_id"]))
    assert given in found
    assert [one["thread_id"] for one in await client.threads.search(metadata={"colour": PLAIN})]
    assert await client.threads.search(metadata={"secret": CANARIES[0]}) == []


def canaries_in(data: bytes) -> list[str]:
    return [canary for canary in CANARIES if canary.encode() in data]


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def leaks(folder: Path) -> dict[str, list[str]]:
    found = {str(path.relative_to(folder)): canaries_in(data) for path, data in files_below(folder)}
    return {name: canaries for name, canaries in found.items() if canaries}


@pytest.mark.parametrize("run_events", ["sql", "jsonl"])
async def test_files_of_one_server_contain_no_canary(
    run_events: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    data = current_data(tmp_path / "data")
    async with served(data, run_events=run_events) as url:
        await say_everything(url)
        # While it runs: write-ahead logs, and files of streams.
        assert leaks(data) == {}
        assert PLAIN.encode() in b"".join(content for _, content in files_below(data))
    assert leaks(data) == {}
    if run_events == "sql":
        await export_file(load_settings({"data_dir": data}, project=tmp_path), tmp_path / "export.zip")
        with zipfile.ZipFile(tmp_path / "export.zip") as archive:
            exported = b"".join(archive.read(name) for name in archive.namelist())
        assert PLAIN.encode() in exported
        assert canaries_in(exported) == []
    out, err = capfd.readouterr()
    assert canaries_in((caplog.text + out + err).encode()) == []


async def test_postgresql_and_redis_of_a_cluster_contain_no_canary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with own_postgres() as postgres, valkey_url(tmp_path / "valkey") as redis:
        async with (
            served(tmp_path / "data", database_url=postgres.url, redis_url=redis, database_pool_size=4) as url,
            open_redis(redis) as connections,
        ):
            await say_everything(url)
            stored = await everything_in(connections, "")
            assert len(stored) > 1000
            assert canaries_in(stored) == []
        # Its tables, its write-ahead log, and its log lines.
        assert leaks(postgres.folder) == {}
        assert PLAIN.encode() in b"".join(content for _, content in files_below(postgres.folder))
    out, err = capfd.readouterr()
    assert canaries_in((caplog.text + out + err).encode()) == []
