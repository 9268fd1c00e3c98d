"""Invariants that hold at the end of every schedule. Each check yields a sentence for each violation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final, TypeAlias

from runstead.runtime.runs.observer import RunLifecycleEventType
from runstead.runtime.runs.types import RunId, RunRecord, RunStatus, ThreadId
from runstead.testing.fakes import Script

from .kernel import Durable
from .plan import Plan
from .ports import Outage
from .reading_laws import broken_readings
from .recorder import Wanted
from .stop_laws import (
    only_lost_workers_lose_attempts,
    stops_take_effect_soon,
    strategies_did_what_they_say,
    streams_are_complete,
)

_END_EVENTS: Final = (
    RunLifecycleEventType.RUN_COMPLETED,
    RunLifecycleEventType.RUN_FAILED,
    RunLifecycleEventType.RUN_CANCELLED,
)
_LEGAL: Final = {
    RunStatus.PENDING: {RunStatus.STARTING, RunStatus.INTERRUPTED},
    RunStatus.STARTING: {RunStatus.PENDING, RunStatus.RUNNING},
    RunStatus.RUNNING: {RunStatus.PENDING},
}
"""Besides the ends, which every held run may reach. Duplicated on purpose: a check must not use the checked table."""


def broken_laws(plan: Plan, durable: Durable) -> list[str]:
    """Return all violations at the end of a schedule."""
    return [*durable.witness.surprises, *(text for check in _CHECKS for text in check(plan, durable))]


def accepted_is_durable(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check law 1: accepted runs are durable."""
    for wanted in durable.witness.wanted.values():
        last = durable.witness.last(wanted.run_id)
        if wanted.fate == "refused" and wanted.run_id in durable.tables.runs:
            yield f"law 1: {wanted.run_id} was refused and exists"
        if wanted.fate != "accepted" or wanted.run_id in durable.tables.runs:
            continue
        undone = last is not None and last.stop_requested is not None and last.stop_requested.rolls_back
        if not undone and not wanted.delete_asked:
            yield f"law 1: {wanted.run_id} was accepted and is gone"


