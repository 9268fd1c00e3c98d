"""The event protocol over one WebSocket: commands come in, answers and events go out."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from uuid import uuid4

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from runstead.resources.thread_events import ThreadEventReader
from runstead.runtime.runs.types import ThreadId
from runstead.runtime.serialization import encode
from runstead.runtime.stream_bridge import BridgeClosed
from runstead.wire.protocol.commands import (
    NOT_JSON,
    BadEnvelope,
    Command,
    CommandRefused,
    command_of,
    failure,
    failure_of,
    success,
)
from runstead.wire.protocol.events import ProtocolEvent, Subscription, subscription_of
from runstead.wire.protocol.translator import RESUME_GAP

from .services import Services
from .thread_commands import ThreadCommands

_log = logging.getLogger(__name__)

_GOING_DOWN: Final = 1012
"""Service restart: come back."""
_REMEMBERED: Final = 10_000
"""Ids of events that went out, so that what several subscriptions cover goes out once; clients remember as many."""
_MOST_SUBSCRIPTIONS: Final = 64


class ThreadSocket:
    """One client's connection to one thread."""

    def __init__(self, socket: WebSocket, use: Services, thread_id: ThreadId) -> None:
        self._socket, self._use, self._thread_id = socket, use, thread_id
        self._commands = ThreadCommands(use, thread_id, socket)
        self._wanted: dict[str, Subscription] = {}
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._sent: dict[str, None] = {}
        self._applied = 0
        self._since: int | None = None

    async def serve(self) -> None:
        """Until the client leaves, or the server goes down."""
        await self._socket.accept()
        try:
            while True:
                await self._answer(await self._socket.receive_text())
        except WebSocketDisconnect:
            return
        finally:
            for task in self._pumps.values():
                task.cancel()
            await asyncio.gather(*self._pumps.values(), return_exceptions=True)

    async def _answer(self, text: str) -> None:
        try:
            command = command_of(orjson.loads(text))
        except orjson.JSONDecodeError:
            await self._send(failure(None, "invalid_argument", NOT_JSON))
            return
        except BadEnvelope as error:
            await self._send(failure(error.command_id, "invalid_argument", str(error)))
            return
        began: str | None = None
        try:
            if command.method == "subscription.subscribe":
                began, result = await self._subscribe(command)
            elif command.method == "subscription.unsubscribe":
                result = await self._unsubscribe(command)
            elif command.method == "subscription.reconnect":
                result = await self._reconnect(command)
            else:
                result = await self._commands.carry_out(command)
        except Exception as error:
            told, status = failure_of(command, error)
            if status >= 500:
                _log.exception("%s on thread %s failed", command.method, self._thread_id)
            await self._send(told)
            return
        await self._send(success(command, result, self._applied))
        if began is not None:
            # After the answer: a client is to know its subscription before it gets events.
            self._begin(began)

    async def _subscribe(self, command: Command) -> tuple[str, dict[str, Any]]:
        if len(self._wanted) >= _MOST_SUBSCRIPTIONS:
            raise CommandRefused("invalid_argument", f"A connection has at most {_MOST_SUBSCRIPTIONS} subscriptions.")
        wanted = _since(subscription_of(command.params), self._since)
        subscription_id = str(uuid4())
        replayed = await self._use.thread_events.told(self._thread_id, wanted)
        self._wanted[subscription_id] = wanted
        return subscription_id, {"subscription_id": subscription_id, "replayed_events": len(replayed)}

    async def _unsubscribe(self, command: Command) -> dict[str, Any]:
        subscription_id = command.params.get("subscription_id")
        if not isinstance(subscription_id, str) or self._wanted.pop(subscription_id, None) is None:
            raise CommandRefused("no_such_subscription", f"There is no subscription {str(subscription_id)[:100]!r}.")
        await self._end(subscription_id)
        return {}

    async def _reconnect(self, command: Command) -> dict[str, Any]:
        """Go on after ``since``, with the subscriptions there are and with those to come. Refused when what came after
        it is not kept any more: then the client has to read the state, and begin anew.
        """
        since = subscription_of({"channels": ["lifecycle"], "since": command.params.get("since")}).since
        everything = Subscription(frozenset(("values", "lifecycle", "input")), since=since)
        told = await self._use.thread_events.told(self._thread_id, everything)
        if (gap := next((event for event in told if event.method == RESUME_GAP), None)) is not None:
            raise CommandRefused("resume_gap", "Events after this seq are not kept any more.", gap.data)
        self._since = since
        self._sent.clear()
        for subscription_id, wanted in list(self._wanted.items()):
            await self._end(subscription_id)
            self._wanted[subscription_id] = _since(wanted, since)
            self._begin(subscription_id)
        return {"restored": True, "missed_events": len(told)}

    def _begin(self, subscription_id: str) -> None:
        reader = self._use.thread_events.open(self._thread_id, self._wanted[subscription_id])
        self._pumps[subscription_id] = asyncio.create_task(self._pump(reader), name=f"socket-{self._thread_id}")

    async def _end(self, subscription_id: str) -> None:
        if (task := self._pumps.pop(subscription_id, None)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _pump(self, reader: ThreadEventReader) -> None:
        try:
            while True:
                for item in await reader.read():
                    # Silence needs no word here: WebSockets have pings of their own.
                    if isinstance(item, ProtocolEvent):
                        await self._show(item)
        except BridgeClosed:
            await self._socket.close(_GOING_DOWN)
        except (WebSocketDisconnect, RuntimeError):
            # The client has left, which the one who reads from it is told as well.
            return
        except Exception:
            _log.exception("the events of thread %s cannot be read", self._thread_id)
            await self._socket.close(1011)
        finally:
            await reader.aclose()

    async def _show(self, event: ProtocolEvent) -> None:
        if event.event_id in self._sent:
            return
        self._sent[event.event_id] = None
        if len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        await self._send(event.to_json())
        self._applied = max(self._applied, event.seq)

    async def _send(self, message: dict[str, Any]) -> None:
        text = encode(message).decode()
        async with self._sending:
            await self._socket.send_text(text)


def _since(wanted: Subscription, since: int | None) -> Subscription:
    if since is None or wanted.since is not None:
        return wanted
    return Subscription(wanted.channels, wanted.namespaces, wanted.depth, since)
