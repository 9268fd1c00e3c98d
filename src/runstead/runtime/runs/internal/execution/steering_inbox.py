"""Inbox of one attempt: takes steering messages for the agent's code, and marks them as delivered once they are stored.

A message is delivered when a checkpoint with the results of the task that took it is stored. The metadata of such
checkpoints name the message, so that it is known after a crash which messages the stored state contains.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Final

from langgraph.runtime import ExecutionInfo

from runstead.runtime.actor_context import acting
from runstead.runtime.backoff import Backoff
from runstead.runtime.runs.exceptions import LeaseLost
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.steering import MessageId, SteeringMessage, TakenMessage, TakingTask
from runstead.runtime.runs.store import SteeringStore
from runstead.runtime.runs.types import NO_INTERRUPTS
from runstead.runtime.serialization import encode

from ....json_types import JsonMapping, JsonObject
from ..streaming.publisher import RunPublisher
from .attempt import AttemptEnd
from .registry import RunHandle
from .waiting_messages import WaitingMessages

_log = logging.getLogger(__name__)

STEERING: Final = "steering"
"""Name of the event, on the stream and among the run's events."""
_PAUSES: Final = (0.05, 0.2, 0.5, 1.0)


class SteeringInbox:
    """A MessageInbox, and the part of a saver that stores which messages are delivered.

    Create it on the server's loop, and `close` it when the agent's code has ended.
    """

    def __init__(
        self,
        runtime: RunsRuntime,
        store: SteeringStore,
        handle: RunHandle,
        publisher: RunPublisher,
        record: Callable[[str, JsonObject], None],
    ) -> None:
        """``record`` adds to the run's events."""
        self._store, self._handle, self._publisher, self._record = store, handle, publisher, record
        self._clock = runtime.clock
        self._waiting = WaitingMessages(runtime, store)
        self._home = asyncio.get_running_loop()
        self._taken: dict[MessageId, TakenMessage] = {}
        self._given: dict[str, tuple[ExecutionInfo | None, frozenset[MessageId]]] = {}
        self._giving = threading.Lock()
        self._told: dict[MessageId, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        handle.on_messages = self._look_later

    async def take(self, task: TakingTask, execution: ExecutionInfo | None = None) -> Sequence[JsonObject]:
        taking = asyncio.run_coroutine_threadsafe(self._take(task), self._home)
        return self._new(task, execution, await asyncio.wrap_future(taking))

    def take_blocking(self, task: TakingTask, execution: ExecutionInfo | None = None) -> Sequence[JsonObject]:
        taking = asyncio.run_coroutine_threadsafe(self._take(task), self._home)
        return self._new(task, execution, taking.result())

    def _new(
        self, task: TakingTask, execution: ExecutionInfo | None, taken: Sequence[SteeringMessage]
    ) -> Sequence[JsonObject]:
        """Return the contents of those messages that this execution of the task has not got. On any thread."""
        with self._giving:
            before, given = self._given.get(task.task_id, (None, frozenset()))
            if execution is None or execution != before:
                given = frozenset()
            if taken:
                self._given[task.task_id] = (execution, given | {one.message_id for one in taken})
        return [message for one in taken if one.message_id not in given for message in one.messages]

    def stamp(self, config: JsonMapping, metadata: JsonMapping) -> tuple[MessageId, ...]:
        """Return the messages that a new checkpoint contains, of those that are not known to be delivered. On any
        thread."""
        namespace, step = config["configurable"].get("checkpoint_ns", ""), metadata.get("step")
        if not isinstance(step, int):
            return ()
        return tuple(
            one.message_id
            for one in list(self._taken.values())
            if one.task.namespace == namespace and one.task.step <= step
        )

    def stored(self, message_ids: Sequence[MessageId]) -> None:
        """Note that a checkpoint with these messages is stored. On any thread."""
        # Abandoned agent code may still store something after the loop was closed.
        with suppress(RuntimeError):
            self._home.call_soon_threadsafe(self._confirm_later, tuple(message_ids))

    async def close(self, end: AttemptEnd) -> None:
        """Mark what the ended attempt has delivered. Never raises: what is missing is found out later."""
        self._is_closed, self._handle.on_messages = True, None
        if self._tasks:
            await asyncio.wait(self._tasks)
        has_finished = end.error is None and not end.stopped and end.snapshot is not None
        if has_finished and end.snapshot is not None and end.snapshot.interrupts == NO_INTERRUPTS:
            # All tasks have ended, also those of graphs inside that store no checkpoints of their own.
            await self._confirm(tuple(self._taken))

    async def _take(self, task: TakingTask) -> Sequence[SteeringMessage]:
        for pause in Backoff(_PAUSES):
            if self._is_closed or self._handle.stop_reason is not None:
                break
            try:
                taking = await self._store.take(self._handle.lease, task)
                if taking.unresolved:
                    await self._waiting.resolve(self._handle.lease.thread_id, taking.unresolved, self._handle.lease.run)
                    continue
            except LeaseLost:
                break
            except Exception:
                run_id = self._handle.lease.run_id
                _log.warning("the messages for run %s cannot be read; trying again", run_id, exc_info=True)
                await self._clock.sleep(pause)
                continue
            for one in taking.messages:
                taken = TakenMessage(one.message_id, self._handle.lease.run_id, self._handle.lease.attempt, task)
                self._taken[one.message_id] = taken
            return taking.messages
        return ()

    def _confirm_later(self, message_ids: Sequence[MessageId]) -> None:
        if any(one in self._taken for one in message_ids):
            self._spawn(self._confirm(message_ids))

    def _look_later(self) -> None:
        self._spawn(self._look())

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work, name="steering messages")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self) -> None:
        """Report messages that were sent or withdrawn to the readers of the run."""
        run = self._handle.lease.run
        try:
            with acting(run.actor.with_access_to(run.thread_id)):
                found = {one.message_id: one for one in await self._store.list(run.thread_id, only_open=True)}
                for missing in [one for one, told in self._told.items() if told == "accepted" and one not in found]:
                    found[missing] = await self._store.get(run.thread_id, missing)
        except Exception:
            _log.warning("the messages for run %s cannot be read", run.run_id, exc_info=True)
            return
        for message_id, message in found.items():
            if message.status == "withdrawn":
                await self._tell("withdrawn", message_id)
            elif message.is_open and message.user_id == run.actor.user_id and message_id not in self._told:
                await self._tell("accepted", message_id)

    async def _confirm(self, message_ids: Sequence[MessageId]) -> None:
        taken = [self._taken[one] for one in message_ids if one in self._taken]
        try:
            delivered = await self._store.resolve(taken, message_ids)
        except Exception:
            _log.warning("could not mark messages of run %s as delivered", self._handle.lease.run_id, exc_info=True)
            return
        for one in taken:
            self._taken.pop(one.message_id, None)
        for message_id in delivered:
            await self._tell("delivered", message_id)

    async def _tell(self, event: str, message_id: MessageId) -> None:
        if self._told.get(message_id) == event:
            return
        self._told[message_id] = event
        content: JsonObject = {"event": event, "message_id": message_id, "run_id": self._handle.lease.run_id}
        self._record(STEERING, content)
        await self._publisher.publish(STEERING, encode(content))


def steering_inbox(
    runtime: RunsRuntime, handle: RunHandle, publisher: RunPublisher, record: Callable[[str, JsonObject], None]
) -> SteeringInbox | None:
    """Return the inbox of an attempt; None without a store of messages."""
    if runtime.steering is None:
        return None
    return SteeringInbox(runtime, runtime.steering, handle, publisher, record)
