"""``python -m benchmarks gate``: compare the CPU of this version with that of another commit, and fail if it has grown.

Both servers run side by side and take turns, so that a busy machine is busy for both. A figure fails if it has grown by
more than the limit, both in the median of the rounds and in the best rounds; one that fails is measured again first.
With valgrind, the instructions of pure parts are counted too: they are the same in every measurement.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from . import servers
from .pure import TIMES
from .scenarios import SCENARIOS, warm_up
from .servers import Server

_ROOT: Final = Path(__file__).parents[1]
_MEASURED: Final[Mapping[str, tuple[str, float]]] = {
    "run latency": ("cpu_ms_per_run", 2.0),
    "runs, 16 clients": ("cpu_ms_per_run", 1.0),
    "tokens, 1 stream": ("cpu_us_per_token", 5.0),
    "tokens, 20 streams": ("cpu_us_per_token", 2.0),
}
"""Figure of each scenario, and the factor on its work: system clocks count in hundredths of a second."""
_COUNT: Final = re.compile(r"^==(\d+)== I\s+refs:\s+([\d,]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of both versions, measured in the same rounds."""

    name: str
    base: Sequence[float]
    new: Sequence[float]

    @property
    def median(self) -> float:
        """Median of the ratios, new to base, of the rounds."""
        return statistics.median(new / base for new, base in zip(self.new, self.base, strict=True))

    @property
    def best(self) -> float:
        """Ratio of the best rounds."""
        return min(self.new) / min(self.base)

    def fails(self, limit: float) -> bool:
        return min(self.median, self.best) > limit

    def line(self, limit: float) -> str:
        base, new = statistics.median(self.base), statistics.median(self.new)
        mark = "FAILED" if self.fails(limit) else ""
        return f"{self.name:38} {base:12,.2f} {new:12,.2f} {self.median:7.2f} {self.best:7.2f}  {mark}".rstrip()


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="runstead-gate-") as folder:
        _export(options.base, Path(folder))
        compared = asyncio.run(_compare(Path(folder), options))
        if shutil.which("valgrind"):
            compared += _count(_ROOT / "src", Path(folder) / "src")
        else:
            print("no valgrind: the instructions of pure parts are not counted")
    print(f"{'':38} {options.base[:12]:>12} {'this version':>12} {'median':>7} {'best':>7}")
    for one in compared:
        print(one.line(options.limit))
    if any(one.fails(options.limit) for one in compared):
        raise SystemExit(1)


def _export(commit: str, folder: Path) -> None:
    """Write the sources of a commit to a folder."""
    command = ["git", "archive", commit, "src"]
    archive = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise SystemExit(f"cannot read {commit}: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")


async def _compare(folder: Path, options: argparse.Namespace) -> list[Compared]:
    with ExitStack() as stack:
        base, new = (
            replace(stack.enter_context(servers.runstead(folder / f"data-{name}", (), sources)), name=name)
            for name, sources in (("base", folder / "src"), ("new", _ROOT / "src"))
        )
        for server in (base, new):
            await warm_up(server)
            await warm_up(server)
        first = await _measure(base, new, list(_MEASURED), options)
        again = [name for name, one in first.items() if one.fails(options.limit)]
        for name, more in (await _measure(base, new, again, options)).items():
            first[name] = replace(first[name], base=[*first[name].base, *more.base], new=[*first[name].new, *more.new])
    return list(first.values())


async def _measure(base: Server, new: Server, names: Sequence[str], options: argparse.Namespace) -> dict[str, Compared]:
    found: dict[tuple[str, str], list[float]] = {}
    for round in range(options.rounds):
        for name in names:
            figure, size = _MEASURED[name]
            for server in (base, new) if round % 2 == 0 else (new, base):
                figures = await SCENARIOS[name](server, size * options.size)
                found.setdefault((name, server.name), []).append(figures[figure])
    return {
        name: Compared(f"{name}, {_MEASURED[name][0]}", found[name, base.name], found[name, new.name]) for name in names
    }


def _count(new: Path, base: Path) -> list[Compared]:
    """Count the instructions of pure parts. A part that the other version does not have is left out."""
    counts = {name: _instructions(sources) for name, sources in (("base", base), ("new", new))}
    return [
        Compared(f"{part}, instructions", [counts["base"][part]], [count])
        for part, count in counts["new"].items()
        if part in counts["base"]
    ]


def _instructions(sources: Path) -> Mapping[str, float]:
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environ = {**os.environ, "PYTHONPATH": str(sources), "PYTHONHASHSEED": "0"}
    command += [sys.executable, "-m", "benchmarks.pure"]
    done = subprocess.run(command, cwd=_ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"the instructions of pure parts could not be counted: {done.stderr.strip().splitlines()[-1:]}")
        return {}
    return per_call(done.stdout, done.stderr)


def per_call(parts: str, report: str) -> Mapping[str, float]:
    """Return the instructions for one call of each part, from the output of `pure` and the report of cachegrind."""
    totals = {pid: int(count.replace(",", "")) for pid, count in _COUNT.findall(report)}
    named = [line.split(" ", 1) for line in parts.splitlines()]
    counts = {name: totals[pid] for pid, name in named}
    nothing = counts.pop("nothing")
    return {name: (count - nothing) / TIMES for name, count in counts.items()}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gate", description=__doc__)
    parser.add_argument("--base", default="HEAD~1", help="the commit to compare with (default: HEAD~1)")
    parser.add_argument("--limit", type=float, default=1.10, help="the largest allowed ratio (default: 1.10)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--size", type=float, default=1.0, help="a factor on the work of each scenario (default: 1)")
    return parser.parse_args(arguments)
