"""The plan of a storm: which fault hits which process at what time, determined by a seed, so that a storm is
repeatable.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "kill worker",
    "kill gateway",
    "freeze worker",
    "freeze gateway",
    "stop worker",
    "stop gateway",
    "skew worker",
    "starve worker",
    "starve gateway",
    "squeeze worker",
    "restart postgres",
    "crash postgres",
    "freeze postgres",
    "fill postgres",
    "restart valkey",
    "forget valkey",
    "freeze valkey",
]

# Duration in seconds: until a killed process is restarted, or a frozen one continues.
_LASTS: Final[dict[Kind, tuple[float, float]]] = {
    "kill worker": (0.0, 2.0),
    "kill gateway": (0.0, 2.0),
    # A lease is three seconds.
    "freeze worker": (2.0, 8.0),
    "freeze gateway": (0.5, 5.0),
    "stop worker": (0.0, 1.0),
    "stop gateway": (0.0, 1.0),
    # Its clock is wrong by up to two hours, to either side.
    "skew worker": (2.0, 8.0),
    # No file descriptors are left.
    "starve worker": (3.0, 10.0),
    "starve gateway": (1.0, 5.0),
    # No memory is left.
    "squeeze worker": (3.0, 12.0),
    "restart postgres": (0.0, 2.0),
    "crash postgres": (0.0, 1.0),
    "freeze postgres": (1.0, 8.0),
    # Its disk is full.
    "fill postgres": (1.0, 6.0),
    "restart valkey": (0.0, 3.0),
    "forget valkey": (0.0, 2.0),
    "freeze valkey": (0.5, 6.0),
}
NODES: Final[Sequence[Kind]] = [kind for kind in _LASTS if kind.split()[1] in ("worker", "gateway")]
SERVERS: Final[Sequence[Kind]] = [kind for kind in _LASTS if kind.split()[1] in ("postgres", "valkey")]


@dataclass(frozen=True, slots=True)
class Harm:
    """``after``: seconds from the end of the previous fault in its lane. ``size``: its extent, from -1 to 1."""

    after: float
    kind: Kind
    target: int
    lasts: float
    size: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} for {self.lasts:.1f} s"


def plan(
    seed: int, seconds: float, *, gateways: int, workers: int, calm: float, without: Collection[Kind] = ()
) -> list[list[Harm]]:
    """Two parallel lanes, so that faults overlap: one for nodes, one for servers.

    ``calm``: maximum seconds without a fault after each. Every kind occurs once before one is repeated, except
    those in ``without``, which do not occur.
    """
    lanes = []
    for number, kinds in enumerate((NODES, SERVERS)):
        chance = random.Random(f"{seed}/{number}")
        lane: list[Harm] = []
        turns: list[Kind] = []
        while sum(harm.after + harm.lasts for harm in lane) < seconds:
            turns = turns or [kind for kind in chance.sample(kinds, len(kinds)) if kind not in without]
            kind = turns.pop()
            target = chance.randrange({"worker": workers, "gateway": gateways}.get(kind.split()[1], 1))
            after, lasts = chance.uniform(calm / 4, calm), chance.uniform(*_LASTS[kind])
            lane.append(Harm(after, kind, target, lasts, chance.uniform(-1, 1)))
        lanes.append(lane)
    return lanes
