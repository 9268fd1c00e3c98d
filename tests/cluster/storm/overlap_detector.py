"""Steps by attempt and time, from the lines that the steps wrote, and a search for concurrent steps of one thread.

A killed process wrote no end: its steps end with the kill. A process without memory or file descriptors may stall in
the middle of a step, and finish it after another process has taken the run over; it may not begin another step. A
frozen process does not notice the time: its steps count until the freeze, and steps of its attempts just after it
continues are excused, since nothing can prevent side effects of a process that is not yet informed; its writes to
Runstead are refused, and are checked elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

AWAKENING: Final = 2.0
"""Seconds that a process may take after a freeze to notice its lost leases."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A period in which a process did nothing; ``until`` is None if it never continued."""

    pid: int
    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Strain:
    """A period in which a process had no memory, or no file descriptors, left."""

    pid: int
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one attempt of a run. ``excused``: by an attempt that started before its process was frozen.
    ``stalled``: its process may have stalled in the middle of it."""

    thread_id: str
    run_id: str
    attempt: int
    pid: int
    begin: float
    end: float
    excused: bool = False
    stalled: bool = False


def steps_of(lines: Iterable[str], cuts: Iterable[Cut], strains: Sequence[Strain] = ()) -> list[Step]:
    """Return the steps, limited to the lifetime of their process. Raises ValueError for a step without a possible
    end.
    """
    steps = _limited(lines, cuts)
    return [replace(step, stalled=any(_is_hit(step, strain) for strain in strains)) for step in steps]


def _is_hit(step: Step, strain: Strain) -> bool:
    return step.pid == strain.pid and step.begin <= strain.until and step.end >= strain.since


def _limited(lines: Iterable[str], cuts: Iterable[Cut]) -> list[Step]:
    of_pid: dict[int, list[Cut]] = defaultdict(list)
    for cut in cuts:
        of_pid[cut.pid].append(cut)
    steps: list[Step] = []
    open_steps: dict[tuple[int, str, str, int], list[float]] = defaultdict(list)
    begun: dict[tuple[int, str, str, int], float] = {}
    for line in lines:
        word, at, pid, thread_id, run_id, attempt = line.split()
        key = (int(pid), thread_id, run_id, int(attempt))
        if word == "begin":
            open_steps[key].append(float(at))
            begun.setdefault(key, float(at))
        else:
            steps.append(_step(key, open_steps[key].pop(), float(at), begun[key], of_pid[key[0]]))
    for key, begins in open_steps.items():
        for begin in begins:
            steps.append(_step(key, begin, None, begun[key], of_pid[key[0]]))
    return steps


def _step(
    key: tuple[int, str, str, int], begin: float, end: float | None, attempt_begun: float, cuts: Sequence[Cut]
) -> Step:
    pid, thread_id, run_id, attempt = key
    first = min((cut.since for cut in cuts if cut.since >= begin), default=None)
    if end is None and first is None:
        raise ValueError(f"a step of run {run_id} in process {pid} has no end, and no fault hit that process")
    end = min(value for value in (end, first) if value is not None)
    excused = any(
        cut.until is not None and attempt_begun <= cut.since and cut.until <= begin <= cut.until + AWAKENING
        for cut in cuts
    )
    return Step(thread_id, run_id, attempt, pid, begin, end, excused)


def at_once(steps: Iterable[Step]) -> list[tuple[Step, Step]]:
    """Pairs of steps of one thread, by different attempts or runs, that overlap in time."""
    by_thread: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        if not step.excused:
            by_thread[step.thread_id].append(step)
    found = []
    for of_thread in by_thread.values():
        last = None
        for step in sorted(of_thread, key=lambda step: step.begin):
            if last is not None and step.begin < last.end and _whose(step) != _whose(last) and not last.stalled:
                found.append((last, step))
            last = step if last is None or step.end > last.end else last
    return found


def steps_by_others(steps: Iterable[Step]) -> int:
    """Number of runs that continued in another process; at zero, a storm has proved nothing."""
    by_run: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_run[step.run_id].append(step)
    moves = 0
    for of_run in by_run.values():
        ordered = sorted(of_run, key=lambda step: step.begin)
        moves += sum(one.pid != other.pid for one, other in pairwise(ordered))
    return moves


def _whose(step: Step) -> tuple[str, int]:
    return step.run_id, step.attempt
