"""Telegram with the real SDK, against a Bot API server on loopback."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.channels.texts import NOT_LINKED
from runstead.resources.channels import digest_of, new_code
from runstead.runtime.actor_context import ActorContext, acting
from tests.channels.graphs import Gate, agent
from tests.channels.telegram_server import TOKEN, BotApi, bot_api
from tests.processes.server import ServerProcess
from tests.servers.sqlite import current_data

ALICE = ActorContext("alice", "acme", auth_source="custom")
USER, GROUP = 7, -100500


@dataclass
class Bot:
    """Bot with its server, and a linked user."""

    api: BotApi
    application: Application
    gate: Gate

    async def link(self, user: int = USER) -> None:
        code = new_code()
        with acting(ALICE):
            await self.application.services.channel_links.create_code(digest_of(code))
        await self.api.write(user, text=f"/link {code}")
        await self.api.until(lambda: any("is linked" in text for text in self.api.texts()))
        self.api.messages.clear()


def serving(data: Path, api: BotApi, gate: Gate, **settings: Any) -> Application:
    return Application(
        {"agent": agent(gate)},
        data_dir=current_data(data),
        port=0,
        shutdown_grace_seconds=0.1,
        telegram_token=TOKEN,
        telegram_url=api.url,
        **settings,
    )


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    async with bot_api() as api:
        gate = Gate()
        application = serving(tmp_path / "data", api, gate)
        async with application.running():
            yield Bot(api, application, gate)


async def test_telegram_answers_by_edits_of_one_message(bot: Bot) -> None:
    await bot.api.write(USER, text="hello")
    await bot.api.shows(NOT_LINKED)
    await bot.link()
    await bot.api.write(USER, text="hello")
    await bot.api.shows("you said hello")
    assert bot.api.texts() == ["you said hello"]
    # Confirmed: an update that is not would be delivered again.
    await bot.api.until(lambda: not bot.api.updates)


async def test_telegram_waits_when_it_is_asked_to_and_splits_long_texts(bot: Bot) -> None:
    await bot.link()
    bot.api.refusals = 2
    await bot.api.write(USER, text=f"hello {'x' * 3000} {'y' * 3000}")
    await bot.api.until(lambda: len(bot.api.texts()) == 2 and bot.api.texts()[1].endswith("yyy"))
    first, second = bot.api.texts()
    assert (first[:15], set(second)) == ("you said hello ", {"y"})


async def test_telegram_approval_in_a_topic_of_a_group(bot: Bot) -> None:
    await bot.link()
    topic = {"message_thread_id": 5, "is_topic_message": True}
    await bot.api.write(USER, GROUP, text="pay", **topic)
    await bot.api.until(lambda: any(message.get("reply_markup") for message in bot.api.messages.values()))
    (asked,) = [key for key, message in bot.api.messages.items() if message.get("reply_markup")]
    await bot.api.press(USER, asked, "Reject")
    await bot.api.shows("payment: reject")
    sent = [given for method, given in bot.api.calls if method == "sendMessage" and int(given["chat_id"]) == GROUP]
    assert {given["message_thread_id"] for given in sent} == {"5"}
    assert any(method == "answerCallbackQuery" for method, _ in bot.api.calls)


async def test_telegram_files_go_both_ways(bot: Bot) -> None:
    await bot.link()
    document = {"file_id": "f1", "file_unique_id": "f1", "file_name": "notes.txt", "file_size": 13}
    await bot.api.write(USER, caption="files", document=document)
    await bot.api.until(lambda: any("document" in message for message in bot.api.messages.values()))
    assert "read notes.txt" in bot.api.texts()
    (sent,) = [message for message in bot.api.messages.values() if "document" in message]
    assert (sent["document"]["file_name"], sent["content"]) == ("report.txt", b"made for you")


async def test_telegram_webhook_needs_its_secret(tmp_path: Path) -> None:
    async with bot_api() as api:
        application = serving(
            tmp_path / "data",
            api,
            Gate(),
            telegram_webhook_url="https://example.org/",
            telegram_webhook_secret="s3cret",
        )
        async with application.running():
            await api.until(lambda: api.webhook)
            assert api.webhook is not None
            assert api.webhook["url"] == "https://example.org/channels/telegram/events"
            assert api.webhook["secret_token"] == "s3cret"
            await api.write(USER, text="hello")
            transport = httpx.ASGITransport(application.asgi)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                place, update = "/channels/telegram/events", api.updates[0]
                assert (await client.post(place, json=update)).status_code == 401
                header = {"x-telegram-bot-api-secret-token": "s3cret"}
                assert (await client.post(place, content=b"[1", headers=header)).status_code == 401
                assert (await client.post("/channels/other/events", json=update)).status_code == 404
                for _ in range(2):
                    assert (await client.post(place, json=update, headers=header)).status_code == 200
            await api.shows(NOT_LINKED)
            assert api.texts() == [NOT_LINKED]


async def test_kill_between_receipt_and_answer_gives_one_answer(tmp_path: Path) -> None:
    """The run works when the process dies. The next process continues it, and changes the message that was sent."""
    async with bot_api() as api:
        settings = {"telegram_token": TOKEN, "telegram_url": api.url}
        config, opened = Path(__file__).parent / "langgraph.json", tmp_path / "opened"
        server = ServerProcess(
            tmp_path / "data", config=config, settings=settings, environ={"RUNSTEAD_TEST_GATE": str(opened)}
        )
        await asyncio.to_thread(server.start)
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                made = (await client.post("/channels/codes")).json()
            await api.write(USER, text=made["command"])
            await api.until(lambda: any("is linked" in text for text in api.texts()))
            api.messages.clear()
            await api.write(USER, text="wait")
            await api.write(USER, text="after")
            await api.shows("…")
            await api.until(lambda: not api.updates)
            await until_stored(tmp_path / "data" / "runstead.db")
            await asyncio.to_thread(server.kill)
            opened.touch()
            await asyncio.to_thread(server.start)
            await api.shows("you said after")
            assert api.texts() == ["you said wait", "you said after"]
        finally:
            await asyncio.to_thread(server.stop)


async def until_stored(database: Path) -> None:
    """Return when the id of the sent message is stored: in between, the service alone knows that it was sent."""
    async with asyncio.timeout(60):
        while True:
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                if connection.execute("SELECT 1 FROM channel_messages WHERE progress LIKE '%parts%'").fetchone():
                    return
            await asyncio.sleep(0.02)


async def test_token_is_not_logged(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await bot.link()
    assert "secret-of-the-bot" not in caplog.text


def test_importing_the_server_loads_no_sdk_of_a_chat_service() -> None:
    modules = "runstead.bootstrap.application", "runstead.channels.hub", "runstead.cli.main"
    loaded = "sorted({'telegram', 'slack_bolt', 'lark_oapi'} & set(sys.modules))"
    code = f"import sys, {', '.join(modules)}; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
