"""Approvals: questions that threads ask people, from the interrupt to the answer, with what happened to each.

The storage creates an approval in the transaction that ends a run with an interrupt, and closes it in the transaction
that creates the run with an answer, whichever way the answer came. So there is one decision for each question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NewType, Protocol, TypeAlias

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.approvals import AnsweredBy
from runstead.runtime.runs.types import AssistantId, RunId, ThreadId

ApprovalId = NewType("ApprovalId", str)

MAX_EVENTS: Final = 1_000
"""Maximum number of events of one approval for comments and delegations, and of events of a thread that are read."""

ApprovalState: TypeAlias = Literal["open", "answered", "expired", "withdrawn"]
"""``withdrawn``: the thread moved on without an answer."""
ApprovalEventKind: TypeAlias = Literal[
    "requested",
    "reminded",
    "escalated",
    "delegated",
    "commented",
    "answered",
    "expired",
    "withdrawn",
    "reopened",
]
"""``reopened``: the answer came to nothing, since its run was stopped, failed or was rolled back."""


class ApprovalNotFound(Exception):
    """The actor has access to no such approval."""

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"Approval with ID {approval_id} not found")


class ApprovalClosed(Exception):
    """The approval is not open (any more): someone else was first, it has expired, or the thread moved on."""

    def __init__(self, approval_id: str, state: ApprovalState, decider: str | None, at: datetime | None) -> None:
        when = "" if at is None else f" at {at.isoformat(timespec='seconds')}"
        match state:
            case "answered":
                happened = f"was answered by {decider or 'its default answer'}{when}"
            case "expired":
                happened = f"has expired{when}; to go on anyway, create a run with command.resume on its thread"
            case _:
                happened = f"was withdrawn{when}: its thread has moved on"
        super().__init__(f"Approval {approval_id} {happened}. Your request has changed nothing.")


class ApprovalFull(Exception):
    """The approval has too many events for another comment or delegation."""

    def __init__(self, approval_id: str) -> None:
        super().__init__(
            f"Approval {approval_id} has {MAX_EVENTS} events, the maximum for comments and delegations; answer it, "
            "or continue the discussion elsewhere. Your request has changed nothing."
        )


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """Approval as stored.

    ``user_id`` owns the thread. ``question`` is the interrupt's value. ``run_id`` asked (None: a copy or an update of
    the thread's state did), ``answer_run_id`` has the answer. ``delegate`` may answer beside those with access to the
    thread. ``decider`` is the user who answered; None with ``answered_by`` "deadline" for the default answer.
    """

    approval_id: ApprovalId
    thread_id: ThreadId
    user_id: str
    graph_id: str
    assistant_id: AssistantId
    interrupt_id: str
    state: ApprovalState
    question: Any
    response_schema: Any
    created_at: datetime
    updated_at: datetime
    run_id: RunId | None = None
    deadline_at: datetime | None = None
    remind_at: datetime | None = None
    escalate_at: datetime | None = None
    reminded_at: datetime | None = None
    escalated_at: datetime | None = None
    closed_at: datetime | None = None
    escalate_to: str | None = None
    delegate: str | None = None
    has_default: bool = False
    default: Any = None
    decider: str | None = None
    answered_by: AnsweredBy | None = None
    decision: Any = None
    answer_run_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class ApprovalEvent:
    """Event of an approval. ``number`` counts from 1; ``user_id`` did it, None: the server."""

    approval_id: ApprovalId
    number: int
    thread_id: ThreadId
    at: datetime
    kind: ApprovalEventKind
    user_id: str | None = None
    details: JsonMapping = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DueApproval:
    """Open approval whose next reminder, escalation or deadline has come."""

    approval_id: ApprovalId
    thread_id: ThreadId


@dataclass(frozen=True, slots=True)
class Fired:
    """Result of `ApprovalDeadlineStore.fire`. With ``asker``, nothing is written yet: the default answer is to be given
    as this actor."""

    approval: ApprovalRecord
    asker: ActorContext | None = None


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Filter of approvals; all conditions must hold."""

    state: ApprovalState | None = "open"
    thread_id: ThreadId | None = None
    run_id: RunId | None = None
    graph_id: str | None = None
    delegate: str | None = None


class ApprovalStore(Protocol):
    """Approvals under the bound actor (ActorRequired without one).

    Access to the thread gives access to its approvals; a delegate has access to the delegated ones.
    """

    async def get(self, approval_id: ApprovalId) -> ApprovalRecord | None: ...

    async def search(self, where: ApprovalFilter, *, limit: int = 10, offset: int = 0) -> Sequence[ApprovalRecord]:
        """Return matching approvals, the longest waiting first."""
        ...

    async def count(self, where: ApprovalFilter) -> int: ...

    async def events(self, approval_id: ApprovalId) -> Sequence[ApprovalEvent]:
        """Return what happened to an approval, in order; nothing for one of another actor."""
        ...

    async def events_of_thread(self, thread_id: ThreadId, after: datetime | None = None) -> Sequence[ApprovalEvent]:
        """Return what happened to the approvals of a thread later than ``after``, in order: the latest `MAX_EVENTS`."""
        ...

    async def latest_event_at(self, thread_id: ThreadId) -> datetime | None:
        """Return when something last happened to an approval of a thread; None if nothing did."""
        ...

    async def delegate(self, approval_id: ApprovalId, user_id: str | None) -> ApprovalRecord:
        """Let another user of the tenant answer too, in place of the previous delegate; None: no other user.

        Raises ApprovalNotFound, ApprovalClosed, ApprovalFull.
        """
        ...

    async def comment(self, approval_id: ApprovalId, text: str) -> ApprovalEvent:
        """Add a comment, also to a closed approval. Raises ApprovalNotFound, ApprovalFull."""
        ...

    async def asker(self, approval_id: ApprovalId) -> ActorContext | None:
        """Return the actor of the run that asked, with which a delegate's answer continues the thread."""
        ...


class ApprovalDeadlineStore(Protocol):
    """Times of approvals. Unscoped, since it serves all users. Several processes may use it at once."""

    async def due(self, limit: int) -> Sequence[DueApproval]:
        """Return approvals whose next time has come, the longest overdue first."""
        ...

    async def fire(self, due: DueApproval) -> Fired | None:
        """Write what is due now, with its events and webhook deliveries, in one transaction.

        Return None if nothing is due: another process was faster, or the approval is closed. After the deadline, there
        are no reminders any more.
        """
        ...

    async def expire(self, due: DueApproval, reason: str) -> ApprovalRecord | None:
        """Close an open approval as expired; None if it is not open."""
        ...

    async def postpone(self, due: DueApproval, until: datetime) -> None:
        """Let an approval that could not be fired be due again at ``until``; one that is not due stays as it is."""
        ...

    async def next_due(self) -> datetime | None: ...
