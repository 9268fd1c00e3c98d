"""A server without the key of its data reports that and loses no run: responses are 503, and runs wait for another
worker.
"""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from langgraph_sdk import get_client

from runstead.bootstrap.application import Application
from runstead.bootstrap.encryption_commands import ServersLackKey, rewrite_all
from runstead.bootstrap.server import serving
from runstead.infra.encryption.envelope import SEALED
from runstead.infra.encryption.keyring import Keyring
from runstead.infra.engines.sqlite import open_sqlite
from runstead.infra.key_rotation.recoding import encrypted_checkpoint_tables, encrypted_tables
from runstead.infra.key_rotation.rewriting import rewrite
from runstead.infra.storage.encryption_keys import check_encryption_keys
from runstead.settings import Settings, load_settings
from tests.processes.client import eventually
from tests.servers.postgres import a_schema
from tests.servers.sqlite import current_data
from tests.servers.valkey import valkey_url

from .test_canaries import served

KEYS: Final = Keyring([b"k" * 32], ["title"])


async def encrypt(data: Path) -> None:
    """Refusals of `encryption rewrite` beside a server without the key."""
    for name, tables in (("runstead.db", encrypted_tables()), ("checkpoints.db", encrypted_checkpoint_tables())):
        async with open_sqlite(data / name) as database:
            await rewrite(database, tables, KEYS, lambda *_: None)


