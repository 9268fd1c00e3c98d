"""``python -m benchmarks``: compare a server with two floors; print tables, and write a file only on request."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import counts, gate, servers
from .figures import Measurement, Row, rows, table, to_json
from .scenarios import DURABLE, SCENARIOS, Scenario, warm_up
from .servers import Server

OURS, FLOOR, FLOOR_DURABLE = "runstead", "floor", "floor-durable"


def main() -> None:
    if sys.argv[1:2] == ["gate"]:
        gate.main(sys.argv[2:])
        return
    if sys.argv[1:2] == ["counts"]:
        counts.main(sys.argv[2:])
        return
    options = _options()
    chosen = {name: SCENARIOS[name] for name in SCENARIOS if not options.only or options.only in name}
    if not chosen:
        raise SystemExit(f"no scenario matches {options.only!r}; there are: {', '.join(SCENARIOS)}")
    with (
        tempfile.TemporaryDirectory(prefix="runstead-bench-") as directory,
        servers.runstead(Path(directory) / "data", options.set) as ours,
        servers.floor() as floor,
        servers.floor(Path(directory) / "floor.db") as durable,
    ):
        measured = asyncio.run(_measure((ours, floor, durable), chosen, options))
    summary: list[Row] = []
    for reference, names in ((FLOOR_DURABLE, DURABLE), (FLOOR, SCENARIOS.keys() - DURABLE)):
        if compared := rows([one for one in measured if one.scenario in names], OURS, reference):
            print(table(compared, OURS, reference))
            summary += compared
    if options.json:
        options.json.write_text(json.dumps(to_json(measured, summary), indent=2) + "\n")


async def _measure(
    started: Sequence[Server], chosen: Mapping[str, Scenario], options: argparse.Namespace
) -> list[Measurement]:
    """Run all rounds. The servers take turns in every scenario, and in being the first."""
    for server in started:
        await warm_up(server)
    measured: list[Measurement] = []
    began = time.monotonic()
    for round in range(options.rounds):
        for name, scenario in chosen.items():
            for server in started if round % 2 == 0 else reversed(started):
                figures = await scenario(server, options.size)
                measured += [Measurement(round, server.name, name, figure, value) for figure, value in figures.items()]
        if time.monotonic() - began > options.seconds:
            break
    return measured


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--seconds", type=float, default=40, help="start no round after this time (default: 40)")
    parser.add_argument("--size", type=float, default=1.0, help="a factor on the work of each scenario (default: 1)")
    parser.add_argument("--only", default="", help="only scenarios whose name contains this")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for runstead")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
