"""``python -m benchmarks.isolation``: cost of a run and a token on the shared loop, and on a loop per run.

Both servers run the same code. ``--other SRC`` adds a third server with the sources of another version.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from . import servers
from .figures import Measurement, rows, table
from .scenarios import SCENARIOS, warm_up
from .servers import Server

SHARED, OWN, OTHER = "shared", "run", "other"
_MEASURED: Final = ("run latency", "first token", "tokens", "runs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.isolation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument("--size", type=float, default=1.0, help="a factor on the work of each scenario (default: 1)")
    parser.add_argument("--other", type=Path, metavar="SRC", help="the src directory of another version")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runstead-bench-")))
        chosen = [(name, (f"agent_isolation={name}",), None) for name in (SHARED, OWN)]
        started = [
            replace(stack.enter_context(servers.runstead(folder / name, settings, sources)), name=name)
            for name, settings, sources in [*chosen, *([(OTHER, (), options.other)] if options.other else [])]
        ]
        measured = asyncio.run(_measure(started, options.rounds, options.size))
    for server in started[1:]:
        print(table(rows(measured, SHARED, server.name), SHARED, server.name))


async def _measure(started: Sequence[Server], rounds: int, size: float) -> list[Measurement]:
    for server in started:
        await warm_up(server)
    measured: list[Measurement] = []
    for round in range(rounds):
        for name, scenario in SCENARIOS.items():
            if not name.startswith(_MEASURED):
                continue
            for server in started if round % 2 == 0 else reversed(started):
                figures = await scenario(server, size)
                measured += [Measurement(round, server.name, name, figure, value) for figure, value in figures.items()]
    return measured


if __name__ == "__main__":
    main()
