"""Messages to runs at the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.cli.conftest import home, invoke  # noqa: F401
from tests.cli.processes import Done

from .conftest import Server
from .test_steering import idle

Run: TypeAlias = Callable[..., Done]


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
async def test_command_line_sends_lists_and_withdraws(server: Server, invoke: Run) -> None:  # noqa: F811
    work, url = await server.work("without"), str(server.http.base_url).rstrip("/")

    async def run(*arguments: str) -> Done:
        return await asyncio.to_thread(invoke, *arguments, "--url", url)

    sent = await run("runs", "steer", work.run["run_id"], "from the terminal")
    assert "waits for run" in sent.out
    assert "may leave the message" in sent.out
    (message,) = await work.messages()
    listed = await run("threads", "messages", work.thread)
    assert ("waiting" in listed.out, "from the terminal" in listed.out) == (True, True)
    assert "is withdrawn" in (await run("threads", "withdraw", work.thread, message["message_id"])).out
    assert (await run("threads", "withdraw", work.thread, "unknown")).exit_code == 1
    work.finish()
    await work.join()
    late = await run("runs", "steer", work.run["run_id"], "late")
    assert "starts with the message" in late.out
    await idle(server, work.thread)
