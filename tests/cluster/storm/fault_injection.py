"""Applies the faults of a plan to a cluster, repairs them, and records each absence of a process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.processes.server import ServerProcess
from tests.processes.skewed import skewed
from tests.servers.disks import full

from ..nodes import Cluster, freeze, thaw
from .limits import frozen, no_descriptors, no_memory
from .overlap_detector import Cut, Strain
from .plan import Harm
from .streams import Loss, streams_of

_SKEW: Final = 7_200.0
"""Maximum seconds by which a clock is wrong."""
_GOES_WITHIN: Final = 40.0
"""Seconds for an orderly process exit: its grace, and its timeouts for unavailable servers."""


@dataclass(slots=True)
class Harmer:
    """``done``: number of faults by kind. ``losses``: each loss of all streams with their server. ``outages``: when
    PostgreSQL or Valkey did not work, in epoch seconds."""

    cluster: Cluster
    cuts: list[Cut] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    strains: list[Strain] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)

    async def go_through(self, lane: Sequence[Harm], until: float) -> None:
        """Apply all faults of a lane in sequence, until that time (monotonic). Everything is repaired at the end."""
        for harm in lane:
            if time.monotonic() + harm.after > until:
                return
            await asyncio.sleep(harm.after)
            self.told.append(f"{time.monotonic():.1f} {harm}")
            await asyncio.to_thread(self._do, harm)
            self.done[harm.kind] += 1

    def _do(self, harm: Harm) -> None:
        verb, _, whom = harm.kind.partition(" ")
        if whom == "worker":
            self._to_node(verb, self.cluster.workers[harm.target], harm)
        elif whom == "gateway":
            self._to_node(verb, self.cluster.gateways[harm.target], harm)
        else:
            since = time.time()
            (self._to_postgres if whom == "postgres" else self._to_valkey)(verb, harm.lasts)
            self.outages.append((since, time.time()))

    def _to_node(self, verb: str, node: ServerProcess, harm: Harm) -> None:
        pid, lasts = node.pid, harm.lasts
        if verb in ("starve", "squeeze"):
            self._take_from(verb, node, lasts)
            return
        if verb == "freeze":
            freeze(node)
            since = time.monotonic()
            time.sleep(lasts)
            self.cuts.append(Cut(pid, since, time.monotonic()))
            thaw(node)
            return
        if verb == "stop":
            self._see_out(node)
        else:
            node.kill()
        self.cuts.append(Cut(pid, time.monotonic()))
        if verb == "skew":
            self._skew(node, harm)
            return
        time.sleep(lasts)
        node.start()

    def _skew(self, node: ServerProcess, harm: Harm) -> None:
        """Run the node with a wrong clock for a while."""
        with node.running_as(skewed(_SKEW * harm.size)):
            node.start()
            pid = node.pid
            time.sleep(harm.lasts)
            node.kill()
            self.cuts.append(Cut(pid, time.monotonic()))
        node.start()

    def _take_from(self, what: str, node: ServerProcess, lasts: float) -> None:
        """Leave the node without file descriptors, or memory, for a while. If it exits, restart it."""
        pid, since = node.pid, time.monotonic()
        with (no_descriptors if what == "starve" else no_memory)(pid):
            until = time.monotonic() + lasts
            while time.monotonic() < until and node.is_alive():
                time.sleep(0.02)
        self.strains.append(Strain(pid, since, time.monotonic()))
        if not node.is_alive():
            self.cuts.append(Cut(pid, time.monotonic()))
            self.done["out of memory" if what == "squeeze" else "out of descriptors"] += 1
            node.restart()

    def _see_out(self, node: ServerProcess) -> None:
        """Terminate a process and check that it exits, whatever else is broken."""
        node.terminate()
        try:
            code = node.wait(_GOES_WITHIN)
        except subprocess.TimeoutExpired:
            self.faults.append(f"{node.data_dir.name} was asked to go, and did not within {_GOES_WITHIN} s")
            node.kill()
        else:
            if code != 0:
                self.faults.append(f"{node.data_dir.name} was asked to go, and went with {code}")

    def _to_postgres(self, verb: str, lasts: float) -> None:
        postgres = self.cluster.postgres
        if verb == "freeze":
            with frozen(postgres.pid):
                time.sleep(lasts)
            return
        if verb == "fill":
            with full(postgres.folder):
                time.sleep(lasts)
            # It may have exited by itself, or be exiting.
            postgres.stop(signal.SIGINT)
        else:
            postgres.stop(signal.SIGINT if verb == "restart" else signal.SIGQUIT)
            time.sleep(lasts)
        postgres.start()

    def _to_valkey(self, verb: str, lasts: float) -> None:
        valkey = self.cluster.valkey
        if verb == "freeze":
            valkey.freeze()
            time.sleep(lasts)
            valkey.thaw()
            return
        if verb == "forget":
            streams, since = streams_of(valkey), time.time()
            valkey.kill()
            valkey.forget()
            time.sleep(lasts)
            valkey.start()
            self.losses.append(Loss(streams, since, time.time()))
            return
        valkey.stop()
        time.sleep(lasts)
        valkey.start()
