"""Deadlines in a running server: the default answer, the honest expiry, the stream, and the rules of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.faults.browser import Browser
from tests.gateway.assistants import Served
from tests.processes.client import eventually
from tests.servers.sqlite import current_data

from .conftest import ALICE, GRAPHS, Client

AT_ONCE = 0.05


async def closed(client: Client, approval: dict[str, Any]) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await client.get(approval)
        return found if found["state"] != "open" else None

    return dict(await eventually(look, 60))


async def test_default_answer_continues_the_thread(client: Client) -> None:
    approval = await client.ask("timed", {"deadline": AT_ONCE, "default": "no"})
    answered = await closed(client, approval)
    assert (answered["answered_by"], answered["decider"], answered["decision"]) == ("deadline", None, "no")
    assert (await client.joined(answered["answer_run_id"]))["answers"] == ["no"]


async def test_rules_of_the_settings_apply_to_questions_without_any(served: Served) -> None:
    rules = [{"graphs": ["asker"], "deadline": AT_ONCE, "default": "banana"}, {"deadline": 3600}]
    async with served(users=True, graphs=GRAPHS, approvals=rules) as http:
        client = Client(http)
        # The default answer does not fit the schema of the question.
        expired = await closed(client, await client.ask())
        assert expired["state"] == "expired"
        assert "does not fit its response_schema" in expired["events"][-1]["details"]["reason"]
        assert (await client.answer(expired, True)).status_code == 409
        assert (await client.ask("twice"))["deadline_at"] is not None


async def test_expiry_is_published_on_the_streams_of_the_thread(tmp_path: Path) -> None:
    settings = load_settings({"data_dir": current_data(tmp_path / "data"), "port": 0}, project=tmp_path)
    application = Application(settings, read_configuration(GRAPHS))
    async with application.running(), Browser(application.asgi) as browser:
        thread = await browser.new_thread()
        channels = {"channels": ["custom:approval"]}
        async with (
            browser.watching("POST", f"{thread}/stream/events", channels) as protocol,
            browser.watching("GET", f"{thread}/stream?stream_modes=lifecycle") as stream,
        ):
            await browser.wait(thread, "timed", {"rules": {"deadline": 0.5, "remind_after": 0.1}})
            events = [one.json["params"]["data"]["payload"] for one in await protocol.saw("custom", 3)]
            frames = [one.json for one in await stream.saw("approval", 3) if one.event == "approval"]
        expected = [("requested", "open"), ("reminded", "open"), ("expired", "expired")]
        for seen in (events, frames):
            assert [(one["event"], one["status"]) for one in seen] == expected
        # A reader that comes later sees the same events, in order with those of the run.
        every = {"channels": ["custom:approval", "lifecycle", "input"], "since": 0}
        async with browser.watching("POST", f"{thread}/stream/events", every) as later:
            shown = [one.json for one in await later.saw("custom", 3)]
        numbers = [one["seq"] for one in shown]
        assert numbers == sorted(numbers)
        assert [one["method"] for one in shown][-3:] == ["custom"] * 3


async def test_delegation_by_escalation_lets_the_user_answer(client: Client) -> None:
    rules = {"deadline": 3600, "escalate_after": AT_ONCE, "escalate_to": "bob"}
    approval = await client.ask("timed", rules)

    async def delegated() -> bool:
        return bool(await client.list({"x-user": "bob"}))

    await eventually(delegated, 60)
    told = await client.answer(approval, "yes", {"x-user": "bob"})
    assert (told.status_code, told.json()["decider"]) == (200, "bob")
    assert [one["kind"] for one in (await client.get(approval, ALICE))["events"]] == [
        "requested",
        "escalated",
        "answered",
    ]
