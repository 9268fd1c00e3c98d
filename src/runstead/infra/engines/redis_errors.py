"""Translate errors of Redis or Valkey that concern the whole server into our errors, with the remedy."""

from __future__ import annotations

import asyncio

from redis import exceptions as said

from runstead.resources.storage_errors import StorageError, StorageUnavailable, StorageUnusable


class RedisUnavailable(StorageUnavailable):
    """The server does not answer, or not in time. The command may or may not have been executed."""


class RedisRefused(StorageUnusable):
    """The server answers and refuses access."""

    def __init__(self, place: str, details: str) -> None:
        self.place, self.details = place, details
        super().__init__(f"{place} refuses access ({details}); check the user and the password in the URL")


class RedisFull(StorageError):
    """The server has reached its maxmemory and may not evict anything for new entries."""

    kind = "busy"

    def __init__(self, place: str) -> None:
        self.place = place
        super().__init__(
            f"{place} has no memory left for new entries; raise its maxmemory, or set its maxmemory-policy to "
            "volatile-ttl, which gives up the streams of ended runs first"
        )


class RedisReadOnly(StorageError):
    """The server is a replica, or cannot write to its own disk."""

    kind = "read_only"

    def __init__(self, place: str, details: str) -> None:
        self.place, self.details = place, details
        super().__init__(f"{place} takes no writes ({details}); give the address of the primary, or look at its disk")


def translate(error: BaseException, place: str) -> BaseException:
    """Return one of our errors for an error of the whole server; return any other error unchanged."""
    text = " ".join(str(error).split())
    found: StorageError | None = None
    match error:
        case said.AuthenticationError() | said.AuthorizationError() | said.NoPermissionError():
            found = RedisRefused(place, text)
        case said.OutOfMemoryError():
            found = RedisFull(place)
        case said.ReadOnlyError():
            found = RedisReadOnly(place, text)
        case said.ResponseError() if text.startswith("MISCONF"):
            found = RedisReadOnly(place, text)
        case said.ClusterDownError() | said.TryAgainError():
            found = RedisUnavailable(place, text)
        case said.ConnectionError() | said.TimeoutError() | OSError() | asyncio.TimeoutError():
            found = RedisUnavailable(place, text or type(error).__name__)
    if found is None:
        return error
    found.__cause__ = error
    return found
