"""Slack with the real SDK, against its Web API and socket mode on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.channels.slack import SlackChannel, SlackOptions
from runstead.channels.texts import NOT_LINKED, NOT_YOURS
from runstead.resources.channels import digest_of, new_code
from runstead.runtime.actor_context import ActorContext, acting
from tests.channels.graphs import Gate, agent
from tests.channels.slack_server import APP_TOKEN, BOT_TOKEN, SECRET, Slack, signed, slack
from tests.servers.sqlite import current_data

ALICE = ActorContext("alice", "acme", auth_source="custom")


@dataclass
class Bot:
    """App with its server."""

    slack: Slack
    application: Application

    async def code(self) -> str:
        code = new_code()
        with acting(ALICE):
            await self.application.services.channel_links.create_code(digest_of(code))
        return f"/link {code}"

    async def link(self, user: str = "U1") -> None:
        await self.slack.deliver(self.slack.message(user, await self.code(), f"D{user}"))
        await self.slack.until(lambda: any("is linked" in text for text in self.slack.texts()))
        self.slack.messages.clear()


def serving(data: Path, service: Slack, **settings: Any) -> Application:
    return Application(
        {"agent": agent(Gate())},
        data_dir=current_data(data),
        port=0,
        shutdown_grace_seconds=0.1,
        slack_bot_token=BOT_TOKEN,
        slack_url=service.url,
        **settings,
    )


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    async with slack() as service:
        application = serving(tmp_path / "data", service, slack_app_token=APP_TOKEN)
        async with application.running():
            yield Bot(service, application)


async def test_slack_answers_by_edits_of_one_message(bot: Bot) -> None:
    await bot.slack.deliver(bot.slack.message("U1", "hello"))
    await bot.slack.shows(NOT_LINKED)
    await bot.link()
    bot.slack.refusals = 1
    event = bot.slack.message("U1", "a &lt;b&gt; &amp; c")
    for _ in range(2):
        # Delivered again, as Slack does when a confirmation is late.
        await bot.slack.deliver(event)
    # Shown as written: no markup of Slack comes from the agent.
    await bot.slack.shows("you said a &lt;b&gt; &amp; c")
    assert len(bot.slack.messages) == 1


async def test_slack_thread_is_a_conversation_whose_buttons_belong_to_one_person(bot: Bot) -> None:
    await bot.link()
    event = bot.slack.message("U1", "pay", "C1")
    await bot.slack.deliver(event)
    await bot.slack.until(lambda: any(message["blocks"] for message in bot.slack.messages.values()))
    (asked,) = [ts for ts, message in bot.slack.messages.items() if message["blocks"]]
    assert bot.slack.messages[asked]["thread_ts"] == event["event"]["ts"]
    await bot.slack.deliver(bot.slack.press("U2", asked, "Approve"))
    await bot.slack.shows(NOT_YOURS)
    await bot.slack.deliver(bot.slack.press("U1", asked, "Approve"))
    await bot.slack.shows("payment: approve")
    assert bot.slack.messages[asked]["blocks"] == []
    assert {message["thread_ts"] for message in bot.slack.messages.values()} == {event["event"]["ts"]}


async def test_slack_files_go_both_ways(bot: Bot) -> None:
    await bot.link()
    files = [{"id": "F1", "name": "notes.txt", "size": 13}]
    await bot.slack.deliver(bot.slack.message("U1", "files", subtype="file_share", files=files))
    await bot.slack.until(lambda: bot.slack.files)
    (sent,) = bot.slack.files
    assert (sent["name"], sent["content"], sent["channel"]) == ("report.txt", b"made for you", "D1")
    assert "read notes.txt" in bot.slack.texts()


async def test_slack_over_http_checks_the_signature(tmp_path: Path) -> None:
    async with slack() as service:
        application = serving(tmp_path / "data", service, slack_signing_secret=SECRET)
        transport = httpx.ASGITransport(application.asgi)
        async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            place, body = "/channels/slack/events", json.dumps(service.message("U1", "hello")).encode()
            json_type = {"content-type": "application/json"}
            for headers in ({}, signed(body, "wrong"), {**signed(body), "x-slack-request-timestamp": "1"}):
                refused = await http.post(place, content=body, headers={**json_type, **headers})
                assert refused.status_code == 401
            challenge = json.dumps({"type": "url_verification", "challenge": "c-1"}).encode()
            answer = await http.post(place, content=challenge, headers={**json_type, **signed(challenge)})
            assert "c-1" in answer.text
            for _ in range(2):
                done = await http.post(place, content=body, headers={**json_type, **signed(body)})
                assert done.status_code == 200
            await service.shows(NOT_LINKED)
            bot = Bot(service, application)
            link = json.dumps(service.message("U1", await bot.code())).encode()
            await http.post(place, content=link, headers={**json_type, **signed(link)})
            await service.until(lambda: any("is linked" in text for text in service.texts()))
            asking = json.dumps(service.message("U1", "pay")).encode()
            await http.post(place, content=asking, headers={**json_type, **signed(asking)})
            await service.until(lambda: any(message["blocks"] for message in service.messages.values()))
            (asked,) = [ts for ts, message in service.messages.items() if message["blocks"]]
            form = urlencode({"payload": json.dumps(service.press("U1", asked, "Reject"))}).encode()
            form_type = {"content-type": "application/x-www-form-urlencoded"}
            assert (await http.post(place, content=form, headers={**form_type, **signed(form)})).status_code == 200
            await service.shows("payment: reject")
            assert service.texts().count(NOT_LINKED) == 1


async def test_slack_posts_a_repeated_message_once() -> None:
    async with slack() as service:
        channel = SlackChannel(SlackOptions(BOT_TOKEN, url=service.url))
        # A process that is killed before it has stored the id sends again with the same key.
        first = await channel.send("D1", "hello", key="k")
        assert await channel.send("D1", "hello", key="k") == first
        assert service.texts() == ["hello"]
        service.messages.clear()
        assert await channel.send("D1", "hello", key="k") != first
        await channel.close()