def one_run_at_a_time(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check law 2: one run at a time per thread.

    A worker that wakes from a freeze may be inside a step, and continues until it finds that its lease is lost.
    """
    for first, second in durable.effects.overlaps:
        if not any(durable.woke_late(effect.worker, effect.began) for effect in (first, second)):
            yield f"law 2: {first} and {second} overlap"


def statuses_follow_the_table(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check law 3: statuses follow the transition table."""
    for run_id, wanted in durable.witness.wanted.items():
        statuses = durable.witness.statuses(run_id)
        if statuses and statuses[0] is not RunStatus.PENDING:
            yield f"law 3: {run_id} began as {statuses[0].value}"
        for before, after in pairwise(statuses):
            retried = before is RunStatus.ERROR and after is RunStatus.PENDING and wanted.retry_asked
            lost = before.is_held and after.is_terminal
            if not retried and not lost and after not in _LEGAL.get(before, ()):
                yield f"law 3: {run_id} went from {before.value} to {after.value}"
        if run_id in durable.tables.runs and not statuses[-1].is_terminal:
            yield f"law 3: {run_id} is {statuses[-1].value} for ever"


def ends_have_reasons(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check law 3: the terminal status matches what happened."""
    for row in durable.tables.runs.values():
        record, script = row.record, durable.witness.wanted[row.record.run_id].script
        if reason := _why_wrong(plan, record, script):
            yield f"law 3: {record.run_id} ended as {record.status.value} {reason}"


def _why_wrong(plan: Plan, record: RunRecord, script: Script | None) -> str | None:
    deeds = [step.does for step in script.steps] if script else []
    storms = plan.climate.is_stormy
    match record.status:
        case RunStatus.INTERRUPTED if record.stop_requested is None:
            return "without a stop request"
        case RunStatus.TIMEOUT if record.spec.timeout_seconds is None:
            return "without a timeout"
        case RunStatus.ERROR if record.dead_letter and not plan.misfortunes and not storms:
            return "as a dead letter though no worker was lost"
        case RunStatus.ERROR if record.failure is not None and record.failure.error == Outage.__name__ and storms:
            return None
        case RunStatus.ERROR if not record.dead_letter and script is not None and "fail" not in deeds:
            return f"though nothing failed: {record.failure}"
        case RunStatus.SUCCESS if "fail" in deeds or "hang" in deeds:
            return "though it cannot"
        case _:
            return None


def settled_before_published(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check law 4: terminal events and end events are published once, and after the durable write."""
    witness = durable.witness
    for run_id, published in witness.published.items():
        for line in published:
            if line.terminal and not line.was_durable:
                yield f"law 4: {run_id} had a terminal event before its end was durable"
    ends: dict[RunId, int] = {}
    for process, was_durable, event in witness.published_ends:
        if event.event_type in _END_EVENTS:
            ends[event.run_id] = ends.get(event.run_id, 0) + 1
            if not was_durable:
                yield f"law 4: {process} notified observers of the end of {event.run_id} before it was durable"
    for run_id, times in ends.items():
        if times > 1 and not witness.wanted[run_id].retry_asked:
            yield f"law 4: observers were notified {times} times that {run_id} has ended"
    if plan.misfortunes or plan.climate.is_stormy:
        return
    for run_id in durable.tables.runs:
        if ends.get(run_id, 0) == 0:
            yield f"law 4: observers were never notified that {run_id} has ended"


def late_workers_write_nothing(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check law 6 for checkpoints: a thread's checkpoints never go back to an earlier attempt of a run."""
    for thread_id, spaces in durable.checkpoints.saver.storage.items():
        latest: dict[RunId, int] = {}
        for checkpoint_id, metadata in _metadata(durable, spaces.get("", {})):
            run_id, attempt = RunId(str(metadata.get("run_id"))), int(metadata.get("run_attempt", 0))
            if attempt < latest.get(run_id, 0):
                yield f"law 6: {thread_id} has {checkpoint_id} of attempt {attempt} of {run_id} after {latest[run_id]}"
            latest[run_id] = attempt


def threads_hold_what_was_done(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check that recovery resumes and rollback leaves nothing.

    A thread's log must have its runs' steps, complete and in order.

    A dead letter that is retried by hand on a thread that has moved on begins again, in addition to its earlier steps.
    """
    for thread_id in durable.checkpoints.saver.storage:
        log = [
            line
            for line in _log_of(durable, ThreadId(thread_id))
            if not _was_retried(durable, RunId(line.partition(".")[0]))
        ]
        labels = list(dict.fromkeys(line.partition(".")[0] for line in log))
        blocks = [line for label in labels for line in log if line.partition(".")[0] == label]
        if blocks != log:
            yield f"steps of two runs are mixed in {thread_id}: {log}"
        for label in labels:
            yield from _broken_block(durable, label, [line for line in log if line.partition(".")[0] == label])
    for wanted in durable.witness.wanted.values():
        yield from _missing_block(durable, wanted)


def _was_retried(durable: Durable, run_id: RunId) -> bool:
    return RunStatus.ERROR in durable.witness.statuses(run_id)[:-1]


def _broken_block(durable: Durable, label: str, lines: list[str]) -> Iterator[str]:
    wanted = durable.witness.wanted[RunId(label)]
    assert wanted.script is not None, "only runs with a script write to the log"
    bare = [line.partition("=")[0] for line in lines]
    if bare != [line.partition("=")[0] for line in wanted.script.entries(0, len(lines))]:
        yield f"{label} left {lines}"
    last = durable.witness.last(RunId(label))
    if last is None:
        yield f"{label} was never created and left {lines}"
    elif last.run_id not in durable.tables.runs and last.stop_requested is not None and last.stop_requested.rolls_back:
        yield f"{label} was rolled back and left {lines}"


def _missing_block(durable: Durable, wanted: Wanted) -> Iterator[str]:
    """Yield an error unless a successful run left all its steps, up to its question if it has one."""
    row = durable.tables.runs.get(wanted.run_id)
    if row is None or row.record.status is not RunStatus.SUCCESS or wanted.script is None:
        return
    if row.record.spec.scope.is_temporary:
        return
    log = _log_of(durable, row.record.thread_id)
    if missing := [line for line in wanted.script.entries(0, wanted.script.undisturbed) if line not in log]:
        yield f"{wanted.run_id} succeeded and {missing} are missing in {log}"


def rolled_back_runs_left_nothing(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check that no checkpoint and no pending write of an undone run is left."""
    for thread_id, spaces in durable.checkpoints.saver.storage.items():
        for checkpoint_id, metadata in _metadata(durable, spaces.get("", {})):
            run_id = metadata.get("run_id")
            last = durable.witness.last(run_id) if run_id else None
            if last is None or run_id in durable.tables.runs or last.stop_requested is None:
                continue
            if last.stop_requested.rolls_back:
                yield f"rollback: {run_id} was undone, and {thread_id} still has its {checkpoint_id}"


def enqueued_runs_begin_in_order(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check FIFO order of a thread's runs, except delayed and retried ones.

    A run begins after every earlier one has begun or ended.
    """
    begun: dict[RunId, float] = {}
    over: dict[RunId, float] = {}
    for run_id, moves in durable.witness.moves.items():
        for move in moves:
            if move.after is not None and move.after.status is RunStatus.STARTING:
                begun.setdefault(run_id, move.at)
            if move.after is None or move.after.status.is_terminal:
                over.setdefault(run_id, move.at)
    records = [
        last for run_id in begun | over if (last := durable.witness.last(run_id)) and not last.spec.after_seconds
    ]
    for earlier in records:
        done = min(begun.get(earlier.run_id, 1e9), over.get(earlier.run_id, 1e9))
        for later in records:
            is_behind = later.thread_id == earlier.thread_id and later.queue_seq > earlier.queue_seq
            if is_behind and begun.get(later.run_id, 1e9) < done:
                yield f"fifo: {later.run_id} began before {earlier.run_id}"


def nothing_is_left_behind(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check law 10: only crashes leave marks and temporary threads, which are swept later."""
    if plan.misfortunes or plan.climate.is_stormy:
        return
    if durable.checkpoints.marks:
        yield f"law 10: marks are left of {sorted(durable.checkpoints.marks)}"
    for row in durable.tables.runs.values():
        record = row.record
        # Its checkpoints stay, like the row, until the sweep, for waiters that come late.
        is_left = record.thread_id in durable.tables.threads
        if is_left and record.spec.scope.is_temporary and not record.dead_letter:
            yield f"law 10: the temporary thread of {record.run_id} is left"


def threads_rest(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check that no thread stays busy."""
    for thread_id, row in durable.tables.threads.items():
        if row.record.status == "busy":
            yield f"{thread_id} is busy for ever"


def _metadata(durable: Durable, checkpoints: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for checkpoint_id in sorted(checkpoints):
        yield checkpoint_id, durable.checkpoints.saver.serde.loads_typed(checkpoints[checkpoint_id][1])


def _log_of(durable: Durable, thread_id: ThreadId) -> list[str]:
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    latest = durable.checkpoints.saver.get_tuple(config)
    return [] if latest is None else list(latest.checkpoint["channel_values"]["log"])


Check: TypeAlias = Callable[[Plan, Durable], Iterator[str]]

_CHECKS: Final[tuple[Check, ...]] = (
    accepted_is_durable,
    one_run_at_a_time,
    statuses_follow_the_table,
    ends_have_reasons,
    settled_before_published,
    broken_readings,
    late_workers_write_nothing,
    threads_hold_what_was_done,
    rolled_back_runs_left_nothing,
    enqueued_runs_begin_in_order,
    nothing_is_left_behind,
    threads_rest,
    strategies_did_what_they_say,
    stops_take_effect_soon,
    streams_are_complete,
    only_lost_workers_lose_attempts,
)
