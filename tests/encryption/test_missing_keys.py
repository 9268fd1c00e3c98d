"""A server without the key of its data says so, and loses no run: answers are 503, and runs wait for another worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from langgraph_sdk import get_client

from runstead.infra.encryption.envelope import SEALED
from runstead.infra.encryption.keyring import Keyring
from runstead.infra.engines.sqlite import open_sqlite
from runstead.infra.storage.encryption_recoding import encrypted_checkpoint_tables, encrypted_tables
from runstead.infra.storage.encryption_rewriting import rewrite
from tests.servers.sqlite import current_data

from .test_canaries import served

KEYS: Final = Keyring([b"k" * 32], ["title"])


async def encrypt(data: Path) -> None:
    """What `encryption rewrite` refuses to do beside a server without the key."""
    for name, tables in (("runstead.db", encrypted_tables()), ("checkpoints.db", encrypted_checkpoint_tables())):
        async with open_sqlite(data / name) as database:
            await rewrite(database, tables, KEYS, lambda *_: None)


async def test_a_running_server_whose_data_was_encrypted_answers_503_and_no_ciphertext(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = current_data(tmp_path / "data")
    async with served(data, encryption_keys=None, encryption_json_keys=[]) as url:
        client: Any = get_client(url=url)
        thread_id = (await client.threads.create(metadata={"colour": "red"}))["thread_id"]
        run = await client.runs.create(thread_id, "agent", input={"told": "hello"})
        await client.runs.join(thread_id, run["run_id"])
        await client.store.put_item(["notes"], "one", value={"note": "x"})
        await client.crons.create("agent", schedule="0 0 1 1 *", input={"told": "x"})
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
                await http.post(f"{of_thread}/runs/wait", json={"assistant_id": "agent", "input": {"told": "x"}}),
            ]
    for answer in answers:
        assert answer.status_code == 503, (str(answer.request.url), answer.text)
        assert KEYS.key_id in answer.json()["detail"]
        assert "encryption_keys" in answer.json()["detail"]
        assert SEALED not in answer.text
    assert {record.levelname for record in caplog.records if record.name == "runstead.gateway.failures"} == {"WARNING"}
    # One line each, without a traceback.
    assert not [record for record in caplog.records if record.exc_info]
