"""Targets that speak HTTP: bodies, queries, headers, and cursors of event streams."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from hypothesis import strategies as st

from .description import Description, Operation, path_of
from .target import Target
from .values import TEXTS, Json, documents, mutated, mutated_bytes
from .world import CANARY, Answer, Fault, World

_ALLOWED: Final = (503, 507)
"""The statuses from 500 on that the description declares for every route."""


@dataclass(frozen=True, slots=True)
class Request:
    """The request; ``headers`` are added to Mallory's own."""

    operation: Operation
    path: str
    query: bytes = b""
    body: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()

    def __repr__(self) -> str:
        return f"{self.operation.method} {self.path}?{self.query!r} {list(self.headers)} {self.body!r}"


def http_targets(world: World) -> list[Target]:
    """Bodies, queries, headers and cursors, sent to a world."""
    description = Description()
    known = {**world.ids, "namespace": ["n"], "checkpoint": {"checkpoint_id": world.ids["checkpoint_id"]}}

    def attempt(request: Request) -> str:
        answer = _sent(world, request)
        check_answer(request, answer)
        world.log.check()
        return f"{answer.status // 100}xx" if answer.status else "hung up"

    strategies = {
        "bodies": _bodies(description, world, known),
        "queries": _queries(description, world),
        "headers": _headers(description, world),
        "cursors": _cursors(description, world),
    }
    return [Target(name, examples, attempt) for name, examples in strategies.items()]


def check_answer(request: object, answer: Answer) -> None:
    """Raise Fault for a response that no request may get."""
    if CANARY.encode() in answer.body or CANARY in str(answer.headers):
        raise Fault("data of another user", f"{request!r}: {answer}")
    if answer.status >= 500 and answer.status not in _ALLOWED:
        raise Fault(f"status {answer.status}", f"{request!r}: {answer}")
    if answer.status < 400:
        return
    try:
        told = json.loads(answer.body)
    except ValueError:
        raise Fault("error that is no JSON", f"{request!r}: {answer}") from None
    # Invalid commands are refused in the envelope of commands.
    sentence = told.get("message" if told.get("type") == "error" else "detail") if isinstance(told, dict) else None
    if not isinstance(sentence, str) or not sentence:
        raise Fault("error without a sentence", f"{request!r}: {answer}")


def _sent(world: World, request: Request) -> Answer:
    headers = [(b"host", b"localhost"), (b"x-api-key", world.keys["mallory"].encode())]
    if not any(name == b"content-type" for name, _ in request.headers):
        headers.append((b"content-type", b"application/json"))
    return world.ask(
        request.operation.method,
        request.path,
        query=request.query,
        headers=[*headers, *request.headers],
        body=request.body,
        waits=request.operation.waits,
    )


# --- strategies -----------------------------------------------------------------------------------------------------
def _parts(world: World) -> st.SearchStrategy[Mapping[str, str]]:
    """Ids in the path: Mallory's, Alice's, or any text."""
    odd = st.one_of(st.sampled_from(TEXTS), st.text(max_size=10)).map(
        lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")[:2_000] or "x"
    )
    mine = world.ids | {"namespace": "child", "delivery_id": world.ids["run_id"]}
    return st.one_of(
        st.just(mine),
        st.just(mine),
        st.just(mine | world.ids_of_alice),
        st.fixed_dictionaries({name: st.one_of(st.just(value), odd) for name, value in mine.items()}),
    )


@st.composite
def _bodies(draw: st.DrawFn, description: Description, world: World, known: Mapping[str, Json]) -> Request:
    operation = draw(st.sampled_from([one for one in description.operations if one.body is not None]))
    parts = draw(_parts(world))
    # Deleted resources are no longer targets.
    others = list(world.ids_of_alice.values())
    value = mutated(description.body_of(operation, known), [*world.ids.values(), *others]).map(_soon)
    return Request(operation, path_of(operation, parts), body=draw(documents(value)))


@st.composite
def _queries(draw: st.DrawFn, description: Description, world: World) -> Request:
    operation = draw(st.sampled_from([one for one in description.operations if one.query]))
    names = st.one_of(st.sampled_from(operation.query), st.sampled_from(operation.query), st.sampled_from(TEXTS))
    texts = st.one_of(st.sampled_from(TEXTS), st.integers(-3, 2**70).map(str), st.text(max_size=12))
    pairs = draw(st.lists(st.tuples(names, texts), max_size=4))
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs).encode()
    if draw(st.integers(0, 3)) == 0:
        query = draw(mutated_bytes(st.just(query)))
    body = b"{}" if operation.body is not None else b""
    return Request(operation, path_of(operation, draw(_parts(world))), query, body)


_NAMES: Final = (
    *(b"accept", b"accept-encoding", b"authorization", b"x-api-key", b"content-type", b"content-length", b"prefer"),
    *(b"cookie", b"origin", b"host", b"last-event-id", b"idempotency-key", b"x-request-id", b"x-auth-scheme"),
    *(b"traceparent", b"tracestate", b"baggage", b"x-forwarded-for", b"x-forwarded-host", b"range"),
    *(b"access-control-request-method", b"access-control-request-headers", b"sec-fetch-site", b"upgrade", b"x-tenant"),
)
_VALUES: Final = (
    *(b"", b" ", b"\x00", b"\xff\xfe", b"\xc3\x28", b"*", b"*/*;q=nan", b"-1", b"1e9"),
    *(b"application/json;charset=\xff", b"bearer", b"Bearer ", b"Basic \xff", b"Basic ====", b"null", b"http://["),
    *(b"application/json; charset=utf-7", b"9" * 300),
    *(b"return=minimal", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"gzip, br;q=2", b"a=b; c=\xff", b"x" * 5_000),
)


@st.composite
def _headers(draw: st.DrawFn, description: Description, world: World) -> Request:
    operation = draw(st.sampled_from(description.operations))
    values = st.one_of(st.sampled_from(_VALUES), st.binary(max_size=20))
    headers = draw(st.lists(st.tuples(st.sampled_from(_NAMES), values), min_size=1, max_size=5))
    body = b""
    if operation.body is not None:
        body = b'{"assistant_id": "echo", "input": {"said": 1}}'
    return Request(operation, path_of(operation, draw(_parts(world))), body=body, headers=headers)


@st.composite
def _cursors(draw: st.DrawFn, description: Description, world: World) -> Request:
    streams = [one for one in description.operations if one.path.endswith("/stream") and one.method == "GET"]
    operation = draw(st.sampled_from(streams))
    number = st.one_of(st.integers(-2, 12), st.sampled_from((2**31, 2**63, 2**64, 10**40))).map(str)
    digits = st.one_of(number, st.sampled_from(("", "+1", "1_0", "٣", "1.0", "0x1", " 1", "²")))
    cursor = st.one_of(digits, st.lists(digits, min_size=2, max_size=4).map("-".join), st.text(max_size=20))
    value = draw(st.one_of(cursor.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=30)))
    return Request(operation, path_of(operation, draw(_parts(world))), headers=[(b"last-event-id", value)])


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _soon(value: Json) -> Json:
    """The same, without enabled crons that fire: they would create runs for as long as the fuzzing lasts."""
    if isinstance(value, dict) and "schedule" in value:
        return {**value, "enabled": False}
    return value
