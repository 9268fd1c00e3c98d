"""The list of all streams in Redis, which limits their number and selects the ones to delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runstead.infra.engines.redis import Command, RedisConnections
from runstead.runtime.stream_bridge.exceptions import CapacityExceeded

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
        """Register a run, which may be registered already; return the run to delete in its favour, if any.

        Raises CapacityExceeded if none can be deleted, and StorageError.
        """
        word, leaver = await self._do("enter", self.unowned, [run_id])
        if word == b"full":
            raise CapacityExceeded(self.most)
        return leaver.decode() or None

    def ended(self, run_id: str, *, asked: bool) -> Command:
        """Return the command that registers the end of a run."""
        keep = self.awaiting if asked else self.retention
        return script("index").call((self.keys.live, self.keys.ended), ("ended", keep, self.most, run_id))

    def entered(self, run_ids: Sequence[str]) -> Command:
        """Return the command that registers runs regardless of the limit, if opened while Redis was unavailable."""
        return script("index").call((self.keys.live, self.keys.ended), ("renew", self.unowned, self.most, *run_ids))

    async def renew(self, run_ids: Sequence[str]) -> None:
        """Extend the entries of runs that a live process owns. Raises StorageError."""
        await self._do("renew", self.unowned, run_ids)

    async def live(self) -> Sequence[str]:
        """Return runs whose streams have not ended: up to some hundred, sampled at random. Raises StorageError."""
        drawn: Sequence[bytes] = await self.connections.ask("ZRANDMEMBER", self.keys.live, _DRAWN)
        return [run_id.decode() for run_id in drawn]

    async def leave(self, run_id: str) -> None:
        """Remove a run whose stream was deleted. Raises StorageError."""
        await self._do("left", 0, [run_id])

    async def drop_logs(self, at_most: int) -> int:
        """Delete the logs of the ended streams that would expire first, to free memory; return their number.

        Uses only commands that a server without free memory accepts. The status of those streams stays available for
        as long as it would have been. Raises StorageError.
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
