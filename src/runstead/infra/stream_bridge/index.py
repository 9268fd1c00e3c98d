"""How many streams there are in Redis, and which may go when there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runstead.infra.engines.redis import Command, RedisConnections
from runstead.runtime.stream_bridge import CapacityExceeded

from .keys import KeySpace
from .scripts import script

_DRAWN: Final = 500


@dataclass(frozen=True, slots=True)
class StreamIndex:
    """The list that all processes share. Times are in milliseconds."""

    connections: RedisConnections
    keys: KeySpace
    most: int
    unowned: int
    retention: int
    awaiting: int

    async def enter(self, run_id: str) -> str | None:
        """Make room for a run, which may be there already; gives the run that has to be forgotten for it.

        Raises CapacityExceeded when nothing can go, and StorageError.
        """
        word, leaver = await self._do("enter", self.unowned, [run_id])
        if word == b"full":
            raise CapacityExceeded(self.most)
        return leaver.decode() or None

    def ended(self, run_id: str, *, asked: bool) -> Command:
        """The command that says that a run has ended."""
        keep = self.awaiting if asked else self.retention
        return script("index").call((self.keys.live, self.keys.ended), ("ended", keep, self.most, run_id))

    def entered(self, run_ids: Sequence[str]) -> Command:
        """The command that says that these are there, over the bound or not: for those opened while Redis was away."""
        return script("index").call((self.keys.live, self.keys.ended), ("renew", self.unowned, self.most, *run_ids))

    async def renew(self, run_ids: Sequence[str]) -> None:
        """These are owned by somebody who lives. Raises StorageError."""
        await self._do("renew", self.unowned, run_ids)

    async def live(self) -> Sequence[str]:
        """Some hundred runs whose streams have not ended, drawn by chance when there are more. Raises StorageError."""
        drawn: Sequence[bytes] = await self.connections.ask("ZRANDMEMBER", self.keys.live, _DRAWN)
        return [run_id.decode() for run_id in drawn]

    async def leave(self, run_id: str) -> None:
        """A run was forgotten. Raises StorageError."""
        await self._do("left", 0, [run_id])

    async def drop_logs(self, at_most: int) -> int:
        """Delete the logs of the ended streams that would leave soonest, to free memory; returns how many that were.

        Only with commands that a server takes which has no memory left. How those streams ended stays known for as
        long as it would have been. Raises StorageError.
        """
        leavers: Sequence[bytes] = await self.connections.ask("ZRANGE", self.keys.ended, 0, at_most - 1)
        for run_id in leavers:
            await self.connections.ask("DEL", self.keys.of(run_id.decode()).log)
        if leavers:
            await self.connections.ask("ZREM", self.keys.ended, *leavers)
        return len(leavers)

    async def _do(self, what: str, keep: int, run_ids: Sequence[str]) -> Sequence[bytes]:
        words: tuple[str | int, ...] = (what, keep, self.most, *run_ids)
        answer: Sequence[bytes] = await self.connections.run(script("index"), (self.keys.live, self.keys.ended), words)
        return answer
