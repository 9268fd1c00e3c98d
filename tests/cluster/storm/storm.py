"""A storm: clients of all kinds, a plan of faults, and a check of the laws at the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..conftest import balanced
from ..nodes import Cluster
from .audit import Account, account, settled
from .clients import weather
from .connection import Connection
from .expectations import Ledger
from .fault_injection import Harmer
from .overlap_detector import Step, at_once, steps_by_others, steps_of
from .plan import Kind, plan

GRAPHS: Final = Path(__file__).parent / "langgraph.json"
_PEACE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Storm:
    """``calm``: maximum seconds between two faults."""

    seed: int
    seconds: float
    clients: int
    calm: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The report of a storm."""

    storm: Storm
    ledger: Ledger
    account: Account
    harms: Counter[str]
    told: list[str]
    at_once: list[tuple[Step, Step]]
    moves: int
    steps: int
    left: dict[str, int]

    @property
    def wrong(self) -> list[str]:
        """All violations, worst first."""
        said = [f"lost: {text}" for text in self.account.lost]
        said += [f"at once: {one} and {other}" for one, other in self.at_once]
        said += [f"hung: {text}" for text in self.ledger.hung]
        said += [f"left: {number} {what}" for what, number in self.left.items() if number]
        return said + self.account.wrong + self.ledger.faults

    def __str__(self) -> str:
        counts, done = self.ledger.counts, self.account
        wrong = len(done.wrong) + len(self.ledger.faults)
        harms = ", ".join(f"{kind} {count}" for kind, count in sorted(self.harms.items()))
        return "\n".join(
            (
                f"SEED={self.storm.seed} SECONDS={self.storm.seconds:g} clients={self.storm.clients}",
                f"accepted {done.accepted}, and {done.unanswered} whose answer was cut off: {dict(done.ends)}",
                f"lost {len(done.lost)}, ran twice at once {len(self.at_once)}, hung readers {len(self.ledger.hung)}, "
                f"otherwise wrong {wrong}, left {self.left}",
                f"terminal events per run {dict(done.terminals)}, ended while the streams were lost {done.without_end}",
                f"harm: {harms}; {self.harms.total()} in all",
                f"runs recovered {done.recovered}, steps {self.steps}, taken over {self.moves}, {dict(counts)}",
            )
        )


def _impossible(cluster: Cluster) -> Collection[Kind]:
    """Return the faults that this cluster does not support: only a separate disk is filled, never the machine's."""
    return [] if cluster.postgres.folder.is_mount() else ["fill postgres"]


async def ride_out(storm: Storm, cluster: Cluster, witness: Path) -> Outcome:
    """Run the storm, and return its report."""
    ledger, harmer = Ledger(), Harmer(cluster)
    lanes = plan(
        storm.seed,
        storm.seconds,
        gateways=len(cluster.gateways),
        workers=len(cluster.workers),
        calm=storm.calm,
        without=_impossible(cluster),
    )
    until = time.monotonic() + storm.seconds
    async with balanced(cluster, storm.seed) as client:
        over = False
        clients = asyncio.create_task(weather(client, ledger, storm.seed, storm.clients, lambda: over))
        await asyncio.gather(*(harmer.go_through(lane, until) for lane in lanes))
        await asyncio.sleep(_PEACE)
        over = True
        await clients
        left = await settled(cluster)
        # The terminal event follows the end of the run.
        await asyncio.sleep(_PEACE)
        at = Connection(client, ledger, random.Random(storm.seed))
        done = await account(cluster, at, ledger, harmer)
        ledger.faults += harmer.faults
    lines = await asyncio.to_thread(witness.read_text)
    steps = steps_of(lines.splitlines(), harmer.cuts, harmer.strains)
    moves = steps_by_others(steps)
    return Outcome(storm, ledger, done, harmer.done, harmer.told, at_once(steps), moves, len(steps), dict(left))
