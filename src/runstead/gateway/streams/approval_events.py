"""Events of approvals on the streams of their thread, between the events of its runs.

A position in a thread's stream is a time, and the runs of a thread follow each other. So an event that happens while a
run executes, such as a comment on another question, has no position, and is only in the approval itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from runstead.resources.approvals import ApprovalEvent, ApprovalEventKind
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunFilter, RunRecord, ThreadId
from runstead.wire.protocol.events import ProtocolEvent
from runstead.wire.protocol.numbering import milliseconds, number_of

from .run_events import EventReaderPorts

NAME: Final = "approval"
"""Name of the custom event in the event protocol, and of the event in a thread's stream."""
_CLOSING: Final[frozenset[ApprovalEventKind]] = frozenset(("answered", "expired", "withdrawn"))
"""Events that close an approval, named like the state after them."""
_BEHIND_THE_RUN: Final = 2_048
"""Numbers of a millisecond that are left to the end of a run, which asks in the same moment."""
_RUNS: Final = 50


@dataclass(frozen=True, slots=True)
class ApprovalNews:
    """Event of an approval, and its number among the events of the thread at the same time."""

    event: ApprovalEvent
    place: int

    @property
    def at(self) -> datetime:
        return self.event.at

    def payload(self) -> JsonObject:
        """Return the event in the form for clients. ``status`` is the state of the approval after it."""
        event = self.event
        return {
            "approval_id": event.approval_id,
            "event": event.kind,
            "status": event.kind if event.kind in _CLOSING else "open",
            "at": event.at,
            "user_id": event.user_id,
            **event.details,
        }

    def to_protocol(self) -> ProtocolEvent:
        event = self.event
        number = number_of(event.at) + _BEHIND_THE_RUN + min(self.place, _BEHIND_THE_RUN - 1)
        event_id = f"approval:{event.approval_id}:{event.number}"
        data = {"name": NAME, "payload": self.payload()}
        return ProtocolEvent(event_id, number, "custom", (), milliseconds(event.at), data)


async def approval_news(
    sources: EventReaderPorts, thread_id: ThreadId, after: datetime | None
) -> Sequence[ApprovalNews]:
    """Return what happened to the approvals of a thread later than ``after``, outside of its runs."""
    found = await sources.approvals.events_of_thread(thread_id, after)
    if not found:
        return ()
    runs = await sources.runs.list_runs(RunFilter(thread_id), limit=_RUNS)
    news: list[ApprovalNews] = []
    for event in found:
        # Numbered before the selection, which depends on how far the runs are.
        place = news[-1].place + 1 if news and news[-1].at == event.at else 0
        if not any(_executes_at(run, event.at) for run in runs):
            news.append(ApprovalNews(event, place))
    return news


def _executes_at(run: RunRecord, at: datetime) -> bool:
    return run.started_at is not None and run.started_at <= at and (run.ended_at is None or at < run.ended_at)
