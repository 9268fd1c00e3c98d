"""``python -m benchmarks gate``: compare the CPU of this version with that of another commit, and fail if it has grown.

Bytecode instructions of pure parts are counted: they are the same in every measurement, and decide. Their CPU is
measured in turns, in processes of both versions, and fails only if it has grown by half: a busy machine disturbs it.
``--valgrind`` counts machine instructions too, which takes minutes. ``--cpu`` compares the CPU of two servers, which
run side by side and take turns. A figure fails if it has grown by more than its limit, both in the median of the rounds
and in the best rounds; a server's that fails is measured again first.
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
from concurrent.futures import ThreadPoolExecutor
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
_CPU_SLACK: Final = 0.4
_COUNT: Final = re.compile(r"^==(\d+)== I\s+refs:\s+([\d,]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of both versions, measured in the same rounds."""

    name: str
    base: Sequence[float]
    new: Sequence[float]
    slack: float = 0.0
    """An addition to the limit, for a figure that differs between measurements of one version."""

    @property
    def median(self) -> float:
        """Median of the ratios, new to base, of the rounds."""
        return statistics.median(new / base for new, base in zip(self.new, self.base, strict=True))

    @property
    def best(self) -> float:
        """Ratio of the best rounds."""
        return min(self.new) / min(self.base)

    def fails(self, limit: float) -> bool:
        return min(self.median, self.best) > limit + self.slack

    def line(self, limit: float) -> str:
        base, new = statistics.median(self.base), statistics.median(self.new)
        mark = "FAILED" if self.fails(limit) else ""
        return f"{self.name:38} {base:12,.2f} {new:12,.2f} {self.median:7.2f} {self.best:7.2f}  {mark}".rstrip()


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    if options.base is None:
        options.base = "HEAD~1"
        if not _has_commit(options.base):
            print("there is no earlier commit here to compare with; name one with --base")
            return
    with tempfile.TemporaryDirectory(prefix="runstead-gate-") as folder:
        _export(options.base, Path(folder))
        compared = pure_parts(_ROOT / "src", Path(folder) / "src", options.rounds)
        if options.valgrind and shutil.which("valgrind"):
            compared += _count(_ROOT / "src", Path(folder) / "src")
        if options.cpu:
            compared += asyncio.run(_compare(Path(folder), options))
    print(f"{'':38} {options.base[:12]:>12} {'this version':>12} {'median':>7} {'best':>7}")
    for one in compared:
        print(one.line(options.limit))
    if any(one.fails(options.limit) for one in compared):
        raise SystemExit(1)


def pure_parts(new: Path, base: Path, rounds: int) -> list[Compared]:
    """Compare the parts of `pure` in two folders of sources. A part that one of them does not have is left out."""
    counted: dict[str, list[Mapping[str, tuple[float, float]]]] = {"base": [], "new": []}
    for round in range(rounds):
        both = (("base", base), ("new", new))
        for name, sources in both if round % 2 == 0 else reversed(both):
            counted[name].append(_operations(sources))
    if not all(counted["new"]):
        raise SystemExit("the parts of this version could not be counted")
    found: list[Compared] = []
    for part in counted["new"][0]:
        if part == "nothing" or part not in counted["base"][0]:
            continue
        for place, figure, slack in ((0, "operations", 0.0), (1, "CPU in us", _CPU_SLACK)):
            base_figures, new_figures = ([one[part][place] for one in counted[name]] for name in ("base", "new"))
            found.append(Compared(f"{part}, {figure}", base_figures, new_figures, slack))
    return found


def _operations(sources: Path) -> Mapping[str, tuple[float, float]]:
    """Return the bytecode instructions and the CPU time in microseconds of each part."""
    environ = {**os.environ, "PYTHONPATH": str(sources), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "benchmarks.pure", "operations"]
    done = subprocess.run(command, cwd=_ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        # A commit from before a part existed does not have what the part imports.
        print(f"the pure parts of {sources} could not be counted: {done.stderr.strip().splitlines()[-1:]}")
        return {}
    lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
    return {name: (float(count), float(used)) for count, used, name in lines}


def _has_commit(commit: str) -> bool:
    command = ["git", "rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}"]
    try:
        return subprocess.run(command, cwd=_ROOT, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        # Without git, there is no history.
        return False


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
    with ThreadPoolExecutor(2) as pool:
        counts = dict(zip(("base", "new"), pool.map(_instructions, (base, new)), strict=True))
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
    parser.add_argument("--base", help="the commit to compare with (default: HEAD~1)")
    parser.add_argument("--cpu", action="store_true", help="compare the CPU of servers too")
    parser.add_argument("--valgrind", action="store_true", help="count machine instructions too")
    parser.add_argument("--limit", type=float, default=1.10, help="the largest allowed ratio (default: 1.10)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument("--size", type=float, default=1.0, help="a factor on the work of each scenario (default: 1)")
    return parser.parse_args(arguments)
