"""Every pending run gets its turn, and no group delays the first run of another, for any arrivals and durations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from runstead.runtime.runs.fair_turns import (
    LEAST_URGENT,
    MOST_URGENT,
    RISES_AFTER,
    Flow,
    QueuedRun,
    in_fair_order,
)
from runstead.runtime.runs.types import RunId

START = datetime(2030, 1, 1)
TICK = RISES_AFTER / 3


@dataclass(frozen=True)
class Arrival:
    """A run: its arrival and its duration, in ticks."""

    at: int
    group: str
    priority: int
    lasts: int


@dataclass
class Server:
    """Slots in which runs start, each as soon as one is free. ``begun`` has the number and the start of each run."""

    slots: int
    reserved: int = 0
    waiting: dict[int, Arrival] = field(default_factory=dict)
    executing: dict[int, tuple[Arrival, int]] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    turns: dict[tuple[str, int], datetime] = field(default_factory=dict)

    def execute(self, arrivals: Sequence[Arrival], until: int | None = None) -> None:
        """Advance time tick by tick, until all have started."""
        now = 0
        while len(self.begun) < len(arrivals) and now != until:
            self.waiting |= {number: run for number, run in enumerate(arrivals) if run.at == now}
            self.executing = {number: (run, end) for number, (run, end) in self.executing.items() if end > now}
            self._begin(now)
            now += 1

    def _begin(self, now: int) -> None:
        while (free := self.slots - len(self.executing)) > 0:
            counts = Counter(run.group for run, _ in self.executing.values())
            flows = {(run.group, run.priority) for run in self.waiting.values()}
            found = in_fair_order(
                [Flow(*flow, self._runs(flow)[0].due_at, self.turns.get(flow)) for flow in flows],
                lambda flow, count: self._runs((flow.group, flow.priority))[:count],
                counts,
                START + now * TICK,
                1,
                max(free - self.reserved, 0),
            )
            if not found:
                return
            number = int(found[0])
            run = self.waiting.pop(number)
            self.check(run, counts)
            self.begun[number] = now
            self.turns[run.group, run.priority] = START + now * TICK
            self.executing[number] = (run, now + run.lasts)

    def _runs(self, flow: tuple[str, int]) -> list[QueuedRun]:
        runs = [(run.at, number) for number, run in self.waiting.items() if (run.group, run.priority) == flow]
        return [QueuedRun(RunId(str(number)), START + at * TICK) for at, number in sorted(runs)]

    def check(self, run: Arrival, counts: Counter[str]) -> None:
        """Return the runs in start order, with the number of runs that each group had executed before."""


class FairServer(Server):
    def check(self, run: Arrival, counts: Counter[str]) -> None:
        fewest = min((counts[other.group] for other in self.waiting.values()), default=counts[run.group])
        assert counts[run.group] <= fewest, f"{run.group} got a turn before a group that executes fewer runs"


def arrivals(priorities: st.SearchStrategy[int]) -> st.SearchStrategy[list[Arrival]]:
    one = st.builds(Arrival, st.integers(0, 20), st.sampled_from("abcd"), priorities, st.integers(1, 15))
    return st.lists(one, min_size=1, max_size=40)


@given(arrivals(st.just(0)), st.integers(1, 5))
def test_group_with_the_fewest_running_runs_starts_next(runs: list[Arrival], slots: int) -> None:
    FairServer(slots).execute(runs)


@given(arrivals(st.integers(MOST_URGENT, LEAST_URGENT)), st.integers(1, 5), st.integers(0, 2))
def test_every_run_starts_and_each_flow_keeps_its_order(runs: list[Arrival], slots: int, reserved: int) -> None:
    server = Server(slots, min(reserved, slots - 1))
    server.execute(runs)
    for number, run in enumerate(runs):
        for later, other in enumerate(runs):
            if (run.group, run.priority) == (other.group, other.priority) and (run.at, number) < (other.at, later):
                assert server.begun[number] <= server.begun[later]


@given(st.integers(1, 64), st.integers(1, 8), st.integers(0, 30))
def test_first_run_of_a_group_starts_although_another_fills_the_server(backlog: int, reserved: int, comes: int) -> None:
    flood = [Arrival(0, "flood", MOST_URGENT, 100_000) for _ in range(64 + backlog)]
    server = Server(64, reserved)
    server.execute([*flood, Arrival(comes, "other", LEAST_URGENT, 1)], until=comes + 1)
    assert server.begun[len(flood)] == comes


@given(st.integers(1, 3), st.integers(1, 5), st.integers(MOST_URGENT, LEAST_URGENT), st.sampled_from(["a", "late"]))
def test_flood_of_urgent_runs_delays_another_run_for_bounded_time(
    slots: int, lasts: int, priority: int, group: str
) -> None:
    steps = LEAST_URGENT - MOST_URGENT + 1
    bound = 3 * steps + 2 * lasts
    flood = [Arrival(at, name, MOST_URGENT, lasts) for at in range(bound) for name in "aab" for _ in range(slots)]
    server = Server(slots)
    server.execute([Arrival(1, group, priority, 1), *flood], until=bound)
    assert 0 in server.begun
