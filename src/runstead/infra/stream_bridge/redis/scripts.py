"""Lua scripts for atomic operations in Redis; they are in ``lua/`` with their descriptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.infra.engines.redis import RedisScript
from runstead.runtime.stream_bridge.contract import StreamEvent, StreamStatus, TerminalKind
from runstead.runtime.stream_bridge.event_ids import numbers_of

from ..offsets import LogOffsets

EVENT: Final = "stream.event"
"""The encryption purpose of event data."""

Word: TypeAlias = Literal["ok", "missing", "gone", "stale", "terminated", "behind"]
"""The result of orders.

``ok``: all done. ``missing``: no such stream. ``gone``: it was deleted. ``stale``: the order is of an earlier attempt.
``terminated``: the stream has ended. ``behind``: another publisher has used the event's number.
"""


@cache
def script(name: str) -> RedisScript:
    return RedisScript(files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class StreamState:
    """The state of a stream, with numbers that continue if the server has lost it."""

    attempt: int
    seq: int
    published: int
    begun: str
    asked: bool
    terminal: str | None


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The reply of ``apply``: the result of the first order that was not done, if any, and the state of the stream."""

    status: Word
    done: int
    standing: StreamState

    @classmethod
    def of(cls, answer: Sequence[Any]) -> ApplyResult:
        word, done, attempt, seq, published, asked, terminal, begun = answer
        standing = StreamState(attempt, seq, published, begun.decode(), bool(asked), terminal.decode() or None)
        return cls(word.decode(), done, standing)

    @classmethod
    def lost(cls) -> ApplyResult:
        """Return the result for orders that were given up."""
        return cls("missing", 0, StreamState(0, 0, 0, "", asked=False, terminal=None))


@dataclass(frozen=True, slots=True)
class Page:
    """The reply of ``page``: a piece of the log, and the state of the whole log."""

    there: bool
    attempt: int
    seq: int
    status: StreamStatus
    terminal: str | None
    shape: LogOffsets
    forgotten: bool
    more: bool
    events: Sequence[StreamEvent]

    @classmethod
    def of(cls, answer: Sequence[Any], cipher: Cipher | None = None) -> Page:
        """Parse a reply. ``cipher`` decrypts the events. Raises CannotDecrypt."""
        there, attempt, seq, published, status, terminal, begun, oldest, forgotten, more = answer[:10]
        first, pairs = published, pairs_of(begun.decode())
        if oldest and (numbers := numbers_of(oldest.decode())) is not None:
            first = next((start + numbers[1] - 1 for number, start in pairs if number == numbers[0]), published)
        shape = LogOffsets(attempt, published, bool(terminal), first, oldest.decode() or None, pairs)
        state = StreamStatus(status.decode()) if status else StreamStatus.OPEN
        ended = terminal.decode() or None
        events = list(_events(answer, cipher))
        return cls(bool(there), attempt, seq, state, ended, shape, bool(forgotten), bool(more), events)


def pairs_of(begun: str) -> list[tuple[int, int]]:
    """Return the start position of each attempt, from ``attempt:place,...``."""
    pairs = (pair.split(":") for pair in begun.split(",") if pair)
    return [(int(attempt), int(place)) for attempt, place in pairs]


def event_of(event_id: bytes, name: bytes, data: bytes, kind: bytes, cipher: Cipher | None = None) -> StreamEvent:
    """Return an event of a log. Raises CannotDecrypt."""
    terminal: TerminalKind | None = kind.decode() if kind else None  # type: ignore[assignment]
    cipher = cipher or NO_KEYS
    if cipher.key_id_of(data) is not None:
        data = cipher.decrypt(data, EVENT)
    return StreamEvent(event_id.decode(), name.decode(), data, terminal)


def _events(answer: Sequence[Any], cipher: Cipher | None) -> Iterator[StreamEvent]:
    parts = islice(answer, 10, None)
    for event_id, name, data, kind in zip(parts, parts, parts, parts, strict=True):
        yield event_of(event_id, name, data, kind, cipher)
