"""Final check of a storm: the outcome of every promise, and all remaining data."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from tests.processes.client import ENDED, Client, new_id

from ..laws import in_database
from ..nodes import Cluster
from .connection import Connection
from .expectations import GONE, Ledger, Promise
from .fault_injection import Harmer
from .streams import StreamEnds, streams_of

_SETTLED_WITHIN: Final = 90.0
_AT_ONCE: Final = 16
_SETTLE_AFTER: Final = 20.0
"""Seconds with working servers from the end of a run until its stream must have its terminal event."""
_AFTER_OUTAGE: Final = 3.0
"""Seconds after an outage that count to it: processes connect again."""
_RECONCILED_WITHIN: Final = 60.0


@dataclass(slots=True)
class Account:
    """``accepted`` runs, of which ``lost`` are missing; ``wrong`` lists all other violations."""

    accepted: int = 0
    unanswered: int = 0
    """Runs that were accepted although the client got no response."""
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    terminals: Counter[int] = field(default_factory=Counter)
    """Number of runs by the number of terminal events on their streams, at any check."""
    without_end: int = 0
    """Runs that ended while their streams were being lost."""
    recovered: int = 0
    ends: Counter[str] = field(default_factory=Counter)


async def settled(cluster: Cluster) -> Mapping[str, int]:
    """The work still in progress when nothing changes any more; all zeros, if all is well."""
    patience = time.monotonic() + _SETTLED_WITHIN
    while True:
        left = await asyncio.to_thread(in_database, cluster)
        if not any(left.values()) or time.monotonic() > patience:
            return left
        await asyncio.sleep(0.2)


async def account(cluster: Cluster, at: Connection, ledger: Ledger, harmer: Harmer) -> Account:
    """Check all data: rows, checkpoints through the API, streams, trace events."""
    result = Account(accepted=len(ledger.promises))
    rows = await asyncio.to_thread(_rows, cluster)
    _check_rows(rows, ledger.promises, result)
    await _check_streams(cluster, rows, harmer, result)
    by_thread: dict[str, list[Promise]] = defaultdict(list)
    for promise in ledger.promises:
        if promise.thread_id is not None:
            by_thread[promise.thread_id].append(promise)
    said = await _undisturbed(at.client)
    room = asyncio.Semaphore(_AT_ONCE)

    async def look(thread_id: str, promises: Sequence[Promise]) -> None:
        async with room:
            result.wrong += await _wrong_with(at, thread_id, promises, said)

    await asyncio.gather(*(look(thread_id, promises) for thread_id, promises in by_thread.items()))
    return result


# --- rows and streams -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Row:
    run_id: str
    status: str
    attempt: int
    ended_at: float
    name: str


def _rows(cluster: Cluster) -> dict[str, _Row]:
    with psycopg.connect(cluster.postgres.url) as connection:
        found = connection.execute(
            "SELECT run_id, status, attempt, coalesce(extract(epoch FROM ended_at), 0), metadata FROM runstead.runs"
        ).fetchall()
    return {row[0]: _Row(row[0], row[1], row[2], float(row[3]), json.loads(row[4]).get("name", "")) for row in found}


def _check_rows(rows: Mapping[str, _Row], promises: Sequence[Promise], result: Account) -> None:
    """Every promise has a row with a permitted outcome, or was rolled back; and every row has ended."""
    promised = {promise.run_id for promise in promises}
    if len(promised) != len(promises):
        result.wrong.append("one run was promised twice")
    for promise in promises:
        row = rows.get(promise.run_id)
        end = GONE if row is None else row.status
        result.ends[end] += 1
        if row is None and GONE not in promise.ends:
            result.lost.append(f"{promise.kind} {promise.name}: {promise.run_id} is nowhere")
        elif row is not None and row.status not in ENDED:
            result.lost.append(f"{promise.kind} {promise.name}: {promise.run_id} is {row.status}")
        elif end not in promise.ends:
            result.wrong.append(f"{promise.kind} {promise.name}: {promise.run_id} ended as {end}")
    result.unanswered = len(rows.keys() - promised)
    result.recovered = sum(row.attempt > 1 for row in rows.values())


async def _check_streams(cluster: Cluster, rows: Mapping[str, _Row], harmer: Harmer, result: Account) -> None:
    """Every stream has exactly one terminal event, as the last one: both existing streams, after reconciliation, and
    lost ones, as they were when lost.
    """
    patience = time.monotonic() + _RECONCILED_WITHIN
    while True:
        found = Account()
        _compare_streams(rows, await asyncio.to_thread(streams_of, cluster.valkey), harmer, found)
        if not found.wrong or time.monotonic() > patience:
            break
        await asyncio.sleep(1)
    result.terminals, result.without_end = found.terminals, found.without_end
    result.wrong += found.wrong


def _compare_streams(
    rows: Mapping[str, _Row], remaining: Mapping[str, StreamEnds], harmer: Harmer, result: Account
) -> None:
    losses = harmer.losses
    for run_id in rows.keys() | remaining.keys():
        seen = [loss.streams[run_id] for loss in losses if run_id in loss.streams]
        seen += [remaining[run_id]] if run_id in remaining else []
        with_end = [stream for stream in seen if stream.terminals]
        row = rows.get(run_id)
        # A run that never started has published nothing; the reconciler has removed its empty stream.
        has_begun = row is not None and row.attempt > 0
        if not with_end and (row is None or not (seen or has_begun) or _may_lack_end(row, harmer)):
            result.without_end += row is not None
            continue
        result.terminals[max((stream.terminals for stream in with_end), default=0)] += 1
        if not with_end or not all(stream.is_right for stream in with_end):
            lost_at = [loss.since for loss in losses if run_id in loss.streams]
            result.wrong.append(f"the stream of {row or run_id} was seen as {seen}, lost at {lost_at}")


def _may_lack_end(row: _Row, harmer: Harmer) -> bool:
    """True if the run ended around the time of a loss, so that its terminal event went to a server that lost it."""
    return any(
        row.ended_at <= loss.back + _SETTLE_AFTER
        and _working_seconds(row.ended_at, loss.since, harmer.outages) < _SETTLE_AFTER
        for loss in harmer.losses
    )


def _working_seconds(since: float, until: float, outages: Sequence[tuple[float, float]]) -> float:
    away = sum(max(0.0, min(end + _AFTER_OUTAGE, until) - max(begin, since)) for begin, end in outages)
    return until - since - away


# --- what is on the threads -----------------------------------------------------------------------------------------
async def _wrong_with(at: Connection, thread_id: str, promises: Sequence[Promise], said: str) -> list[str]:
    """Differences between the threads and those that undisturbed runs would have left."""
    response = await at.asked("GET", f"/threads/{thread_id}")
    if response.status_code != 200:
        return [f"thread {thread_id} of {promises[0].name}: {response.status_code}"]
    status = response.json()["status"]
    runs = (await at.asked("GET", f"/threads/{thread_id}/runs", params={"limit": 1_000})).json()[::-1]
    values = (await at.asked("GET", f"/threads/{thread_id}/state")).json()["values"] or {}
    kind = promises[0].kind
    ours = [(run["metadata"]["name"], run["status"]) for run in runs]
    if kind == "asks":
        right = _is_answered(promises[0].name, ours, values.get("log", []), status)
    elif kind == "streamed agent":
        right = ours == [(promises[0].name, "success")] and _said(values) == said.replace(_NAME, promises[0].name)
    else:
        right = _follows(
            values.get("log", []), [(*end, run["metadata"]["steps"]) for end, run in zip(ours, runs, strict=True)]
        )
    return [] if right else [f"{kind} {thread_id} ({status}): {ours} left {values}"]


def _follows(log: Sequence[str], runs: Sequence[tuple[str, str, int]]) -> bool:
    """Check that the log is that of the runs in sequence: complete for successful runs, a prefix for stopped ones.

    A run is given by its name, its status and its number of steps.
    """
    rest = list(log)
    for name, status, steps in runs:
        taken = 0
        while taken < len(rest) and rest[taken] == f"{name}:{taken}":
            taken += 1
        if status == "success" and taken != steps:
            return False
        rest = rest[taken:]
    return not rest


def _is_answered(name: str, runs: Sequence[tuple[str, str]], log: Sequence[str], status: str) -> bool:
    if [run[0] for run in runs] == [name]:
        return log == [f"{name}:asks"] and status == "interrupted"
    return log == [f"{name}:asks", f"{name}:yes"] and status == "idle" and {run[1] for run in runs} == {"success"}


_NAME: Final = "the-name-that-was-given"


async def _undisturbed(client: Client) -> str:
    """The result of the agent without disturbance, for the name _NAME."""
    return _said(await client.wait(new_id(), "agent", {"messages": [{"role": "human", "content": _NAME}]}))


def _said(values: Any) -> str:
    return json.dumps([(one["type"], one["content"], one.get("tool_calls")) for one in values.get("messages", [])])
