"""A stream or WebSocket ends when its caller has lost access, and continues while access cannot be checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from runstead.gateway.auth.authentication import ACTOR, Authentication
from runstead.runtime.actor_context import ActorContext
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Forbidden, Refused, Unauthenticated, Unavailable

ALICE = ActorContext("alice", scopes=frozenset({"read", "write"}), auth_source="test")
SOON = 0.01


class Answers:
    """An authenticator with scripted results."""

    def __init__(self) -> None:
        self.answer: ActorContext | Exception = ALICE
        self.asked = 0
        self._news = asyncio.Event()

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        self.asked += 1
        self._news.set()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def asked_again(self, times: int) -> None:
        wanted = self.asked + times
        while self.asked < wanted:
            self._news.clear()
            await self._news.wait()


class Endless:
    """An app whose response never ends; ``silent`` sends nothing at all."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent, self.begun, self.cleaned = silent, asyncio.Event(), False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not self.silent:
                kind = "websocket.accept" if scope["type"] == "websocket" else "http.response.start"
                await send({"type": kind, "status": 200, "headers": []})
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.cleaned = True


async def nothing() -> Message:
    return await asyncio.Event().wait()  # type: ignore[return-value]


def serving(app: Any, answers: Answers, sent: list[Message], kind: str = "http", **scope: Any) -> asyncio.Task[None]:
    async def send(message: Message) -> None:
        sent.append(message)

    asked = {"type": kind, "method": "GET", "path": "/threads", "headers": [], **scope}
    return asyncio.ensure_future(Authentication(app, answers, check_seconds=SOON)(asked, nothing, send))


GONE: list[Any] = [
    Unauthenticated("revoked"),
    Forbidden("no"),
    Refused(401, "no"),
    ActorContext("bob", auth_source="test"),
    ActorContext("alice", "other", auth_source="test"),
    ActorContext("alice", scopes=frozenset({"read"}), auth_source="test"),
]


@pytest.mark.parametrize("answer", GONE, ids=repr)
async def test_stream_is_cut_when_access_has_ended(answer: Any) -> None:
    app, answers, sent = Endless(), Answers(), list[Message]()
    task = serving(app, answers, sent)
    await app.begun.wait()
    answers.answer = answer
    await asyncio.wait_for(task, 5)
    assert app.cleaned
    assert [message["type"] for message in sent] == ["http.response.start"], "it must not look complete"


async def test_websocket_is_closed_with_4401_when_access_has_ended() -> None:
    app, answers, sent = Endless(), Answers(), list[Message]()
    task = serving(app, answers, sent, "websocket")
    await app.begun.wait()
    answers.answer = Unauthenticated("revoked")
    await asyncio.wait_for(task, 5)
    assert (sent[-1]["type"], sent[-1]["code"]) == ("websocket.close", 4401)


async def test_request_that_has_not_been_answered_is_refused_when_access_has_ended() -> None:
    app, answers = Endless(silent=True), Answers()
    task = serving(app, answers, [])
    await app.begun.wait()
    answers.answer = Unauthenticated("revoked")
    with pytest.raises(Unauthenticated, match="log in again"):
        await asyncio.wait_for(task, 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda answers: None,
        lambda answers: setattr(answers, "answer", Unavailable("the database is away")),
        lambda answers: setattr(answers, "answer", RuntimeError("a bug")),
        lambda answers: setattr(answers, "answer", ActorContext("alice", scopes=frozenset({"read", "write", "more"}))),
    ],
    ids=["same", "unavailable", "bug", "more scopes"],
)
async def test_stream_continues_while_access_is_unchanged_or_unknown(change: Callable[[Answers], None]) -> None:
    app, answers, sent = Endless(), Answers(), list[Message]()
    task = serving(app, answers, sent)
    await app.begun.wait()
    change(answers)
    await answers.asked_again(3)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_short_requests_check_once_and_leave_no_task() -> None:
    async def short(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope[ACTOR] == ALICE

    answers = Answers()
    await serving(short, answers, [])
    await asyncio.sleep(SOON * 3)
    assert answers.asked == 1
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "access-watch"]
