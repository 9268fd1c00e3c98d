"""``python -m tests.cluster.storm``: a long storm that prints its figures; a nonzero exit code means a violation."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

from ..nodes import Cluster
from .storm import GRAPHS, Storm, ride_out

_DISK: Final = "1500m"
"""Disk size for PostgreSQL: more than it needs for hours, and small enough to be filled quickly."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1_800.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--calm", type=float, default=6.0, help="seconds of peace between two harms, at most")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--logs", type=Path, help="a folder for what the nodes have logged")
    chosen = parser.parse_args()
    storm = Storm(chosen.seed, chosen.seconds, chosen.clients, chosen.calm)
    print(storm, flush=True)
    with tempfile.TemporaryDirectory(prefix="runstead-storm-", ignore_cleanup_errors=True) as folder:
        witness = Path(folder) / "witness"
        with Cluster.running(
            Path(folder),
            gateways=chosen.gateways,
            workers=chosen.workers,
            config=GRAPHS,
            environ={"STORM_WITNESS": str(witness)},
            postgres_disk=_DISK,
            # Everything is checked at the end.
            stream_retention_seconds=chosen.seconds + 3_600,
        ) as cluster:
            outcome = asyncio.run(ride_out(storm, cluster, witness))
            if chosen.logs:
                cluster.copy_logs(chosen.logs)
            if outcome.wrong:
                print("\n".join(outcome.told))
                print(cluster.logs)
    print("\n".join(outcome.wrong[:200]))
    print(outcome, flush=True)
    return 1 if outcome.wrong or outcome.account.terminals.keys() != {1} else 0


if __name__ == "__main__":
    sys.exit(main())
