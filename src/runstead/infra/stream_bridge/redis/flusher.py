"""Sends the buffered writes to Redis: one connection, one round after another, all runs with new writes in each round.

There is no time window: a round begins when the previous one was answered, so that a single event is sent at once, and
many are sent together. A round without an answer is sent again; the numbers of the events make that idempotent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, assert_never

from redis.exceptions import ResponseError

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.redis import Command, RedisConnections, RedisLine
from runstead.infra.engines.redis_errors import RedisFull, RedisUnavailable, translate
from runstead.resources.storage_errors import StorageError
from runstead.runtime.backoff import Backoff

from .scripts import EVENT, ApplyResult, script
from .stream_index import StreamIndex
from .write_buffer import StreamWriter, WriteBuffer, WriteCommand

_NUMBERED: Final = ("event", "end")


def apply_reply(
    outbox: WriteBuffer, writer: StreamWriter, orders: Sequence[WriteCommand], applied: ApplyResult
) -> list[WriteCommand]:
    """Update the writer after a reply; return the orders that are completed. The others are sent again."""
    done = list(orders[: applied.done])
    outbox.drop(writer, done)
    standing = applied.standing
    match applied.status:
        case "ok":
            writer.learn(standing)
            if standing.terminal is not None:
                writer.ending = True
                if not writer.orders:
                    outbox.forget(writer)
            return done
        case "missing" if writer.last_state is not None:
            # Redis restarted without it, or it expired while this process slept: continue after the last known event.
            state = writer.last_state
            _log.warning(
                "the stream of run %s was lost by Redis; it continues, and its readers get a notice of the gap",
                writer.run_id,
            )
            outbox.put_first(
                writer,
                WriteCommand("restore", state.attempt, state.seq, str(state.published), state.begun.encode()),
            )
            return done
        case "missing" | "gone":
            left = list(writer.orders)
            outbox.forget(writer)
            return done + left
        case "stale":
            writer.owns = writer.owns and writer.attempt >= standing.attempt
            writer.ending = False
            late = outbox.take_out(writer, lambda order: order.kind in _NUMBERED and order.attempt < standing.attempt)
            writer.learn(standing)
            return done + late
        case "terminated":
            writer.ending = True
            late = outbox.take_out(writer, lambda order: order.kind == "event")
            if not writer.orders:
                # Ended by another process: no terminal event of ours will follow and remove the writer.
                outbox.forget(writer)
            return done + late
        case "behind":
            writer.learn(standing)
            writer.renumber(standing.seq)
            return done
        case _:
            assert_never(applied.word)


Batch: TypeAlias = tuple[StreamWriter, Sequence[WriteCommand]]

WRITERS_A_ROUND: Final = 128
_DROPPED_AT_ONCE: Final = 16
PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Seconds between attempts while Redis is unavailable, in real time: a test's clock cannot know when a server is
back.
"""
_PASSING: Final = ("NOSCRIPT", "BUSY", "LOADING", "UNKILLABLE")
"""Prefixes of error replies that do not depend on the command: the same command may succeed later."""

_log = logging.getLogger(__name__)


