"""Handlers of an unmodified langgraph_sdk.Encryption encrypt stored data, in either profile."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from langgraph_sdk import get_client

from runstead.bootstrap.application import Application
from runstead.bootstrap.encryption import load_cipher
from runstead.bootstrap.encryption_commands import rewrite_all
from runstead.bootstrap.server import serving
from runstead.resources.storage_errors import StorageUnusable
from runstead.settings import load_settings
from tests.servers.sqlite import current_data
from tests.webhooks.receiver import receiving

from . import handlers
from .test_canaries import CANARIES, KEY, PLAIN, canaries_in, leaks, say_everything

CONFIG: Final = Path(__file__).with_name("handlers.json")
HANDLED: Final = {
    "runstead.db": ("threads", "runs", "crons", "items", "run_events"),
    "checkpoints.db": ("checkpoints", "writes", "kept_writes"),
}
"""The tables of all data given to handlers."""


@pytest.fixture(autouse=True)
def without_faults() -> Iterator[None]:
    yield
    loaded().FAULTS.clear()
    loaded().KEYS[:] = ["1"]


def loaded() -> Any:
    """The handler module as loaded by the server: a file has one module name per process."""
    return handlers


@asynccontextmanager
async def served(data: Path, **settings: Any) -> AsyncIterator[str]:
    chosen: dict[str, Any] = {
        "port": 0,
        "data_dir": data,
        "shutdown_grace_seconds": 0.1,
        "shutdown_notice_seconds": 0,
        "webhook_allow_loopback": True,
        **settings,
    }
    async with serving(Application.from_file(CONFIG, **chosen)) as url:
        yield url


def rows_of(data: Path) -> bytes:
    """The content of the tables that handlers encrypt."""
    found: list[str] = []
    for file, tables in HANDLED.items():
        with sqlite3.connect(data / file) as connection:
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in there & set(tables):
                found += map(repr, connection.execute(f"SELECT * FROM {table}"))
    return "\n".join(found).encode()


def context(**metadata: Any) -> dict[str, str]:
    return {"X-Encryption-Context": base64.b64encode(json.dumps(metadata).encode()).decode()}


async def test_handlers_encrypt_all_fields_of_the_reference(tmp_path: Path) -> None:
    data = current_data(tmp_path / "data")
    async with served(data) as url:
        await say_everything(url)
        stored = rows_of(data)
    # The webhook URL is not given to handlers.
    assert set(canaries_in(stored)) <= {CANARIES[13]}
    assert PLAIN.encode() in stored
    assert {
        ("thread", "metadata"), ("thread", "values"), ("thread", "interrupts"), ("thread", "error"),
        ("run", "input"), ("run", "config"), ("run", "configurable"), ("run", "metadata"), ("run", "command"),
        ("run", "context"), ("assistant", "metadata"), ("assistant", "configurable"), ("assistant", "context"),
        ("cron", "payload"), ("cron", "input"), ("cron", "metadata"), ("store", "value"),
        ("checkpoint", "metadata"), ("checkpoint", "checkpoint"), ("checkpoint", "writes"),
    } <= loaded().SEEN  # fmt: skip


async def test_files_contain_no_canary_with_keys_and_handlers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = current_data(tmp_path / "data")
    async with served(data, encryption_keys=KEY, encryption_json_keys=["m"]) as url:
        await say_everything(url)
        assert leaks(data) == {}
    assert leaks(data) == {}
    assert canaries_in(caplog.text.encode()) == []


async def test_encryption_context_is_stored_with_the_data(tmp_path: Path) -> None:
    async with served(tmp_path) as url:
        client: Any = get_client(url=url, headers=context(tenant="acme"))
        thread = await client.threads.create(metadata={"note": "n-1", "colour": "red"})
        await client.runs.wait(thread["thread_id"], "agent", input={"given": "t-1"})
        stored = rows_of(tmp_path)
        assert b'{"tenant":"acme"}' in stored
        assert b"n-1" not in stored
        # Readers need no header: the context is stored beside the data encrypted with it.
        reader: Any = get_client(url=url)
        assert (await reader.threads.get(thread["thread_id"]))["metadata"]["note"] == "n-1"
        assert "t-1" in str(await reader.threads.get_state(thread["thread_id"]))
        history = await reader.threads.get_history(thread["thread_id"])
        assert len(history) > 1
    with sqlite3.connect(tmp_path / "checkpoints.db") as connection:
        blobs = [bytes(blob) for (blob,) in connection.execute("SELECT checkpoint FROM checkpoints")]
    # Those of the run, which a worker executed later.
    assert all(b'{"tenant":"acme"}' in blob for blob in blobs)


@pytest.mark.parametrize("header", ["{}", "bm90IGpzb24=", base64.b64encode(b"[1]").decode()])
async def test_malformed_context_header_is_refused(header: str, tmp_path: Path) -> None:
    async with served(tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/threads", json={}, headers={"X-Encryption-Context": header})
        assert answer.status_code == 422
        assert "X-Encryption-Context: it must be a JSON object in base64" in answer.json()["detail"]


async def test_unencrypted_metadata_can_be_searched(tmp_path: Path) -> None:
    async with served(tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        await client.post("/threads", json={"metadata": {"colour": "red", "note": "n"}})
        for metadata, count in (({"colour": "red"}, 1), ({"note": "n"}, 0)):
            found = await client.post("/threads/search", json={"metadata": metadata})
            assert len(found.json()) == count
            assert "runstead-remark" not in found.headers
        for path in ("search", "count"):
            by_values = await client.post(f"/threads/{path}", json={"values": {"note": "n"}})
            assert "this server encrypts the values of threads" in by_values.headers["runstead-remark"]


@pytest.mark.parametrize("given", ["a text", [1, {"a": 2}], 7, True])
async def test_input_that_is_not_an_object_is_encrypted(given: Any, tmp_path: Path) -> None:
    async with served(tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "agent", "input": given, "after_seconds": 100}
        run = (await client.post(f"/threads/{thread}/runs", json=body)).json()
        assert run["kwargs"]["input"] == given
        found = (await client.get(f"/threads/{thread}/runs/{run['run_id']}")).json()
        assert found["kwargs"]["input"] == given


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/threads", {"metadata": {"__encryption_context__": {}}}),
        ("/assistants", {"graph_id": "agent", "metadata": {"__encryption_context__": {}}}),
        ("/store/items", {"namespace": ["a"], "key": "b", "value": {"__encryption_context__": {}}}),
        ("/runs/wait", {"assistant_id": "agent", "input": {"__encryption_context__": {}}}),
        ("/runs/crons", {"assistant_id": "agent", "schedule": "0 0 1 1 *", "input": {"__encryption_context__": {}}}),
    ],
)
async def test_reserved_key_is_refused(path: str, body: dict[str, Any], tmp_path: Path) -> None:
    async with served(tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.request("PUT" if path == "/store/items" else "POST", path, json=body)
        assert answer.status_code == 422, answer.text
        assert "reserved on this server" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [("encrypt.json", "encrypt.json, for thread.metadata, failed (KeyError)"), ("adds", "it added ['nonce']")],
)
async def test_failing_handler_is_named_in_the_response(
    fault: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        loaded().FAULTS[fault] = "canary-01-"
        answer = await client.post("/threads", json={"metadata": {"note": "canary-02-"}})
        assert answer.status_code == 503
        assert said in answer.json()["detail"]
    assert canaries_in((answer.text + caplog.text).encode()) == []


async def test_read_error_names_the_failing_handler(tmp_path: Path) -> None:
    async with served(tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        thread = (await client.post("/threads", json={"metadata": {"note": "n"}})).json()["thread_id"]
        loaded().FAULTS["decrypt.json"] = "k"
        for answer in (await client.get(f"/threads/{thread}"), await client.post("/threads/search", json={})):
            assert answer.status_code == 503
            assert "decrypt.json, for thread.metadata, failed (KeyError)" in answer.json()["detail"]


@pytest.mark.parametrize("fault", ["encrypt.json", "encrypt.blob"])
async def test_run_with_unencryptable_state_ends_with_encryption_error(fault: str, tmp_path: Path) -> None:
    async with served(tmp_path) as url:
        client: Any = get_client(url=url)
        thread = await client.threads.create()
        run = await client.runs.create(thread["thread_id"], "agent", input={"given": "t"}, after_seconds=1)
        loaded().FAULTS[fault] = "k"
        ended = await client.runs.join(thread["thread_id"], run["run_id"])
        loaded().FAULTS.clear()
        found: Any = await client.runs.get(thread["thread_id"], run["run_id"])
        assert (found["status"], found["failure"]["error"]) == ("error", "EncryptionFailed")
        assert f"{fault}, for" in found["failure"]["message"]
        assert "EncryptionFailed" in str(ended)
        assert (await client.threads.get(thread["thread_id"]))["status"] == "error"
        # The thread continues once the handlers work.
        await client.runs.wait(thread["thread_id"], "agent", input={"given": "t-2"})


async def test_data_from_before_the_handlers_are_read_and_encrypted_when_they_change(tmp_path: Path) -> None:
    plain = Path(__file__).with_name("langgraph.json")
    async with serving(Application.from_file(plain, port=0, data_dir=tmp_path)) as url:
        client: Any = get_client(url=url)
        thread = await client.threads.create(metadata={"note": "before"})
        await client.runs.wait(thread["thread_id"], "agent", input={"given": "early"})
        await client.store.put_item(["a"], "b", value={"note": "kept"})
    async with served(tmp_path) as url:
        client = get_client(url=url)
        found = await client.threads.get(thread["thread_id"])
        assert found["metadata"]["note"] == "before"
        assert "early" in str(await client.threads.get_state(thread["thread_id"]))
        assert (await client.store.get_item(["a"], "b"))["value"] == {"note": "kept"}
        await client.threads.update(thread["thread_id"], metadata={"more": "later-1"})
        found = await client.threads.get(thread["thread_id"])
        assert (found["metadata"]["note"], found["metadata"]["more"]) == ("before", "later-1")
        await client.runs.wait(thread["thread_id"], "agent", command={"resume": "later-2"})
        assert "later-2" in str(await client.threads.get_history(thread["thread_id"]))
        stored = rows_of(tmp_path)
        assert b"later-1" not in stored
        assert b"later-2" not in stored
    with pytest.raises(StorageUnusable, match="handlers of a langgraph"):
        async with Application.from_file(plain, data_dir=tmp_path).running():
            pass


async def test_titles_of_states_become_titles_of_threads(tmp_path: Path) -> None:
    async with served(tmp_path) as url:
        client: Any = get_client(url=url)
        thread = await client.threads.create()
        await client.runs.wait(thread["thread_id"], "agent", input={"given": "one"})
        assert (await client.threads.get(thread["thread_id"]))["metadata"]["title"] == "one-title"
        await client.threads.update(thread["thread_id"], metadata={"title": "mine"})
        await client.threads.update_state(thread["thread_id"], {"answer": "x"})
        assert (await client.threads.get(thread["thread_id"]))["metadata"]["title"] == "mine"
        await client.threads.update_state(thread["thread_id"], {"title": "theirs"})
        assert (await client.threads.get(thread["thread_id"]))["metadata"]["title"] == "theirs"
        assert b"-title" not in rows_of(tmp_path)


async def test_webhook_receives_decrypted_values(tmp_path: Path) -> None:
    async with receiving() as receiver, served(tmp_path) as url:
        client: Any = get_client(url=url)
        thread = await client.threads.create()
        await client.runs.create(
            thread["thread_id"],
            "agent",
            input={"given": "t-1"},
            metadata={"note": "n-1"},
            context={"who": "w-1"},
            webhook=receiver.url,
        )
        [got] = await receiver.count(1)
        payload = json.loads(got.body)
        assert payload["kwargs"]["input"] == {"given": "t-1"}
        assert payload["kwargs"]["context"] == {"who": "w-1"}
        assert payload["kwargs"]["config"]["configurable"]["who"] == "w-1"
        assert payload["metadata"]["note"] == "n-1"
        assert payload["values"]["given"] == "t-1"
        assert "__encryption_context__" not in json.dumps(payload)


async def everything(client: Any, thread_id: str, assistant_id: str) -> list[Any]:
    """All stored data, as read through the API."""
    return [
        await client.threads.get(thread_id),
        await client.threads.get_history(thread_id),
        await client.runs.list(thread_id),
        await client.assistants.get(assistant_id),
        await client.assistants.get_versions(assistant_id),
        await client.crons.search(),
        (await client.store.get_item(["a"], "b"))["value"],
    ]


async def test_value_reencrypted_while_reading_replaces_the_stored_one(tmp_path: Path) -> None:
    data = current_data(tmp_path / "data")
    async with served(data, encryption_keys=KEY) as url:
        client: Any = get_client(url=url, headers=context(tenant="acme"))
        assistant = await client.assistants.create("agent", context={"who": "w"}, metadata={"note": "n"})
        thread = await client.threads.create(metadata={"note": "n"})
        ids = (thread["thread_id"], assistant["assistant_id"])
        await client.runs.wait(ids[0], ids[1], input={"given": "t"}, metadata={"note": "n"})
        await client.runs.wait(ids[0], ids[1], command={"resume": "r"})
        await client.store.put_item(["a"], "b", value={"note": "n"})
        await client.crons.create_for_thread(ids[0], ids[1], schedule="0 0 1 1 *", input={"given": "t"})
        before = await everything(client, *ids)
        loaded().KEYS[:] = ["2", "1"]
        assert await everything(client, *ids) == before
        # The old key is removed, and nothing needs it any more.
        loaded().KEYS[:] = ["2"]
        assert await everything(client, *ids) == before
        assert "'note': 'n'" in str(before)


async def test_undecryptable_run_is_executed_after_the_handlers_recover(tmp_path: Path) -> None:
    async with served(tmp_path, lease_term_seconds=1) as url:
        client: Any = get_client(url=url)
        thread = await client.threads.create()
        run = await client.runs.create(thread["thread_id"], "agent", input={"given": "t"}, after_seconds=1)
        loaded().FAULTS["decrypt.json"] = "k"
        await asyncio.sleep(1.5)
        loaded().FAULTS.clear()
        await client.runs.join(thread["thread_id"], run["run_id"])
        found = await client.runs.get(thread["thread_id"], run["run_id"])
        assert (found["status"], found["attempt"] > 1) == ("success", True)


async def test_keys_encrypt_the_output_of_handlers_and_rotate(tmp_path: Path) -> None:
    data = current_data(tmp_path / "data")
    old, new = KEY, base64.b64encode(b"n" * 32).decode()
    async with served(data) as url:
        client: Any = get_client(url=url)
        assistant = await client.assistants.create("agent", context={"who": "w"})
        thread = await client.threads.create(metadata={"note": "n"})
        ids = (thread["thread_id"], assistant["assistant_id"])
        await client.runs.wait(ids[0], ids[1], input={"given": "canary-01-"})
        await client.store.put_item(["a"], "b", value={"note": "n"})
        before = await everything(client, *ids)
    for keys in (old, f"{new} {old}"):
        settings = load_settings({"data_dir": data, "encryption_keys": keys}, project=tmp_path)
        cipher = load_cipher(settings, {})
        assert cipher is not None
        done = await rewrite_all(settings, cipher, lambda table, rows: None)
        assert done.rows > 10
        assert done.after.usage.by_key == {cipher.key_id: sum(done.after.usage.by_key.values())}
    async with served(data, encryption_keys=new) as url:
        assert await everything(get_client(url=url), *ids) == before
    assert leaks(data) == {}


async def test_data_encrypted_with_keys_is_read_after_handlers_are_added(tmp_path: Path) -> None:
    plain = Path(__file__).with_name("langgraph.json")
    async with serving(Application.from_file(plain, port=0, data_dir=tmp_path, encryption_keys=KEY)) as url:
        client: Any = get_client(url=url)
        thread = await client.threads.create(metadata={"note": "n"})
        await client.runs.wait(thread["thread_id"], "agent", input={"given": "t"})
        before = await client.threads.get_history(thread["thread_id"])
    async with served(tmp_path, encryption_keys=KEY) as url:
        client = get_client(url=url)
        assert await client.threads.get_history(thread["thread_id"]) == before
        await client.runs.wait(thread["thread_id"], "agent", command={"resume": "r"})
        assert len(await client.threads.get_history(thread["thread_id"])) > len(before)
