"""Events of the protocol, their channels, and subscriptions to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from runstead.runtime.json_types import JsonMapping, JsonObject

from ..errors import BadRequest

Namespace: TypeAlias = tuple[str, ...]

CHANNELS: Final = (
    "values", "updates", "checkpoints", "messages", "tools", "custom", "lifecycle", "input", "tasks",
)  # fmt: skip
CUSTOM: Final = "custom:"
_CHANNEL_OF: Final = {"input.requested": "input", "input.answered": "input"}
_MOST: Final = 256
"""Maximum number of channels or namespaces of one subscription."""


@dataclass(frozen=True, slots=True)
class ProtocolEvent:
    """Event of the protocol.

    ``seq`` rises over all runs of a thread and is the same for every reader; ``event_id`` is unique in the thread, and
    stays the same over reconnects and restarts. ``timestamp`` is in milliseconds.
    """

    event_id: str
    seq: int
    method: str
    namespace: Namespace
    timestamp: int
    data: Any

    @property
    def channel(self) -> str:
        """Channel of the event; a custom event with a name has a channel of that name."""
        if self.method == "custom" and isinstance(name := self.data.get("name"), str):
            return CUSTOM + name
        return _CHANNEL_OF.get(self.method, self.method)

    def to_json(self) -> JsonObject:
        return {
            "type": "event",
            "event_id": self.event_id,
            "seq": self.seq,
            "method": self.method,
            "params": {"namespace": list(self.namespace), "timestamp": self.timestamp, "data": self.data},
        }


@dataclass(frozen=True, slots=True)
class Subscription:
    """Selection of one reader: channels, within namespaces (none: all), at most ``depth`` levels below each of them.

    ``since`` hides events up to and including that seq.
    """

    channels: frozenset[str]
    namespaces: tuple[Namespace, ...] = ()
    depth: int | None = None
    since: int | None = None

    def wants(self, *methods: str) -> bool:
        """Return whether one of these channels is selected."""
        return not self.channels.isdisjoint(methods)

    def matches(self, event: ProtocolEvent) -> bool:
        if self.since is not None and event.seq <= self.since:
            return False
        channel = event.channel
        if channel not in self.channels and not (channel.startswith(CUSTOM) and "custom" in self.channels):
            return False
        return not self.namespaces or any(self._covers(prefix, event.namespace) for prefix in self.namespaces)

    def _covers(self, prefix: Namespace, namespace: Namespace) -> bool:
        if len(prefix) > len(namespace):
            return False
        if self.depth is not None and len(namespace) - len(prefix) > self.depth:
            return False
        return all(_same(asked, found) for asked, found in zip(prefix, namespace, strict=False))


def _same(asked: str, found: str) -> bool:
    """Return whether a segment matches. A segment without an id matches all segments of that name."""
    return asked == found or (":" not in asked and found.partition(":")[0] == asked)


def subscription_of(params: JsonMapping) -> Subscription:
    """Return the subscription that a request describes. Raises BadRequest."""
    return Subscription(
        channels=_channels(params.get("channels")),
        namespaces=tuple(_namespace(one) for one in _list(params.get("namespaces"), "namespaces")),
        depth=_number(params.get("depth"), "depth"),
        since=_number(params.get("since"), "since"),
    )


def union(subscriptions: Iterable[Subscription]) -> Subscription:
    """Return a subscription that selects at least the events of each of these."""
    each = list(subscriptions)
    namespaces = () if any(not one.namespaces for one in each) else tuple({ns for one in each for ns in one.namespaces})
    depths, sinces = [one.depth for one in each], [one.since for one in each]
    return Subscription(
        channels=frozenset().union(*(one.channels for one in each)),
        namespaces=namespaces,
        depth=None if None in depths else max(depth for depth in depths if depth is not None),
        since=None if None in sinces else min(since for since in sinces if since is not None),
    )


def namespace_of(value: object) -> Namespace:
    """Return the namespace in a client's value; None is the root. Raises BadRequest."""
    return _namespace(value) if value is not None else ()


def _channels(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not value or len(value) > _MOST:
        raise BadRequest("channels is required and must be a non-empty array")
    strange = [str(one)[:100] for one in value if not _is_channel(one)]
    if strange:
        raise BadRequest(
            f"channels contains unsupported entries: {', '.join(strange[:10])}. Allowed: {', '.join(CHANNELS)}, "
            "or any `custom:<name>`."
        )
    return frozenset(value)


def _is_channel(value: object) -> bool:
    return isinstance(value, str) and (value in CHANNELS or (value.startswith(CUSTOM) and len(value) > len(CUSTOM)))


def _namespace(value: object) -> Namespace:
    if not isinstance(value, list) or not all(isinstance(segment, str) for segment in value):
        raise BadRequest("a namespace must be an array of strings")
    return tuple(value)


def _list(value: object, name: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MOST:
        raise BadRequest(f"{name} must be an array of at most {_MOST} entries")
    return value


def _number(value: object, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**53:
        raise BadRequest(f"{name} must be a non-negative integer")
    return value
