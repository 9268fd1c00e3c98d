"""Event protocol over one WebSocket: commands are received, responses and events are sent."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from runstead.gateway.streams.thread_events import ThreadEventReader
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import ThreadId
from runstead.runtime.serialization import encode
from runstead.runtime.stream_bridge.exceptions import BridgeClosed
from runstead.wire.protocol.commands import (
    NOT_JSON,
    NOT_TEXT,
    BadEnvelope,
    Command,
    CommandRefused,
    command_of,
    failure,
    failure_of,
    success,
)
from runstead.wire.protocol.events import ProtocolEvent, Subscription, subscription_of, union
from runstead.wire.protocol.translator import RESUME_GAP

from .services import Services
from .socket_inbox import SocketInbox, SocketMessage
from .thread_commands import ThreadCommands

_log = logging.getLogger(__name__)

_GOING_DOWN: Final = 1012
"""Service restart: reconnect."""
_FLOODED: Final = 1008
"""Policy violation."""
_MOST_REFUSALS: Final = 100
"""Maximum number of consecutive messages that are not commands."""
_REMEMBERED: Final = 10_000
"""Number of event ids that are remembered, so that an event of several subscriptions is sent once; clients remember as
many."""
_MOST_SUBSCRIPTIONS: Final = 64
_BREATH: Final = 0.02
"""Seconds. Clients send several subscriptions at once; waiting for the last one allows to read them together."""


class ThreadSocket:
    """Connection of one client to one thread.

    One reader serves all its subscriptions, so that their events are sent in the order of the thread. Clients rely on
    that: they stop listening for values when the run's end arrives, on whichever subscription.
    """

    def __init__(self, socket: WebSocket, services: Services, thread_id: ThreadId) -> None:
        self._socket, self._use, self._thread_id = socket, services, thread_id
        self._commands = ThreadCommands(services, thread_id, socket)
        self._wanted: dict[str, _Wanted] = {}
        self._made = 0
        self._pump: asyncio.Task[None] | None = None
        self._stale = False
        self._sending = asyncio.Lock()
        self._sent: dict[str, int] = {}
        self._applied = 0
        self._since: int | None = None
        self._refusals = 0

    async def serve(self) -> None:
        """Serve until the client disconnects, or the server shuts down."""
        await self._socket.accept()
        inbox = SocketInbox(self._socket, self._use.options.max_body_bytes)
        listening = asyncio.create_task(inbox.fill(), name=f"socket-inbox-{self._thread_id}")
        try:
            while self._refusals < _MOST_REFUSALS and (message := await self._next(inbox)) is not None:
                await self._answer(message)
            if inbox.overflowed:
                await self._socket.close(_FLOODED, "Too many commands are waiting; wait for their responses first")
            elif self._refusals >= _MOST_REFUSALS:
                await self._socket.close(_FLOODED, f"{_MOST_REFUSALS} messages in a row were not commands")
        except WebSocketDisconnect:
            return
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._stop()

    async def _next(self, inbox: SocketInbox) -> SocketMessage | None:
        """Return the client's next message; None when it has disconnected. While it is silent, start to read its new
        subscriptions."""
        if self._stale:
            try:
                return await asyncio.wait_for(inbox.next(), _BREATH)
            except TimeoutError:
                await self._restart()
        return await inbox.next()

    async def _answer(self, message: SocketMessage) -> None:
        try:
            if isinstance(message, bytes):
                raise BadEnvelope(NOT_TEXT)
            command = command_of(orjson.loads(message))
        except orjson.JSONDecodeError:
            await self._refuse(failure(None, "invalid_argument", NOT_JSON))
            return
        except BadEnvelope as error:
            await self._refuse(failure(error.command_id, "invalid_argument", str(error)))
            return
        self._refusals = 0
        try:
            if command.method == "subscription.subscribe":
                result = await self._subscribe(command)
            elif command.method == "subscription.unsubscribe":
                result = await self._unsubscribe(command)
            elif command.method == "subscription.reconnect":
                result = await self._reconnect(command)
            else:
                result = await self._commands.execute(command)
        except Exception as error:
            failed, status = failure_of(command, error)
            if status >= 500:
                _log.exception("%s on thread %s failed", command.method, self._thread_id)
            await self._send(failed)
            return
        await self._send(success(command, result, self._applied))

    async def _refuse(self, answer: JsonObject) -> None:
        self._refusals += 1
        await self._send(answer)

    async def _subscribe(self, command: Command) -> JsonObject:
        if len(self._wanted) >= _MOST_SUBSCRIPTIONS:
            raise CommandRefused("invalid_argument", f"A connection has at most {_MOST_SUBSCRIPTIONS} subscriptions.")
        wanted = _since(subscription_of(command.params), self._since)
        # Otherwise the run's end could be sent to the other subscriptions first, and the client would not wait for this
        # one's events.
        await self._stop()
        self._stale = True
        subscription_id = str(uuid4())
        replayed = await self._use.thread_events.current_events(self._thread_id, wanted)
        self._made += 1
        self._wanted[subscription_id] = _Wanted(wanted, self._made)
        # Started after the response: a client must know its subscription before it gets events.
        return {"subscription_id": subscription_id, "replayed_events": len(replayed)}

    async def _unsubscribe(self, command: Command) -> JsonObject:
        subscription_id = command.params.get("subscription_id")
        if not isinstance(subscription_id, str) or self._wanted.pop(subscription_id, None) is None:
            raise CommandRefused("no_such_subscription", f"There is no subscription {str(subscription_id)[:100]!r}.")
        self._stale = self._stale or not self._wanted
        return {}

    async def _reconnect(self, command: Command) -> JsonObject:
        """Continue after ``since``, with existing and later subscriptions.

        Refused if events after it are no longer kept: the client must then read the state and join without a position.
        """
        since = subscription_of({"channels": ["lifecycle"], "since": command.params.get("since")}).since
        everything = Subscription(frozenset(("values", "lifecycle", "input")), since=since)
        events = await self._use.thread_events.current_events(self._thread_id, everything)
        if (gap := next((event for event in events if event.method == RESUME_GAP), None)) is not None:
            raise CommandRefused("resume_gap", "Events after this seq are not kept any more.", gap.data)
        self._since = since
        await self._stop()
        self._sent.clear()
        self._wanted = {
            subscription_id: _Wanted(_since(wanted.subscription, since), wanted.number)
            for subscription_id, wanted in self._wanted.items()
        }
        self._stale = True
        return {"restored": True, "missed_events": len(events)}

    async def _restart(self) -> None:
        """Start to read for the present subscriptions, from the beginning."""
        self._stale = False
        await self._stop()
        if self._wanted:
            together = union(wanted.subscription for wanted in self._wanted.values())
            reader = self._use.thread_events.open(self._thread_id, together)
            self._pump = asyncio.create_task(self._notify(reader), name=f"socket-{self._thread_id}")

    async def _stop(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None

    async def _notify(self, reader: ThreadEventReader) -> None:
        try:
            while True:
                for item in await reader.read():
                    # WebSockets have their own pings, so heartbeats are not sent.
                    if isinstance(item, ProtocolEvent):
                        await self._show(item)
        except BridgeClosed:
            await self._socket.close(_GOING_DOWN)
        except (WebSocketDisconnect, RuntimeError):
            # The client has disconnected, which `serve` notices too.
            return
        except Exception:
            _log.exception("could not read the events of thread %s", self._thread_id)
            await self._socket.close(1011)
        finally:
            await reader.aclose()

    async def _show(self, event: ProtocolEvent) -> None:
        """Send an event once, and again for a subscription that was made since: its client waits for events that others
        had before."""
        last_sent = self._sent.get(event.event_id, 0)
        is_wanted = event.method == RESUME_GAP or any(
            wanted.number > last_sent and wanted.subscription.matches(event) for wanted in self._wanted.values()
        )
        if not is_wanted or (event.method == RESUME_GAP and last_sent):
            return
        await self._send(event.to_json())
        self._sent.pop(event.event_id, None)
        self._sent[event.event_id] = self._made
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        self._applied = max(self._applied, event.seq)

    async def _send(self, message: JsonObject) -> None:
        text = encode(message).decode()
        async with self._sending:
            await self._socket.send_text(text)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Subscription, and its number on this connection."""

    subscription: Subscription
    number: int


def _since(wanted: Subscription, since: int | None) -> Subscription:
    if since is None or wanted.since is not None:
        return wanted
    return Subscription(wanted.channels, wanted.namespaces, wanted.depth, since)
