"""Checks that requests had their intended effect: multitask strategies, stops, and complete streams.

The laws (`laws`) only forbid: a kernel that ignored every request could obey those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from runstead.runtime.runs.types import MultitaskStrategy, RunId, RunRecord, RunStatus, ThreadId

from .kernel import Durable
from .plan import Crash, Freeze, Plan
from .recorder import Published


def strategies_did_what_they_say(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check the multitask strategies.

    With ``reject``, a new run finds an idle thread; with ``interrupt`` and ``rollback``, the runs in flight are
    stopped, and with ``rollback`` also undone.
    """
    witness, standing = durable.witness, dict[RunId, RunRecord]()
    for move in witness.all_moves:
        record = move.after or move.before
        assert record is not None
        if move.before is None:
            for other in _in_flight(standing, record.thread_id):
                yield from _broken_strategy(record.spec.multitask_strategy, record, witness.last(other), durable)
        if move.after is None:
            standing.pop(record.run_id, None)
        else:
            standing[record.run_id] = record


def _in_flight(standing: dict[RunId, RunRecord], thread_id: ThreadId) -> list[RunId]:
    return [
        record.run_id for record in standing.values() if record.thread_id == thread_id and not record.status.is_terminal
    ]


def _broken_strategy(
    strategy: MultitaskStrategy, new: RunRecord, other: RunRecord | None, durable: Durable
) -> Iterator[str]:
    assert other is not None
    stop = other.stop_requested
    if strategy == "reject":
        yield f"{new.run_id} was let in beside {other.run_id} in spite of reject"
    elif strategy == "interrupt" and stop is None:
        yield f"{new.run_id} did not interrupt {other.run_id}"
    elif strategy == "rollback" and (stop is None or not stop.rolls_back or other.run_id in durable.tables.runs):
        yield f"{new.run_id} did not roll {other.run_id} back: {stop}"


def stops_take_effect_soon(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check that a stopped run ends within milliseconds, or within a lease renewal if the notice was lost."""
    if plan.misfortunes or plan.climate.is_stormy:
        return
    weather = plan.climate.stores
    # The sum of: the notice, the renewal that finds the flag, the step being written, the rollback, the end.
    allowed = 0.2 + 16 * (weather.worst + plan.climate.slow_streams.worst)
    if weather.outages or plan.climate.lost_notices:
        allowed += 4
    for run_id, moves in durable.witness.moves.items():
        asked = next((move.at for move in moves if move.after is not None and move.after.stop_requested), None)
        ended = next((move.at for move in moves if move.after is None or move.after.status.is_terminal), None)
        if asked is not None and ended is not None and ended - asked > allowed:
            yield f"{run_id} was asked to stop at {asked:.3f} and ended at {ended:.3f}"


def streams_are_complete(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check that an undisturbed run's output is all on its stream; its last values and end have the whole log."""
    if plan.misfortunes or plan.climate.is_stormy or plan.climate.failing_streams:
        return
    for row in durable.tables.runs.values():
        record = row.record
        if record.status is RunStatus.SUCCESS and durable.witness.wanted[record.run_id].script is not None:
            published = durable.witness.published.get(record.run_id, [])
            if missing := _missing(record, published, durable):
                yield f"the stream of {record.run_id} lacks {missing}: {[event.name for event in published]}"


def _missing(record: RunRecord, published: list[Published], durable: Durable) -> str | None:
    script = durable.witness.wanted[record.run_id].script
    assert script is not None
    last = script.undisturbed
    said = sum(step.chunks for step in script.steps[: last + 1])
    names = [event.name.partition("|")[0] for event in published]
    modes = record.spec.stream_modes
    if "custom" in modes and names.count("custom") != said:
        return f"{said} custom events"
    if "messages-tuple" in modes and names.count("messages") != said:
        return f"{said} tokens"
    if "updates" in modes and names.count("updates") != last + (last < len(script.steps)):
        return "updates"
    whole = set(script.entries(0, last))
    for name, event in zip(names, published, strict=True):
        is_last = event.terminal or (name == "values" and event is _last_values(published))
        if is_last and not whole <= set(json.loads(event.data)["log"]):
            return f"steps in {name}"
    return None if published and published[-1].terminal else "its end"


def _last_values(published: list[Published]) -> Published | None:
    return next((event for event in reversed(published) if event.name.partition("|")[0] == "values"), None)


def only_lost_workers_lose_attempts(plan: Plan, durable: Durable) -> Iterator[str]:
    """Check that no lost attempt is counted for a process that closed, and released its runs, or merely slept."""
    is_lossy = any(
        isinstance(each, Crash) or (isinstance(each, Freeze) and each.successor) for each in plan.misfortunes
    )
    if is_lossy or plan.climate.is_stormy:
        return
    for run_id in durable.witness.moves:
        last = durable.witness.last(run_id)
        if last is not None and last.lost_attempts:
            yield f"{run_id} counts {last.lost_attempts} lost attempts though no worker was lost"
