"""Two people use one agent through all services and HTTP at once, with files, an approval and a kill in the middle."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from tests.channels import feishu_server, slack_server
from tests.channels.telegram_server import TOKEN, bot_api
from tests.processes.server import ServerProcess
from tests.servers.sqlite import current_data


async def keys_in(data: Path) -> dict[str, dict[str, str]]:
    """Create a key for each person, and return their headers."""
    headers = {}
    async with open_storage(current_data(data) / RUNS_FILE) as database:
        for name in ("alice", "bob"):
            key = new_key()
            record = ApiKeyRecord(f"key-{name}", name, digest_of(key), name, "acme", (), datetime.now(UTC))
            await SqlApiKeyStore(database).add(record)
            headers[name] = {"x-api-key": key}
    return headers


def stored(data: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{data / RUNS_FILE}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


async def until_stored(data: Path, query: str, count: int) -> None:
    async with asyncio.timeout(90):
        while True:
            if len(stored(data, query)) >= count:
                return
            await asyncio.sleep(0.05)


async def test_each_person_reaches_only_their_own_and_every_message_is_answered_once(tmp_path: Path) -> None:
    data, opened = tmp_path / "data", tmp_path / "opened"
    headers = await keys_in(data)
    async with AsyncExitStack() as stack:
        telegram = await stack.enter_async_context(bot_api())
        slack = await stack.enter_async_context(slack_server.slack())
        feishu = await stack.enter_async_context(feishu_server.feishu())
        settings = {
            "auth": "keys",
            "telegram_token": TOKEN,
            "telegram_url": telegram.url,
            "slack_bot_token": slack_server.BOT_TOKEN,
            "slack_app_token": slack_server.APP_TOKEN,
            "slack_url": slack.url,
            "feishu_app_id": feishu_server.APP_ID,
            "feishu_app_secret": feishu_server.APP_SECRET,
            "feishu_url": feishu.url,
        }
        config, environ = Path(__file__).parent / "langgraph.json", {"RUNSTEAD_TEST_GATE": str(opened)}
        server = ServerProcess(data, config=config, settings=settings, environ=environ)
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=90))

        async def link_of(name: str) -> str:
            return str((await http.post("/channels/codes", headers=headers[name])).json()["command"])

        await telegram.write(7, text=await link_of("alice"))
        await telegram.write(8, text=await link_of("bob"))
        await feishu.deliver(feishu.message("ou_a", await link_of("alice")))
        await slack.deliver(slack.message("U2", await link_of("bob"), "DU2"))
        for service in (telegram, slack, feishu):
            await service.until(lambda service=service: any("is linked" in text for text in service.texts()))  # type: ignore[misc]
        await telegram.until(lambda: len(telegram.texts()) == 2)
        for service in (telegram, slack, feishu):
            service.messages.clear()

        await telegram.write(7, text="wait secret of alice")
        document = {"file_id": "f1", "file_unique_id": "f1", "file_name": "bob.txt", "file_size": 13}
        await telegram.write(8, caption="files", document=document)
        await slack.deliver(slack.message("U2", "wait secret of bob", "DU2"))
        await feishu.deliver(feishu.message("ou_a", "pay"))
        await feishu.until(feishu.asked)
        answered = "SELECT 1 FROM channel_messages WHERE progress LIKE"
        await until_stored(data, f"{answered} '%parts%' AND status = 'running'", 2)
        await until_stored(data, f"{answered} '%files%'", 1)
        await asyncio.to_thread(server.kill)
        opened.touch()
        await asyncio.to_thread(server.start)
        await feishu.deliver(feishu.press("ou_a", feishu.asked()[0], "Approve"))
        body = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "who"}]}}
        thread = (await http.post("/threads", json={}, headers=headers["bob"])).json()["thread_id"]
        await http.post(f"/threads/{thread}/runs/wait", json=body, headers=headers["bob"])
        await telegram.shows("you said wait secret of alice")
        await slack.shows("you said wait secret of bob")
        await feishu.shows("payment: approve")
        await until_stored(data, "SELECT 1 FROM channel_messages WHERE status = 'ended'", 9)

        assert sorted(telegram.texts()) == ["None", "read bob.txt", "you said wait secret of alice"]
        assert slack.texts() == ["you said wait secret of bob"]
        assert len(feishu.texts()) == 2
        for name, other, count in (("alice", "bob", 2), ("bob", "alice", 3)):
            found = (await http.post("/threads/search", json={"limit": 100}, headers=headers[name])).json()
            assert len(found) == count
            assert f"secret of {other}" not in json.dumps(found)
        owners = stored(data, "SELECT DISTINCT user_id, tenant_id, json_extract(actor, '$.auth_source') FROM runs")
        tenant = "acme"
        assert set(owners) == {
            ("alice", tenant, "channel:telegram"),
            ("alice", tenant, "channel:feishu"),
            ("bob", tenant, "channel:telegram"),
            ("bob", tenant, "channel:slack"),
            ("bob", tenant, "api_key"),
        }
        audited = stored(data, "SELECT user_id, auth_source FROM audit_log WHERE action = 'threads.create_run'")
        assert sorted(audited) == sorted([(user, source) for user, _, source in owners] + [("alice", "channel:feishu")])
        usage = stored(data, "SELECT DISTINCT user_id FROM run_usage")
        assert set(usage) == {("alice",), ("bob",)}
        files = {path.name for path in (data / "files").rglob("*.txt")}
        assert files == {"bob.txt", "report.txt"}
        assert all("bob" in path.parts for path in (data / "files").rglob("*.txt"))
