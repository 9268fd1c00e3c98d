"""A bound for the bytes that a process holds for its clients at once, and for those of one user."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final, Literal

MIB: Final = 1024 * 1024


class BudgetExceeded(Exception):
    """There is no room for more bytes now: not in the process, or not for this user."""

    def __init__(self, whose: Literal["process", "user"], limit: int) -> None:
        self.whose, self.limit = whose, limit
        super().__init__(f"more than {limit} bytes at once for the {whose}")


class ByteBudget:
    """Counts the bytes that are held. May be used from any thread.

    What is alone always fits, however large it is: a bound for one thing is somebody else's to set.
    """

    def __init__(self, limit: int = 256 * MIB, user_limit: int | None = None) -> None:
        self.limit = limit
        self.user_limit = limit if user_limit is None else min(user_limit, limit)
        self._lock = threading.Lock()
        self._held = 0
        self._by_user: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How many bytes are held."""
        return self._held

    def share(self) -> ByteShare:
        """Return a share with no bytes yet."""
        return ByteShare(self)

    def _take(self, share: ByteShare, size: int, user: str | None) -> None:
        with self._lock:
            if self._held > share.size and self._held + size > self.limit:
                raise BudgetExceeded("process", self.limit)
            if user is not None:
                of_user = self._by_user[user]
                if of_user > share.size and of_user + size > self.user_limit:
                    raise BudgetExceeded("user", self.user_limit)
                self._by_user[user] += size
            self._held += size
            share.size += size

    def _give_back(self, share: ByteShare, size: int, user: str | None) -> None:
        with self._lock:
            size = min(size, share.size)
            share.size -= size
            self._held -= size
            if user is not None:
                self._by_user[user] -= size
                if self._by_user[user] <= 0:
                    del self._by_user[user]


class ByteShare:
    """The part of a budget that one request, or one run, holds. ``size`` is how many bytes that are."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._user: str | None = None
        self.size = 0

    def take(self, size: int) -> None:
        """Hold so many bytes more. Raises BudgetExceeded, and holds no more than before."""
        self._budget._take(self, size, self._user)

    def give_back(self, size: int | None = None) -> None:
        """Hold so many bytes less; None: none at all any more."""
        self._budget._give_back(self, self.size if size is None else size, self._user)

    def assign(self, user: str) -> None:
        """Count these bytes as this user's too, from now on. Raises BudgetExceeded, and holds none then."""
        size = self.size
        self.give_back()
        self._user = user
        self.take(size)
