"""Port of steering messages. `RunCreateStore.create_runs` accepts them; see `runstead.runtime.runs.steering`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from ..steering import MessageId, MovedMessage, SteeringMessage, TakenMessage, Taking, TakingTask
from ..types import Lease, ThreadId


class SteeringStore(Protocol):
    """Steering messages of threads.

    `get`, `list` and `withdraw` act for the bound actor (ActorRequired without one), with the access of the thread;
    the others serve the server.
    """

    async def get(self, thread_id: ThreadId, message_id: str) -> SteeringMessage:
        """Return a message. Raises MessageNotFound."""
        ...

    async def list(
        self, thread_id: ThreadId, *, only_open: bool = False, limit: int = 100, offset: int = 0
    ) -> Sequence[SteeringMessage]:
        """Return the messages of a thread in the order of their arrival."""
        ...

    async def withdraw(self, thread_id: ThreadId, message_id: str) -> SteeringMessage:
        """Withdraw a waiting message, so that no run gets it. A second call changes nothing.

        Raises MessageNotFound; MessageNotWaiting if it was taken or moved.
        """
        ...

    async def take(self, lease: Lease, task: TakingTask) -> Taking:
        """Take the thread's waiting messages of the run's user and assistant, for one task of the attempt.

        A repeated call for the same task returns the messages of the earlier one again, with new ones. If an earlier
        attempt or run took messages that are not resolved, nothing is taken, and these are returned instead. Raises
        LeaseLost.
        """
        ...

    async def resolve(self, taken: Sequence[TakenMessage], delivered: Collection[MessageId]) -> Sequence[MessageId]:
        """Mark those of ``taken`` in ``delivered`` as delivered, and let the others wait again, in their old places.

        A message that another attempt has taken meanwhile stays as it is. Return the ids of those that are delivered
        by this call.
        """
        ...

    async def list_unresolved(self, thread_id: ThreadId) -> Sequence[TakenMessage]:
        """Return the taken messages of a thread whose run has ended."""
        ...

    async def move(self, thread_id: ThreadId) -> MovedMessage | None:
        """Create the run that the first waiting message of a thread starts, if no other run will take it.

        Nothing happens while a run of the thread is in flight, while the thread waits for an answer, or while a
        message is unresolved. Further messages wait for the new run. Of several concurrent calls, one creates the run.
        """
        ...

    async def list_idle(self, page: int = 1_000) -> Sequence[ThreadId]:
        """Return all threads without a run in flight that have open messages, reading ``page`` of them at a time.

        Threads that wait for an answer are left out, except for those whose last run was stopped: `move` decides.
        """
        ...
