"""Records failed logins in the audit log, in a number of entries that a flood of requests cannot make large."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from runstead.runtime.actor_context import RESERVED_USER_IDS, ActorContext
from runstead.wire.credentials import Authenticator, Credentials
from runstead.wire.errors import Problem, problem_of

from .audit import AuditLog

UNAUTHENTICATED: Final = ActorContext(
    f"{RESERVED_USER_IDS}unauthenticated", tenant_id=f"{RESERVED_USER_IDS}unauthenticated"
)
"""Actor of these entries: neither user nor tenant is known. No user can have these ids, so only operators read them."""
_PERIOD: Final = timedelta(hours=1)
_MOST_ADDRESSES: Final = 1_000
"""Addresses that are counted separately in a period. All others are counted together, without their address."""
_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class RecordedLogins:
    """An authenticator that records the requests which another authenticator refuses with 401 or 403.

    Of the failures of one address in an hour, the first, tenth, hundredth and so on is recorded, with its number.
    """

    def __init__(self, authenticator: Authenticator, source: Callable[[], AuditLog | None]) -> None:
        """``source``: the audit log of the running application; None where nothing is recorded."""
        self._authenticator, self._source = authenticator, source
        self._failures: Counter[str | None] = Counter()
        self._since: datetime | None = None

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        try:
            return await self._authenticator.authenticate(credentials)
        except Exception as error:
            problem, log = problem_of(error), self._source()
            if problem.status in _REFUSED and log is not None:
                await self._record(log, credentials, problem)
            raise

    async def _record(self, log: AuditLog, credentials: Credentials, problem: Problem) -> None:
        address, failures = self._count(credentials.client, log.clock.now())
        if failures != 10 ** (len(str(failures)) - 1):
            return
        await log.record(
            UNAUTHENTICATED,
            action="login",
            # The whole path, since most attacks are on paths that are no routes.
            route=f"{credentials.method} {credentials.path}",
            status=problem.status,
            client=address,
            details={"failures": failures, "reason": problem.detail},
        )

    def _count(self, address: str | None, now: datetime) -> tuple[str | None, int]:
        """Count a failure; return the address that it is counted for, and the number of its failures."""
        if self._since is None or not timedelta() <= now - self._since < _PERIOD:
            self._failures.clear()
            self._since = now
        if address not in self._failures and len(self._failures) >= _MOST_ADDRESSES:
            address = None
        self._failures[address] += 1
        return address, self._failures[address]
