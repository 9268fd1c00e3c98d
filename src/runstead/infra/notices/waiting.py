"""A run may have become claimable: a bell that rings in every process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .redis import RedisNotices


class WaitingNotices:
    """Rings everywhere. Made on the loop of the notices; `ring` may be called from any thread."""

    def __init__(self, notices: RedisNotices) -> None:
        self._notices = notices
        self._loop = asyncio.get_running_loop()
        self._ringing = False

    def ring(self) -> None:
        """A run may have become claimable. For stores to call after their commits: quick, never blocks, never fails."""
        # Rings that come before the first was told are one; reading the flag from another thread is safe, for it is
        # cleared before it is told.
        if self._ringing:
            return
        self._ringing = True
        try:
            self._loop.call_soon_threadsafe(self._tell)
        except RuntimeError:
            # The loop is closed: this process is gone, and the rows are still there.
            return

    @contextmanager
    def heard_by(self, look: Callable[[], None]) -> Iterator[None]:
        """Call ``look`` for every ring of any process, and when some may have been lost; until the end of the block."""
        with self._notices.listener("waiting", lambda _: look(), missed=look):
            yield

    def _tell(self) -> None:
        self._ringing = False
        self._notices.tell("waiting", "")