class Flusher:
    """Serves one outbox. ``terms`` are the first arguments of each ``apply``.

    ``returned`` is called when Redis is available again.
    """

    def __init__(
        self,
        connections: RedisConnections,
        outbox: WriteBuffer,
        index: StreamIndex,
        terms: Sequence[str | int],
        returned: Callable[[], None],
        cipher: Cipher | None = None,
    ) -> None:
        self._cipher = cipher
        self._connections, self._outbox, self._index = connections, outbox, index
        self._terms, self._returned = tuple(terms), returned
        self._line: RedisLine | None = None
        self._backoff = Backoff(PAUSES)
        self._is_full = False
        """True if the server had no memory left in the previous round."""
        self._unindexed: list[str] = []
        """Runs whose streams are not known to be in the list of open streams. Registering them can be repeated; the
        end of a stream cannot: a server that has lost it may have another one by then."""

    @property
    def failing(self) -> bool:
        """Return whether Redis did not answer in the previous round."""
        return self._backoff.failures > 0

    async def run(self) -> None:
        """Flush until cancelled."""
        try:
            while True:
                await self._outbox.bell.wait()
                writers = self._outbox.take(WRITERS_A_ROUND)
                try:
                    await self._round([(writer, writer.next_round()) for writer in writers])
                except RedisFull as error:
                    if not await self._make_room():
                        await self._pause(error)
                except Exception as error:
                    await self._pause(error)
                finally:
                    for writer in writers:
                        self._outbox.again(writer)
                    self._outbox.settle()
                    if self._unindexed:
                        self._outbox.bell.set()
        finally:
            await self._hang_up()

    async def _round(self, batches: Sequence[Batch]) -> None:
        line = await self._connected()
        answers = await line.ask([self._command(writer, orders) for writer, orders in batches]) if batches else []
        trouble: StorageError | None = None
        heard: list[tuple[str, Sequence[WriteCommand], ApplyResult]] = []
        for (writer, orders), answer in zip(batches, answers, strict=True):
            if isinstance(answer, ResponseError):
                trouble = self._refused(writer, answer) or trouble
            else:
                applied = ApplyResult.of(answer)
                heard.append((writer.run_id, apply_reply(self._outbox, writer, orders, applied), applied))
        # Before the callers are answered: a caller that knows of an end may count on the capacity that it frees.
        unlisted = [writer for writer, _ in batches if not writer.listed and writer.last_state is not None]
        self._unindexed += [writer.run_id for writer in unlisted]
        for writer in unlisted:
            writer.listed = True
        news = [self._index.entered(self._unindexed)] if self._unindexed else []
        news += [
            self._index.ended(run_id, asked=applied.standing.asked)
            for run_id, orders, applied in heard
            if applied.standing.terminal and any(order.kind in ("end", "await", "answer") for order in orders)
        ]
        if news:
            await line.ask(news)
            self._unindexed.clear()
        for _, orders, applied in heard:
            for order in orders:
                order.resolve(applied)
        if trouble is not None:
            raise trouble
        self._is_full = False
        if self._backoff.failures:
            _log.warning("Redis is back at %s", self._connections.place)
            self._backoff.reset()
            self._returned()

    def _command(self, writer: StreamWriter, orders: Sequence[WriteCommand]) -> Command:
        words: list[str | bytes | int] = list(self._terms)
        for order in orders:
            words += (order.kind, order.attempt, order.seq, order.name, self._data(order))
        return script("apply").call((writer.keys.meta, writer.keys.log), words)

    def _data(self, order: WriteCommand) -> bytes:
        if self._cipher is None or order.kind not in ("event", "end"):
            return order.data
        return self._cipher.encrypt(order.data, EVENT)

    def _refused(self, writer: StreamWriter, error: ResponseError) -> StorageError | None:
        """Return the transient error that must pass before a retry; give up the writes if no retry can succeed."""
        trouble = translate(error, self._connections.place)
        if isinstance(trouble, StorageError):
            return trouble
        if (error.status_code or str(error)).startswith(_PASSING):
            return RedisUnavailable(self._connections.place, str(error))
        _log.error("the stream of run %s cannot be written: %s", writer.run_id, error)
        lost = ApplyResult.lost()
        for order in list(writer.orders):
            order.resolve(lost)
        self._outbox.forget(writer)
        return None

    async def _make_room(self) -> bool:
        """At the server's maxmemory: delete the logs of ended runs, oldest first, in favour of running ones."""
        try:
            dropped = await self._index.drop_logs(_DROPPED_AT_ONCE)
        except Exception as error:
            _log.debug("no memory could be freed in Redis: %s", error)
            return False
        if dropped and not self._is_full:
            _log.warning(
                "%s has no memory left: streams of ended runs are deleted early; raise its maxmemory",
                self._connections.place,
            )
        self._is_full = self._is_full or dropped > 0
        return dropped > 0

    async def _connected(self) -> RedisLine:
        if self._line is None:
            line = await self._connections.line()
            for answer in await line.ask([("SCRIPT", "LOAD", script(name).source) for name in ("apply", "index")]):
                if isinstance(answer, ResponseError):
                    await line.close()
                    trouble = translate(answer, self._connections.place)
                    raise (
                        trouble
                        if isinstance(trouble, StorageError)
                        else RedisUnavailable(self._connections.place, str(answer))
                    )
            self._line = line
            # The server may have lost the list since, with all data.
            self._outbox.unlist_waiting()
        return self._line

    async def _pause(self, error: Exception) -> None:
        await self._hang_up()
        if not self._backoff.failures:
            expected = isinstance(error, StorageError)
            _log.warning(
                "Redis cannot take events; runs continue, and their events are buffered: %s",
                error,
                exc_info=None if expected else error,
            )
        await asyncio.sleep(next(self._backoff))

    async def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.close()
