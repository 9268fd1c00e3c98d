"""A client's connection to a cluster in a storm: it repeats requests until answered, and reads to the end, within a
time limit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import httpx

from tests.processes.client import ENDED, Client
from tests.processes.frames import Frame, FrameReader, place_of, strict

from .expectations import Ledger, Promise

AWAY: Final = (httpx.TransportError, httpx.RemoteProtocolError)
_UNAVAILABLE: Final = (503, 507)
"""The storage is unavailable, or full: nothing was stored."""
_OVERDUE: Final = 15.0
"""Seconds after which a reader that still reads is hung, once it is connected and its run has ended. Longer than
any freeze of a plan, and than the two heartbeats after which a reader reads the run record if the stream has no
end.
"""
_LOOK: Final = 5.0


class Away(Exception):
    """No response, an incomplete one, or one that reports unavailable storage."""


class Connection:
    """The operations of one client on one run at a time."""

    def __init__(self, client: Client, ledger: Ledger, chance: random.Random) -> None:
        self.client, self.ledger, self.chance = client, ledger, chance

    async def once(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request. Raises Away."""
        try:
            response = await self.client.http.request(method, path, **options)
        except AWAY as error:
            raise Away from error
        if response.status_code in _UNAVAILABLE:
            raise Away
        if response.status_code >= 500:
            self.ledger.faults.append(f"{method} {path}: {response.status_code} {response.text[:300]}")
            raise Away
        return response

    async def asked(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Repeat a request until it is answered."""
        while True:
            try:
                return await self.once(method, path, **options)
            except Away:
                self.ledger.counts["asked again"] += 1
                await asyncio.sleep(0.1)

    async def record(self, promise: Promise) -> Any:
        """The run's record; None when it was deleted."""
        response = await self.asked("GET", promise.location)
        return strict(response.content) if response.status_code == 200 else None

    async def ended(self, promise: Promise, within: float = 120) -> Any:
        """The record once the run has ended; None when it was deleted."""
        patience = time.monotonic() + within
        while (record := await self.record(promise)) is not None and record["status"] not in ENDED:
            if time.monotonic() > patience:
                self.ledger.faults.append(f"{promise.name}: not ended within {within} s: {record}")
                return record
            await asyncio.sleep(0.1)
        return record

    async def joined(self, promise: Promise) -> Any:
        """The last values, by joining until it succeeds."""
        while True:
            try:
                self.ledger.counts["rejoined"] += 1
                async with self.watched(promise, "join"):
                    response = await self.once("GET", f"{promise.location}/join")
            except Away:
                await asyncio.sleep(0.1)
            else:
                self.ledger.expect(promise.name, "the status of a join", response.status_code, 200)
                return strict(response.content) if response.content.strip() else None

    @asynccontextmanager
    async def opened(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """A response at its first byte. Raises Away, also from within the block."""
        try:
            async with self.client.http.stream(method, path, **options) as response:
                if response.status_code in _UNAVAILABLE:
                    raise Away
                yield response
        except AWAY as error:
            raise Away from error

    async def read_to_the_end(self, promise: Promise, reader: FrameReader, seen: list[Frame]) -> list[Frame]:
        """Continue reading a run's stream after the events ``seen``, over as many connections as necessary."""
        while True:
            had_ended = await self._has_ended(promise)
            self.ledger.counts["rejoined"] += 1
            headers = {"last-event-id": reader.last_id or "-1"}
            try:
                async with self.opened("GET", f"{promise.location}/stream", headers=headers) as response:
                    if response.status_code != 200:
                        self.ledger.expect(promise.name, "the status of a stream", response.status_code, 200)
                        return seen
                    await self.take(promise, response, reader, seen)
            except Away:
                reader.cut()
                await asyncio.sleep(0.1)
                continue
            # A stream that closes before its run has ended was that of a stopping server.
            if had_ended or await self._has_ended(promise):
                if had_ended:
                    break
                continue
            await asyncio.sleep(0.1)
        ids = [place_of(frame.id) for frame in seen if frame.id]
        self.ledger.expect(promise.name, "the order of its event ids", ids, sorted(set(ids)))
        return seen

    async def take(self, promise: Promise, response: httpx.Response, reader: FrameReader, seen: list[Frame]) -> None:
        async with self.watched(promise, str(response.request.url)):
            async for data in response.aiter_raw():
                seen += reader.feed(data)

    async def _has_ended(self, promise: Promise) -> bool:
        record = await self.record(promise)
        return record is None or record["status"] in ENDED

    @asynccontextmanager
    async def watched(self, promise: Promise, what: str) -> AsyncIterator[None]:
        """Count a reader that still reads long after the run has ended as hung, disconnect it, and let it reconnect."""
        waiting = asyncio.current_task()
        assert waiting is not None
        hung, arrived = False, time.time()

        async def watch() -> None:
            nonlocal hung
            while True:
                await asyncio.sleep(_LOOK)
                record = await self.record(promise)
                if record is not None and record["status"] not in ENDED:
                    continue
                since = arrived if record is None else max(arrived, _moment(record["updated_at"]))
                if time.time() - since > _OVERDUE:
                    # Once more: it may be receiving its last bytes.
                    await asyncio.sleep(_LOOK)
                    hung = True
                    ended = record and (record["status"], record["updated_at"])
                    self.ledger.hung.append(f"{promise.kind} {promise.name} at {what}, ended {ended}")
                    waiting.cancel()
                    return

        watching = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not hung:
                raise
            waiting.uncancel()
            raise Away from None
        finally:
            watching.cancel()


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
