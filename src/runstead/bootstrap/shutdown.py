"""Shutdown of a server: it reports not ready, then drains."""

from __future__ import annotations

from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.stream_bridge import StreamBridge

from .profile import Notices


class Closing:
    """Shutdown that happens once, however often it is requested."""

    def __init__(self, runs: RunsFacade, bridge: StreamBridge, notices: Notices, grace: float) -> None:
        self._runs, self._bridge, self._notices, self._grace = runs, bridge, notices, grace
        self.is_leaving = False
        self._has_begun = False

    def leave(self) -> None:
        """Report not ready from now on; everything else continues until the drain."""
        self.is_leaving = True

    async def drain(self) -> None:
        """Drain the runs while their readers still read, then end the streams, so that connections can close."""
        self.leave()
        if self._has_begun:
            return
        self._has_begun = True
        await self._runs.close(self._grace)
        await self._bridge.close()
        self._notices.close()
