"""Draws the plan of a schedule from its seed.

Pure: the same seed gives the same plan. `clients` and `schedule` carry it out.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random

from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import (
    AssistantId,
    Durability,
    MultitaskStrategy,
    RunCommand,
    RunId,
    RunScope,
    RunSpec,
    StopAction,
    StreamMode,
    ThreadId,
)
from runstead.testing.fakes import Script, Step

from .kernel import FaultProfile
from .plan import (
    Action,
    Cancel,
    ClientBehavior,
    Crash,
    Delete,
    Fault,
    Freeze,
    Join,
    Plan,
    ReadMode,
    Restart,
    Retry,
    Submit,
)
from .ports import LatencyProfile

_STRATEGIES: tuple[MultitaskStrategy, ...] = ("enqueue", "enqueue", "enqueue", "interrupt", "rollback", "reject")
_DURABILITIES: tuple[Durability, ...] = ("async", "async", "sync", "exit")
_MODES: tuple[tuple[StreamMode, ...], ...] = (
    ("values",),
    ("values", "custom"),
    ("updates", "custom"),
    ("messages-tuple", "values"),
    ("messages",),
    ("events", "values"),
)

_NO_OUTAGES: dict[str, float] = {}
_SOME_OUTAGES = {"append": 0.2, "settle": 0.1, "renew": 0.05, "list_claimable": 0.05}
"""Outages that must not affect any run."""
_STORM = dict.fromkeys(
    [
        *(
            "create_runs",
            "get_run",
            "delete_run",
            "claim",
            "renew",
            "begin",
            "settle",
            "release",
            "request_stop",
            "append",
        ),
        *(
            "list_claimable",
            "next_due",
            "list_expired",
            "list_ended_before",
            "recover",
            "retry",
            "mark",
            "undo",
            "forget_mark",
            "aget_tuple",
            "aput",
        ),
    ],
    0.04,
)
"""Outages that may make a run fail, but must not break a law."""


def draw(seed: int) -> Plan:
    """Return the plan for a seed."""
    # Not the world's random source: a plan must not depend on the course of a schedule.
    return _Drawing(Random(f"plan {seed}"), seed).plan()


class _Drawing:
    def __init__(self, chance: Random, seed: int) -> None:
        self._chance, self._seed = chance, seed
        self._threads = tuple(ThreadId(f"t{number}") for number in range(1, chance.randint(1, 3) + 1))
        self._scripts: dict[RunId, Script | None] = {}
        self._horizon = chance.choice((1.0, 4.0, 8.0))

    def plan(self) -> Plan:
        chance = self._chance
        submits = [self._submit() for _ in range(chance.randint(2, 6))]
        others = [self._other(submits) for _ in range(chance.randint(0, 5))]
        if chance.random() < 0.3:
            submits.extend(self._answer(submits) for _ in range(2))
        actions: list[Action] = [*submits, *others]
        actions.sort(key=lambda action: action.at)
        return Plan(
            self._seed, self._threads, tuple(actions), self._misfortunes(), self._climate(), dict(self._scripts)
        )

    def _maybe(self, share: float) -> bool:
        return self._chance.random() < share

    def _moment(self) -> float:
        return round(self._chance.random() * self._horizon, 3)

    def _submit(self) -> Submit:
        chance = self._chance
        size = chance.randint(2, 3) if self._maybe(0.12) else 1
        specs = tuple(self._spec() for _ in range(size))
        manner: ReadMode = "background" if size > 1 else chance.choice(("background", "stream", "stream", "wait"))
        return Submit(self._moment(), specs, manner, self._habits())

    def _habits(self) -> ClientBehavior:
        chance = self._chance
        hangs_up = tuple(chance.randint(1, 6) for _ in range(chance.randint(0, 3))) if self._maybe(0.5) else ()
        slow = chance.choice((0.2, 1.0)) if self._maybe(0.15) else 0.0
        patience = round(chance.random() * 0.1, 4) if self._maybe(0.15) else None
        return ClientBehavior(hangs_up, not self._maybe(0.2), slow, patience)

    def _spec(self) -> RunSpec:
        chance = self._chance
        run_id = f"r{len(self._scripts) + 1}"
        script = self._script(run_id)
        self._scripts[RunId(run_id)] = script
        stateless = self._maybe(0.12)
        hangs = any(step.does == "hang" for step in script.steps)
        return RunSpec(
            assistant_id=AssistantId("agent"),
            graph_id="agent",
            run_id=RunId(run_id),
            thread_id=None if stateless else chance.choice(self._threads),
            scope=RunScope("stateless", on_completion=chance.choice(("delete", "keep"))) if stateless else RunScope(),
            input=script.to_input() | ({"messages": [{"role": "user", "content": run_id}]} if self._maybe(0.3) else {}),
            stream_modes=chance.choice(_MODES),
            stream_subgraphs=self._maybe(0.1),
            durability=chance.choice(_DURABILITIES),
            multitask_strategy=chance.choice(_STRATEGIES),
            on_disconnect=chance.choice(("continue", "continue", "cancel")),
            after_seconds=round(chance.random() * 3, 2) if self._maybe(0.15) else 0,
            timeout_seconds=round(0.3 + chance.random() * 2, 2) if hangs or self._maybe(0.08) else None,
            max_attempts=chance.choice((None, None, None, 1, 2)),
        )

    def _script(self, label: str) -> Script:
        chance = self._chance
        steps = [
            Step("say", takes=self._seconds(), chunks=chance.choice((0, 0, 1, 3)))
            for _ in range(chance.choice((1, 1, 2, 2, 3, 4)))
        ]
        ending = chance.random()
        if ending < 0.1:
            steps.append(Step("fail", takes=self._seconds()))
        elif ending < 0.25:
            steps.append(Step("ask", takes=self._seconds()))
            steps.append(Step("say", takes=self._seconds()))
        elif ending < 0.32:
            steps.append(Step("hang"))
        return Script(label, tuple(steps))

    def _seconds(self) -> float:
        return 0.0 if self._maybe(0.3) else round(self._chance.random() * 0.8, 3)

    def _answer(self, submits: list[Submit]) -> Submit:
        run_id = f"r{len(self._scripts) + 1}"
        self._scripts[RunId(run_id)] = None
        asking = [spec for submit in submits for spec in submit.specs if self._asks(spec)]
        thread_id = self._chance.choice(asking).thread_id if asking else None
        spec = RunSpec(
            assistant_id=AssistantId("agent"),
            graph_id="agent",
            run_id=RunId(run_id),
            thread_id=ThreadId(thread_id or self._chance.choice(self._threads)),
            command=RunCommand(resume=f"answer-{run_id}", has_resume=True),
            # An answer to a question that was not asked continues with the rest of the thread's script.
            timeout_seconds=5,
        )
        manner: ReadMode = self._chance.choice(("stream", "wait"))
        return Submit(round(self._horizon + self._chance.random() * 3, 3), (spec,), manner, self._habits())

    def _asks(self, spec: RunSpec) -> bool:
        script = self._scripts.get(RunId(spec.run_id or ""))
        return script is not None and any(step.does == "ask" for step in script.steps)

    def _other(self, submits: list[Submit]) -> Action:
        chance = self._chance
        submit = chance.choice(submits)
        run_id = chance.choice(submit.specs).run_id or ""
        at = round(submit.at + chance.random() * 2, 3)
        kind = chance.random()
        if kind < 0.45:
            action: StopAction = chance.choice(("interrupt", "interrupt", "rollback"))
            return Cancel(at, RunId(run_id), action, self._maybe(0.5), chance.choice((1, 1, 3)), self._habits())
        if kind < 0.55:
            return Delete(at, RunId(run_id), self._habits())
        if kind < 0.62:
            return Retry(at + 15, RunId(run_id))
        modes: tuple[StreamMode, ...] | None = chance.choice((None, None, ("values",), ("custom",)))
        last = chance.choice((None, "-1", "0-0", "garbage", "1-1"))
        return Join(at, RunId(run_id), chance.choice(("stream", "wait")), last, modes, self._habits())

    def _misfortunes(self) -> tuple[Fault, ...]:
        chance = self._chance
        if self._maybe(0.3):
            return ()
        drawn: list[Fault] = []
        moment = 0.0
        for _ in range(chance.choice((1, 1, 2, 4))):
            moment += round(chance.random() * (self._horizon + 1), 3)
            kind = chance.random()
            if kind < 0.5:
                calls = chance.randint(1, 40) if self._maybe(0.6) else None
                drawn.append(Crash(moment, chance.choice((0.0, 0.5, 4.0)), calls))
            elif kind < 0.7:
                drawn.append(Restart(moment, chance.choice((0.0, 1.0)), chance.choice((0.0, 0.3, 2.0))))
            else:
                drawn.append(Freeze(moment, chance.choice((0.5, 2.5, 5.0)), successor=self._maybe(0.6)))
        return tuple(drawn)

    def _climate(self) -> FaultProfile:
        chance = self._chance
        stores = LatencyProfile(
            instant=chance.choice((0.0, 0.5, 0.9)),
            slowest=chance.choice((0.002, 0.02, 0.3)),
            outages=chance.choice((_NO_OUTAGES, _NO_OUTAGES, _NO_OUTAGES, _NO_OUTAGES, _SOME_OUTAGES, _STORM)),
        )
        return FaultProfile(
            stores=stores,
            lost_notices=chance.choice((0.0, 0.0, 0.5, 1.0)),
            failing_observers=0.2 if self._maybe(0.2) else 0.0,
            failing_streams=0.05 if self._maybe(0.15) else 0.0,
            slow_streams=LatencyProfile(instant=0.7, slowest=0.05)
            if self._maybe(0.25)
            else LatencyProfile(instant=1.0),
            careless_agents=self._maybe(0.3),
            window_events=3 if self._maybe(0.15) else 20_000,
            limits=RunLimits(
                max_concurrent_runs=chance.choice((1, 2, 8)),
                lease_term=timedelta(seconds=3),
                max_attempts=3,
                stop_grace=4.0,
                heartbeat=2.0,
            ),
        )
