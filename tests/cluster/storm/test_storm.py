"""A short storm of all kinds of faults over two gateways and three workers; ``make storm`` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..nodes import Cluster
from .storm import GRAPHS, Storm, ride_out

SEED = int(os.environ.get("STORM_SEED", "2"))


@pytest.mark.timeout(300)
async def test_storm_loses_no_run_and_executes_none_twice(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with Cluster.running(tmp_path, config=GRAPHS, environ={"STORM_WITNESS": str(witness)}) as cluster:
        outcome = await ride_out(Storm(SEED, seconds=18, clients=8, calm=1.0), cluster, witness)
        print(outcome)
        assert outcome.wrong == [], f"{outcome}\n" + "\n".join([*outcome.told, cluster.logs])
        assert outcome.account.terminals.keys() == {1}
        # Otherwise no fault was applied.
        assert outcome.harms.total() >= 5
        assert outcome.ledger.counts["rejoined"] > 0
        assert outcome.account.accepted > 10
