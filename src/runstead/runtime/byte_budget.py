"""Limit for the bytes that a process holds at once for all its clients, and for one user."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final, Literal

MIB: Final = 1024 * 1024


class BudgetExceeded(Exception):
    """The budget of the process or of this user has no room for more bytes now."""

    def __init__(self, whose: Literal["process", "user"], limit: int) -> None:
        self.whose, self.limit = whose, limit
        super().__init__(f"more than {limit} bytes at once for the {whose}")


class ByteBudget:
    """Counter of held bytes. Usable from any thread.

    A single holder is always admitted, however large it is: other code limits the size of a single object.
    """

    def __init__(self, limit: int = 256 * MIB, user_limit: int | None = None) -> None:
        self.limit = limit
        self.user_limit = limit if user_limit is None else min(user_limit, limit)
        self._lock = threading.Lock()
        self._held = 0
        self._by_user: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Number of held bytes."""
        return self._held

    def share(self) -> ByteShare:
        """Return a new, empty share."""
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
    """Part of a budget that one request or run holds. ``size`` is in bytes."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._user: str | None = None
        self.size = 0

    def take(self, size: int) -> None:
        """Take more bytes. Raises BudgetExceeded, and then holds no more than before."""
        self._budget._take(self, size, self._user)

    def give_back(self, size: int | None = None) -> None:
        """Give bytes back; None gives all back."""
        self._budget._give_back(self, self.size if size is None else size, self._user)

    def assign(self, user: str) -> None:
        """Count these bytes for this user too, from now on. Raises BudgetExceeded, and then holds none."""
        size = self.size
        self.give_back()
        self._user = user
        self.take(size)
