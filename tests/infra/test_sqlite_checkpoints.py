"""Checkpoints on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.checkpoints.sqlite import SqliteCheckpoints, open_checkpoints
from runstead.testing.conformance.checkpoint_store import CheckpointStoreConformance


@pytest.fixture
async def checkpoints(tmp_path: Path) -> AsyncIterator[SqliteCheckpoints]:
    async with open_checkpoints(tmp_path / "checkpoints.sqlite") as checkpoints:
        yield checkpoints


class TestSqliteCheckpoints(CheckpointStoreConformance):
    pass
