"""A run asks no more of PostgreSQL and Redis than before: messages are round trips, commits wait for a disk."""

from __future__ import annotations

from pathlib import Path

from benchmarks.counts import LOGGED, Counts, counts
from tests.servers.postgres import own_postgres
from tests.servers.valkey import own_valkey

# A little more than the least, which `make bench ARGS=counts` shows: on a busy machine, periodic work comes in between.
MOST = Counts(messages=36, commits=16, sent=21, commands=68)


async def test_trivial_run_asks_for_no_more_than_before(tmp_path: Path) -> None:
    with own_postgres(None, **LOGGED) as postgres, own_valkey(tmp_path / "valkey") as valkey:
        found = await counts(postgres, valkey, tmp_path, runs=5)
    assert found.least(MOST) == found, f"a run has become more expensive; it needs {found.line()}"
