"""Handlers of a ``langgraph_sdk.Auth``: their parameters, their results, and the selection of the handler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from langgraph_sdk import Auth
from starlette.exceptions import HTTPException

from runstead.auth.langgraph_auth import InvalidAnswer, InvalidAuth, LangGraphAuth
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.wire.authorization import Action, InvalidFilter, Resource
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Forbidden, Refused, Unauthenticated, Unavailable
from runstead.wire.users import InvalidUser


async def body() -> bytes:
    return b'{"a": [1]}'


ASKED = Credentials(
    method="POST",
    path="/threads/t-1/runs",
    headers={"authorization": "Bearer x", "x-more": "grüße"},
    query="a=1&b=",
    client="127.0.0.1",
    path_params={"thread_id": "t-1"},
    scope={"type": "http", "headers": [(b"x-more", b"1")], "path": "/threads/t-1/runs", "query_string": b""},
    body=body,
)
ALICE = ActorContext(
    "alice", claims={"identity": "alice", "display_name": "Alice", "permissions": ["p"], "plan": "gold"}
)


def auth_of(authenticate: Callable[..., Any]) -> Auth:
    auth = Auth()
    auth.authenticate(authenticate)
    return auth


async def authenticated(handler: Callable[..., Any], asked: Credentials = ASKED) -> ActorContext:
    async with LangGraphAuth.running(auth_of(handler)) as door:
        return await door.authenticate(asked)


async def test_handler_receives_every_parameter_it_declares() -> None:
    got: dict[str, Any] = {}

    async def handler(
        request: Any,
        body: Any,
        path: str,
        method: str,
        path_params: dict[str, str],
        query_params: dict[str, str],
        headers: dict[bytes, bytes],
        authorization: str | None,
        scope: dict[str, Any],
        mine: int = 1,
    ) -> str:
        got.update(locals())
        got["read"] = await request.json()
        return "alice"

    actor = await authenticated(handler)
    assert (actor.user_id, actor.auth_source) == ("alice", "langgraph_auth")
    assert got["body"] == got["read"] == {"a": [1]}
    assert (got["path"], got["method"]) == ("/threads/t-1/runs", "POST")
    assert (got["path_params"], got["query_params"]) == ({"thread_id": "t-1"}, {"a": "1", "b": ""})
    assert got["headers"] == {b"authorization": b"Bearer x", b"x-more": "grüße".encode("latin-1")}
    assert got["authorization"] == "Bearer x"
    assert got["scope"]["path"] == got["request"].url.path == "/threads/t-1/runs"
    assert got["request"].path_params == {"thread_id": "t-1"}


async def test_body_is_read_only_for_handlers_that_declare_it() -> None:
    async def never() -> bytes:
        raise AssertionError("no handler declared it")

    async def handler(authorization: str) -> str:
        return authorization

    asked = Credentials("GET", "/", {"authorization": "Bearer x"}, body=never)
    assert (await authenticated(handler, asked)).user_id == "Bearer x"


@dataclass
class User:
    identity: str
    permissions: tuple[str, ...] = ()
    org: str = "acme"
    _token: str = "secret"


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        ("alice", {"permissions": []}),
        ({"identity": "alice", "permissions": ("b", "a"), "org": "acme"}, {"permissions": ["b", "a"], "org": "acme"}),
        (User("alice", ("a",)), {"permissions": ["a"], "org": "acme"}),
    ],
)
async def test_user_is_a_text_a_dict_or_an_object(returned: Any, shown: dict[str, Any]) -> None:
    async def handler() -> Any:
        return returned

    actor = await authenticated(handler)
    assert (actor.user_id, actor.scopes) == ("alice", frozenset(shown["permissions"]))
    named = {"identity": "alice", "display_name": "alice", "is_authenticated": True}
    assert actor.claims == {**named, **shown}
    assert ActorContext.from_json(actor.to_json()) == actor


@pytest.mark.parametrize(
    "returned", [None, "", {}, {"identity": 7}, {"identity": "nul\0"}, 3.5, {"identity": "\ud800"}]
)
async def test_user_without_identity_is_invalid(returned: Any) -> None:
    async def handler() -> Any:
        return returned

    with pytest.raises(InvalidUser, match="identity"):
        await authenticated(handler)


@pytest.mark.parametrize("tenant", ["", " ", 7, "nul\0", "runstead:unauthenticated"])
async def test_user_with_an_unusable_tenant_is_invalid(tenant: Any) -> None:
    async def handler() -> Any:
        return {"identity": "alice", "tenant_id": tenant}

    with pytest.raises(InvalidUser, match="tenant_id"):
        await authenticated(handler)


@pytest.mark.parametrize(
    ("raised", "expected", "status"),
    [
        (Auth.exceptions.HTTPException(), Refused, 401),
        (Auth.exceptions.HTTPException(402, "pay"), Refused, 402),
        (HTTPException(403, "no"), Refused, 403),
        (AssertionError("who?"), Unauthenticated, 401),
        (SystemExit(1), RuntimeError, None),
        (ValueError("a bug"), ValueError, None),
    ],
)
async def test_exception_of_a_handler_determines_the_refusal(
    raised: BaseException, expected: type[Exception], status: int | None
) -> None:
    async def handler() -> Any:
        raise raised

    with pytest.raises(expected) as refused:
        await authenticated(handler)
    assert getattr(refused.value, "status", None) == status


async def test_user_with_is_authenticated_false_is_unauthenticated() -> None:
    async def handler() -> Any:
        return {"identity": "anonymous", "is_authenticated": False}

    with pytest.raises(Unauthenticated):
        await authenticated(handler)


async def test_handler_need_not_be_async() -> None:
    def handler(method: str) -> str:
        return f"{method}-{threading.current_thread() is not threading.main_thread()}"

    assert (await authenticated(handler)).user_id == "POST-True"


async def with_a_wish(password: str) -> str:
    return password


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        (auth_of(with_a_wish), "asks for 'password'"),
        (Auth(), "no @auth.authenticate handler"),
        ({"auth": 1}, "it is a dict, not a langgraph_sdk.Auth"),
    ],
)
async def test_unusable_auth_object_is_refused_at_startup(auth: Any, said: str) -> None:
    with pytest.raises(InvalidAuth, match=said):
        async with LangGraphAuth.running(auth):
            pass


async def unused_handler() -> str:
    return "alice"


async def asked(auth: Auth, resource: Resource, action: Action, value: dict[str, Any] | None = None) -> Any:
    async with LangGraphAuth.running(auth) as door:
        return await door.authorize(ALICE, resource, action, {} if value is None else value)


async def test_only_the_most_specific_handler_is_called() -> None:
    auth = auth_of(unused_handler)

    def answering(name: str) -> Any:
        async def handler(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
            return {"by": name}

        return handler

    auth.on(answering("all"))
    auth.on.threads(answering("threads"))
    auth.on.threads.create(answering("threads.create"))
    auth.on(actions="delete")(answering("delete"))
    auth.on.store(actions=["put", "get"])(answering("store.put"))
    for resource, action, by in (
        ("threads", "create", "threads.create"),
        ("threads", "read", "threads"),
        ("threads", "delete", "threads"),
        ("assistants", "delete", "delete"),
        ("assistants", "read", "all"),
        ("store", "get", "store.put"),
        ("store", "search", "all"),
    ):
        assert await asked(auth, resource, action) == {"by": by}, (resource, action)  # type: ignore[arg-type]


async def test_own_resources_are_allowed_without_a_handler() -> None:
    auth = auth_of(unused_handler)
    assert await asked(auth, "threads", "read") is None
    async with LangGraphAuth.running(auth) as door:
        assert not door.decides


@pytest.mark.parametrize("answer", [None, True])
async def test_none_and_true_allow(answer: Any) -> None:
    assert await asked(answers(answer), "threads", "read") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(False, Forbidden), ("yes", InvalidAnswer), (1, InvalidAnswer), ({"a": {"$gt": 1}}, InvalidFilter)],
)
async def test_unsupported_handler_result_denies_access(answer: Any, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        await asked(answers(answer), "threads", "read")


def answers(answer: Any) -> Auth:
    auth = auth_of(unused_handler)

    @auth.on
    async def handler(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
        return answer

    return auth


async def test_handler_receives_the_user_and_may_change_the_value() -> None:
    auth = auth_of(unused_handler)

    @auth.on.threads.create
    async def handler(ctx: Auth.types.AuthContext, value: Any) -> Any:
        user: Any = ctx.user
        value["metadata"]["owner"] = f"{user.identity} {user['plan']} {user.plan} {user.get('x', '-')}"
        assert "plan" in user
        assert isinstance(user, Auth.types.BaseUser)
        assert list(ctx.permissions) == ["p"]
        assert (ctx.resource, ctx.action) == ("threads", "create")

    value: dict[str, Any] = {"metadata": {}}
    assert await asked(auth, "threads", "create", value) is None
    assert value == {"metadata": {"owner": "alice gold gold -"}}


async def test_all_handlers_run_on_the_loop_of_user_code() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def authenticate() -> str:
        loops.append(asyncio.get_running_loop())
        return "alice"

    auth = auth_of(authenticate)

    @auth.on
    async def decide(ctx: Auth.types.AuthContext, value: Any) -> bool:
        loops.append(asyncio.get_running_loop())
        return True

    async with UserLoop.running() as user_loop:
        door = LangGraphAuth(auth, user_loop)
        await door.authorize(await door.authenticate(ASKED), "threads", "read", {})
        assert loops == [user_loop.loop] * 2
    assert asyncio.get_running_loop() not in loops


async def test_blocking_synchronous_handler_is_independent_of_other_user_code() -> None:
    """It needs no event loop: neither the user loop, which is blocked here, nor the thread of another one."""
    free, begun = threading.Event(), threading.Barrier(3)

    async def blocking() -> None:
        begun.wait(20)
        free.wait(20)  # like code without asyncio

    def authenticate(authorization: str) -> str:
        if authorization == "slow":
            begun.wait(20)
            free.wait(20)
        return authorization

    async with UserLoop.running() as user_loop:
        door = LangGraphAuth(auth_of(authenticate), user_loop)
        stuck = asyncio.create_task(user_loop.run(blocking))
        slow = asyncio.create_task(door.authenticate(Credentials("GET", "/", {"authorization": "slow"})))
        try:
            await asyncio.to_thread(begun.wait, 20)
            quick = await door.authenticate(Credentials("GET", "/", {"authorization": "quick"}))
            assert quick.user_id == "quick"
            assert not slow.done()
            assert not stuck.done()
        finally:
            free.set()
        await asyncio.gather(stuck, slow)


@pytest.mark.parametrize("is_async", [True, False])
async def test_handler_that_never_returns_times_out(is_async: bool) -> None:
    over = threading.Event()

    async def for_ever() -> str:
        return str(await asyncio.Event().wait())

    def in_a_thread() -> str:
        return str(over.wait(20))

    async with UserLoop.running() as user_loop:
        door = LangGraphAuth(auth_of(for_ever if is_async else in_a_thread), user_loop, answer_within=0.1)
        with pytest.raises(Unavailable, match="does not answer"):
            await door.authenticate(ASKED)
        over.set()


@pytest.mark.parametrize("timeout", [TimeoutError("slow"), httpx.ReadTimeout("slow"), httpx.PoolTimeout("slow")])
async def test_timeout_raised_by_the_handler_is_a_retriable_503(timeout: Exception) -> None:
    async def handler() -> str:
        raise timeout

    with pytest.raises(Unavailable, match="does not answer; send the request again"):
        await authenticated(handler)


async def test_handler_that_is_cancelled_while_its_server_stops_does_not_answer() -> None:
    begun = threading.Event()

    async def handler() -> str:
        begun.set()
        return str(await asyncio.Event().wait())

    async with UserLoop.running() as user_loop:
        asking = asyncio.create_task(LangGraphAuth(auth_of(handler), user_loop).authenticate(ASKED))
        await asyncio.to_thread(begun.wait, 30)
    with pytest.raises(Unavailable) as refused:
        await asking
    assert refused.value.headers == {"retry-after": "1"}
