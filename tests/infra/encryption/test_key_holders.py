"""Processes of a cluster publish their keys, so that nothing is encrypted that one of them could not read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runstead.infra.engines.data_dir import PID_FILE, keys_of_owner, own_data_dir, owner_of
from runstead.infra.storage.database import Database
from runstead.infra.storage.key_holders import GONE_AFTER, announced_keys, processes_without
from runstead.testing.clock import ManualClock
from tests.infra.conftest import database  # noqa: F401


async def lacking(database: Database, clock: ManualClock, key_id: str) -> Sequence[str]:  # noqa: F811
    return await database.read(lambda connection: processes_without(connection, clock, key_id))


async def test_process_is_listed_without_the_keys_it_lacks_until_it_ends(database: Database) -> None:  # noqa: F811
    clock = ManualClock()
    async with announced_keys(database, clock, ["old", "new"]):
        async with announced_keys(database, clock, ["old"]):
            assert await lacking(database, clock, "old") == []
            assert len(await lacking(database, clock, "new")) == 1
        assert await lacking(database, clock, "new") == []
        assert len(await lacking(database, clock, "other")) == 1


async def test_killed_process_is_removed_and_running_one_is_kept(database: Database) -> None:  # noqa: F811
    killed, living = ManualClock(), ManualClock()
    async with announced_keys(database, killed, []), announced_keys(database, living, []):
        assert len(await lacking(database, living, "new")) == 2
        # The clock of the killed process is stopped: it records nothing any more.
        left = GONE_AFTER.total_seconds() + 1
        while left > 0:
            left -= 10
            await living.advance(10)
            while len(living_records := await lacking(database, living, "new")) == 0:
                await living.advance(0)
        assert len(living_records) == 1


def test_owner_of_a_directory_publishes_its_keys(tmp_path: Path) -> None:
    with own_data_dir(tmp_path, ["b", "a"]):
        assert keys_of_owner(tmp_path) == {"a", "b"}
        assert owner_of(tmp_path) is not None
    with own_data_dir(tmp_path):
        assert keys_of_owner(tmp_path) == frozenset()
        (tmp_path / PID_FILE).write_text("")
        assert (keys_of_owner(tmp_path), owner_of(tmp_path)) == (frozenset(), None)
    assert keys_of_owner(tmp_path) == frozenset()
