"""Short messages from one process to all others over Redis pub/sub, normally delivered within a millisecond.

A notice may be lost (Redis unavailable, connection cut) and is never the only way: a stop is also a flag on the run's
row, which the lease holder reads when it renews its lease; waiting runs are rows, which workers poll; a thread's
readers poll its runs. After every gap in listening, the listeners' ``missed`` callbacks run, so that they can poll at
once.

Within the sending process a notice is delivered directly, whatever the state of Redis. An instance belongs to the
event loop that it was started on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Final, Literal, TypeAlias

from runstead.infra.engines.cancellation import cancel_and_wait
from runstead.infra.engines.redis import RedisConnections, RedisLine
from runstead.resources.storage_errors import StorageError
from runstead.runtime.backoff import Backoff

Topic: TypeAlias = Literal["stop", "thread"]
Heard: TypeAlias = Callable[[str], None]
"""Callback for the text of a notice, called on the event loop. It must be quick; its exceptions are logged."""

TOPICS: Final[tuple[Topic, ...]] = ("stop", "thread")
MOST_UNSENT: Final = 10_000
"""Maximum number of notices that wait while Redis is unavailable.

The oldest are dropped first: their listeners have polled by then.
"""
_BETWEEN_PINGS: Final = 5.0
"""Seconds of silence after which the connection is tested, so that a silently dead one is detected."""
_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between connection attempts, in real time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Listener:
    heard: Heard
    missed: Callable[[], None] | None


class RedisNotices:
    """Sends and receives notices; see `RedisNotices.running`."""

    def __init__(self, connections: RedisConnections, prefix: str = "runstead") -> None:
        self._connections = connections
        self._channels = {f"{prefix}:notice:{topic}".encode(): topic for topic in TOPICS}
        self._names = {topic: name for name, topic in self._channels.items()}
        # The id of the sender: a process ignores its own notices when Redis delivers them.
        self._us = token_hex(6)
        self._listeners: dict[Topic, list[_Listener]] = {topic: [] for topic in TOPICS}
        self._unsent: deque[tuple[Topic, str]] = deque(maxlen=MOST_UNSENT)
        self._bell = asyncio.Event()
        self.listening = asyncio.Event()
        """Set while notices of other processes are received."""

    @classmethod
    @asynccontextmanager
    async def running(cls, connections: RedisConnections, prefix: str = "runstead") -> AsyncIterator[RedisNotices]:
        """Send and receive notices until the end of the block."""
        notices = cls(connections, prefix)
        tasks = [
            asyncio.create_task(notices._send(), name="notices-send"),
            asyncio.create_task(notices._listen(), name="notices-listen"),
        ]
        try:
            yield notices
        finally:
            await cancel_and_wait(tasks)

    def publish(self, topic: Topic, said: str) -> None:
        """Send a notice to all processes; listeners in this process get it at once.

        Never blocks, never fails. Call it on the event loop.
        """
        self._receive(topic, said)
        self._unsent.append((topic, said))
        self._bell.set()

    @contextmanager
    def listener(self, topic: Topic, heard: Heard, missed: Callable[[], None] | None = None) -> Iterator[None]:
        """Call ``heard`` with each notice of this topic, and ``missed`` when some may have been lost."""
        listener = _Listener(heard, missed)
        self._listeners[topic].append(listener)
        try:
            yield
        finally:
            self._listeners[topic].remove(listener)

    def _receive(self, topic: Topic, said: str) -> None:
        for listener in list(self._listeners[topic]):
            try:
                listener.heard(said)
            except Exception:
                _log.exception("a listener failed on a notice")

    def _missed(self) -> None:
        for listeners in self._listeners.values():
            for listener in list(listeners):
                try:
                    if listener.missed is not None:
                        listener.missed()
                except Exception:
                    _log.exception("a listener failed after missed notices")

    async def _send(self) -> None:
        line: RedisLine | None = None
        backoff = Backoff(_PAUSES)
        try:
            while True:
                self._bell.clear()
                if not self._unsent:
                    await self._bell.wait()
                    continue
                said = list(self._unsent)[:200]
                try:
                    line = line or await self._connections.line()
                    await line.ask([("PUBLISH", self._names[topic], f"{self._us} {text}") for topic, text in said])
                except StorageError as error:
                    _log.debug("notices wait: %s", error)
                    if line is not None:
                        await line.close()
                    line = None
                    await asyncio.sleep(next(backoff))
                    continue
                backoff.reset()
                for notice in said:
                    # A full queue may have dropped some of them meanwhile.
                    if self._unsent and self._unsent[0] == notice:
                        self._unsent.popleft()
        finally:
            if line is not None:
                await line.close()

    async def _listen(self) -> None:
        backoff, first = Backoff(_PAUSES), True
        while True:
            line: RedisLine | None = None
            try:
                line = await self._connections.line()
                await line.ask([("SUBSCRIBE", name) for name in self._channels])
                self.listening.set()
                backoff.reset()
                if not first:
                    _log.info("notices of other processes are received again")
                    self._missed()
                first = False
                while True:
                    self._take(await line.hear(_BETWEEN_PINGS))
            except StorageError as error:
                if not backoff.failures:
                    _log.warning(
                        "notices of other processes are not received; stops and thread readers are slower: %s", error
                    )
            except Exception:
                _log.exception("receiving notices failed; retrying")
            finally:
                self.listening.clear()
                if line is not None:
                    with suppress(StorageError):
                        await line.close()
            await asyncio.sleep(next(backoff))

    def _take(self, answer: object) -> None:
        if not isinstance(answer, list) or answer[0] != b"message":
            return
        _, channel, text = answer
        speaker, _, said = text.decode(errors="replace").partition(" ")
        topic = self._channels.get(channel)
        if topic is not None and speaker != self._us:
            self._receive(topic, said)
