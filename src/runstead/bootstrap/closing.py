"""How a server leaves: first it says so, then it drains."""

from __future__ import annotations

from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.stream_bridge import StreamBridge

from .profile import Notices


class Closing:
    """The end of serving: once, however often it is asked for."""

    def __init__(self, runs: RunsFacade, bridge: StreamBridge, notices: Notices, grace: float) -> None:
        self._runs, self._bridge, self._notices, self._grace = runs, bridge, notices, grace
        self.is_leaving = False
        self._has_begun = False

    def leave(self) -> None:
        """Not ready from now on; everything else goes on until the drain."""
        self.is_leaving = True

    async def drain(self) -> None:
        """Runs first, while their readers still read; then the streams end, so that connections can close."""
        self.leave()
        if self._has_begun:
            return
        self._has_begun = True
        await self._runs.close(self._grace)
        await self._bridge.close()
        self._notices.close()
