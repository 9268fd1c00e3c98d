"""The scan for messages whose run has ended, over threads that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from runstead.infra.checkpoints.damage import CheckpointDamaged
from runstead.resources.storage_errors import StorageClosed
from runstead.runtime.runs.internal.execution.waiting_messages import WaitingMessages
from runstead.runtime.runs.steering import TakenMessage
from runstead.runtime.runs.types import ThreadId
from tests.faults.kernel import Storage


class Messages:
    """The part of a SteeringStore that scans use. Reading the first of its threads fails."""

    def __init__(self, error: Exception) -> None:
        self.error, self.moved = error, list[ThreadId]()

    async def list_idle(self) -> Sequence[ThreadId]:
        return [ThreadId("unreadable"), ThreadId("fine")]

    async def list_unresolved(self, thread_id: ThreadId) -> Sequence[TakenMessage]:
        if thread_id == "unreadable":
            raise self.error
        return []

    async def move(self, thread_id: ThreadId) -> None:
        self.moved.append(thread_id)


@pytest.mark.parametrize(
    "error", [CheckpointDamaged("unreadable", "c-1", "no key"), ValueError("no key")], ids=["damaged", "another"]
)
async def test_scan_goes_on_after_a_thread_that_cannot_be_read(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    messages: Any = Messages(error)
    await WaitingMessages(Storage().runtime(), messages).scan()
    assert messages.moved == ["fine"]
    assert "messages for thread unreadable still wait" in caplog.text


async def test_scan_ends_when_the_storage_fails() -> None:
    messages: Any = Messages(StorageClosed("runs.sqlite"))
    with pytest.raises(StorageClosed):
        await WaitingMessages(Storage().runtime(), messages).scan()
    assert messages.moved == []
