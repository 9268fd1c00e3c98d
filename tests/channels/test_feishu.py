"""Feishu with the real SDK, against its open platform and long connection on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runstead.bootstrap.application import Application
from runstead.channels.texts import NOT_LINKED, NOT_YOURS
from runstead.resources.channels import digest_of, new_code
from runstead.runtime.actor_context import ActorContext, acting
from tests.channels.feishu_server import APP_ID, APP_SECRET, Feishu, feishu
from tests.channels.graphs import Gate, agent
from tests.servers.sqlite import current_data

ALICE = ActorContext("alice", "acme", auth_source="custom")


@dataclass
class Bot:
    """Bot with its server."""

    feishu: Feishu
    application: Application

    async def link(self, user: str = "ou_1") -> None:
        code = new_code()
        with acting(ALICE):
            await self.application.services.channel_links.create_code(digest_of(code))
        await self.feishu.deliver(self.feishu.message(user, f"/link {code}"))
        await self.feishu.until(lambda: any("is linked" in text for text in self.feishu.texts()))
        self.feishu.messages.clear()


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    async with feishu() as service:
        application = Application(
            {"agent": agent(Gate())},
            data_dir=current_data(tmp_path / "data"),
            port=0,
            shutdown_grace_seconds=0.1,
            feishu_app_id=APP_ID,
            feishu_app_secret=APP_SECRET,
            feishu_url=service.url,
        )
        async with application.running():
            yield Bot(service, application)


async def test_feishu_answers_in_one_card_that_is_patched(bot: Bot) -> None:
    await bot.feishu.deliver(bot.feishu.message("ou_1", "hello"))
    await bot.feishu.shows(NOT_LINKED)
    await bot.link()
    bot.feishu.refusals = 1
    event = bot.feishu.message("ou_1", "hello")
    for _ in range(2):
        await bot.feishu.deliver(event)
    await bot.feishu.shows("you said hello")
    assert len(bot.feishu.messages) == 1
    assert bot.feishu.patches >= 1


async def test_feishu_buttons_belong_to_the_person_who_is_asked(bot: Bot) -> None:
    await bot.link()
    mention = {"key": "@_user_1", "id": {"open_id": "ou_bot"}, "name": "bot"}
    await bot.feishu.deliver(bot.feishu.message("ou_1", "@_user_1 pay", "oc_group", mentions=[mention]))
    await bot.feishu.until(bot.feishu.asked)
    (asked,) = bot.feishu.asked()
    await bot.feishu.deliver(bot.feishu.press("ou_2", asked, "Approve"))
    await bot.feishu.shows(NOT_YOURS)
    await bot.feishu.deliver(bot.feishu.press("ou_1", asked, "Approve"))
    await bot.feishu.shows("payment: approve")
    await bot.feishu.until(lambda: not bot.feishu.asked())
    assert {message["chat"] for message in bot.feishu.messages.values()} == {"oc_group"}


async def test_feishu_files_go_both_ways(bot: Bot) -> None:
    await bot.link()
    content = json.dumps({"file_key": "file_v2", "file_name": "files.txt"})
    await bot.feishu.deliver(bot.feishu.message("ou_1", message_type="file", content=content))
    await bot.feishu.until(lambda: any("content" in message for message in bot.feishu.messages.values()))
    (sent,) = [message for message in bot.feishu.messages.values() if "content" in message]
    assert (sent["name"], sent["content"]) == ("report.txt", b"made for you")
    assert "read files.txt" in bot.feishu.texts()