async def test_running_server_whose_data_was_encrypted_answers_503_and_no_ciphertext(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = current_data(tmp_path / "data")
    async with served(data, encryption_keys=None, encryption_json_keys=[]) as url:
        client: Any = get_client(url=url)
        thread_id = (await client.threads.create(metadata={"colour": "red"}))["thread_id"]
        run = await client.runs.create(thread_id, "agent", input={"given": "hello"})
        await client.runs.join(thread_id, run["run_id"])
        await client.store.put_item(["notes"], "one", value={"note": "x"})
        await client.crons.create("agent", schedule="0 0 1 1 *", input={"given": "x"})
        await encrypt(data)
        caplog.clear()
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            of_thread, of_run = f"/threads/{thread_id}", f"/threads/{thread_id}/runs/{run['run_id']}"
            answers = [
                await http.get(of_thread),
                await http.get(f"{of_thread}/state"),
                await http.get(f"{of_thread}/history"),
                await http.post(f"{of_thread}/state", json={"values": {"answer": "x"}}),
                await http.post(f"{of_thread}/copy"),
                await http.post("/threads/search", json={}),
                await http.get(f"{of_thread}/runs"),
                await http.get(of_run),
                await http.get(f"{of_run}/join"),
                await http.get("/store/items", params={"namespace": "notes", "key": "one"}),
                await http.post("/store/items/search", json={"namespace_prefix": ["notes"]}),
                await http.post("/runs/crons/search", json={}),
                await http.post("/assistants/search", json={}),
                await http.post(f"{of_thread}/runs/wait", json={"assistant_id": "agent", "input": {"given": "x"}}),
            ]
    for answer in answers:
        assert answer.status_code == 503, (str(answer.request.url), answer.text)
        assert KEYS.key_id in answer.json()["detail"]
        assert "encryption_keys" in answer.json()["detail"]
        assert SEALED not in answer.text
    assert {record.levelname for record in caplog.records if record.name == "runstead.gateway.error_middleware"} == {
        "WARNING"
    }
    # One line each, without a traceback.
    assert not [record for record in caplog.records if record.exc_info]


async def test_ready_names_the_key_that_another_server_encrypts_with(tmp_path: Path) -> None:
    data = current_data(tmp_path / "data")
    async with (
        served(data, encryption_keys=None, encryption_json_keys=[]) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        assert (await http.get("/ready")).status_code == 200
        async with open_sqlite(data / "runstead.db") as database:
            await check_encryption_keys(database, KEYS, "it")
        answer = await http.get("/ready")
    assert answer.status_code == 503
    assert KEYS.key_id in answer.text
    assert "encryption_keys" in answer.text


KEY: Final = base64.b64encode(b"k" * 32).decode()


async def rewritten(settings: Settings) -> int:
    return (await rewrite_all(settings, KEYS, lambda *_: None)).rows


async def test_nothing_is_rewritten_beside_a_server_without_the_key(tmp_path: Path) -> None:
    data = current_data(tmp_path / "data")
    settings = load_settings({"data_dir": data}, project=tmp_path)
    async with served(data, encryption_keys=None, encryption_json_keys=[]) as url:
        thread_id = (await get_client(url=url).threads.create())["thread_id"]
        with pytest.raises(ServersLackKey, match=f"pid {os.getpid()}.* cannot read data of the key {KEYS.key_id}"):
            await rewritten(settings)
    # The key is not recorded either: the server starts again without it.
    async with served(data, encryption_keys=None, encryption_json_keys=[]):
        pass
    async with served(data, encryption_keys=KEY) as url:
        assert await rewritten(settings) > 0
        assert (await get_client(url=url).threads.get(thread_id))["thread_id"] == thread_id


async def test_nothing_is_rewritten_in_a_cluster_until_all_its_servers_have_the_key(
    tmp_path: Path, postgres_url: str
) -> None:
    with valkey_url(tmp_path / "valkey") as redis:
        place = {"database_url": postgres_url, "database_schema": a_schema(), "redis_url": redis}
        settings = load_settings({**place, "data_dir": tmp_path}, project=tmp_path)
        async with served(tmp_path, encryption_keys=None, encryption_json_keys=[], **place) as url:
            await get_client(url=url).threads.create()
            async with served(tmp_path, encryption_keys=KEY, **place):
                with pytest.raises(ServersLackKey, match="1 servers or workers of schema"):
                    await rewritten(settings)
        assert await rewritten(settings) > 0


HOLDING: Final = """
import asyncio
from pathlib import Path
from langgraph.config import get_store
from langgraph.graph import START, StateGraph

FOLDER = Path(__file__).parent


async def hold(state: dict) -> dict:
    with (FOLDER / "begun").open("a") as file:
        file.write("x")
    while not (FOLDER / "go").exists():
        await asyncio.sleep(0.01)
    await get_store().aget(("notes",), "one")
    return {"answer": "done"}


graph = StateGraph(dict).add_node(hold).add_edge(START, "hold").compile()
"""


async def test_running_run_with_encrypted_data_is_released_and_ends_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, begun = current_data(tmp_path / "data"), tmp_path / "begun"
    (tmp_path / "holding_graph.py").write_text(HOLDING)
    config = tmp_path / "langgraph.json"
    config.write_text('{"graphs": {"agent": "./holding_graph.py:graph"}}')
    chosen: dict[str, Any] = {"data_dir": data, "port": 0, "shutdown_grace_seconds": 0.1, "shutdown_notice_seconds": 0}
    async with serving(Application.from_file(config, **chosen)) as url:
        client: Any = get_client(url=url)
        thread_id = (await client.threads.create())["thread_id"]
        await client.store.put_item(["notes"], "one", value={"note": "x"})
        run_id = (await client.runs.create(thread_id, "agent", input={"given": "hello"}))["run_id"]
        await eventually(lambda: asyncio.sleep(0, begun.exists()))
        await encrypt(data)
        (tmp_path / "go").touch()
        await eventually(lambda: status_of(data, run_id, "pending"))
        # No worker claims it meanwhile, and the log contains no ciphertext.
        assert begun.read_text() == "x"
        assert len([line for line in caplog.messages if "no runs are claimed for" in line]) == 1
    async with serving(Application.from_file(config, **chosen, encryption_keys=KEY)) as url:
        client = get_client(url=url)
        await client.runs.join(thread_id, run_id)
        assert (await client.runs.get(thread_id, run_id))["status"] == "success"


async def status_of(data: Path, run_id: str, wanted: str) -> bool:
    async with open_sqlite(data / "runstead.db") as database:
        found = await database.read(
            lambda connection: connection.exec_driver_sql(
                "SELECT status FROM runs WHERE run_id = ?", (run_id,)
            ).scalar()
        )
    return bool(found == wanted)
