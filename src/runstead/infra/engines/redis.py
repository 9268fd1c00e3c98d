"""Redis or Valkey (7 or newer, no modules): open, check for fitness, close. Advice for operators is in `redis_checks`.

There are two ways to send commands: `ask` and `run` borrow a connection from a pool for one reply at a time; a
`RedisLine` is a dedicated connection, for callers that send many commands at once or block. Nothing here retries: the
caller knows whether that is right. Everything belongs to the event loop that opened it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from runstead.resources.storage_errors import StorageUnusable

from .figures import PoolFigures
from .redis_errors import RedisUnavailable, translate

Word: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Word, ...]

OLDEST_REDIS: Final = (7, 0)
"""The first version whose scripts distinguish errors by their codes, and whose PEXPIRE knows GT and LT."""
TIMEOUT: Final = 5.0
"""Seconds that a reply may take. A later reply counts as missing."""
POOLED: Final = 32


@dataclass(frozen=True, slots=True)
class RedisScript:
    """A Lua script. It is sent to a server once and then called by its hash."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.source.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[Word], words: Iterable[Word] = ()) -> Command:
        """Return the command that calls the script. The server answers NoScriptError if it has to be sent first."""
        return ("EVALSHA", self.sha, len(keys), *keys, *words)


class RedisLine:
    """A dedicated connection. For one task at a time; after an error it is unusable and must be replaced."""

    def __init__(self, connection: AbstractConnection, place: str) -> None:
        self._connection, self._place = connection, place

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send all commands, then read all replies. An error reply to one command stands in its place in the list.

        Raises RedisUnavailable if the connection is lost: some, all or none of the commands may have been executed.
        """
        try:
            await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
            return [await self._answer() for _ in commands]
        except (RedisError, OSError) as error:
            raise translate(error, self._place) from error

    async def hear(self, silence: float) -> object:
        """Return the next message of the server to a subscriber.

        After ``silence`` seconds without one, a PING is sent, and its reply is returned. Raises RedisUnavailable if
        there is none.
        """
        try:
            said = await self._connection.read_response(timeout=silence)
            if said is None:
                await self._connection.send_command("PING", check_health=False)
                said = await self._connection.read_response()
        except (RedisError, OSError) as error:
            raise translate(error, self._place) from error
        return said

    async def close(self) -> None:
        with suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)

    async def _answer(self) -> object:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


class RedisConnections:
    """Connections to a server; see `open_redis`."""

    def __init__(self, place: str, pool: Any, timeout: float) -> None:
        self.place = place
        self.is_cluster = False
        """True if a command may only use keys of one hash slot."""
        self._pool, self._timeout = pool, timeout
        self._closed = False

    async def ask(self, *command: Word) -> Any:
        """Return the reply to one command.

        Raises StorageError if the server fails, ResponseError for a wrong command.
        """
        if self._closed:
            raise RedisUnavailable(self.place, "closed; the server is shutting down")
        connection: AbstractConnection | None = None
        try:
            connection = await self._pool.get_connection()
            await connection.send_command(*command)
            return await connection.read_response()
        except (RedisError, OSError) as error:
            translated = translate(error, self.place)
            if translated is error:
                raise
            raise translated from error
        finally:
            if connection is not None:
                await self._pool.release(connection)

    async def run(self, script: RedisScript, keys: Sequence[Word], words: Iterable[Word] = ()) -> Any:
        """Return a script's reply; the script is sent along if the server does not know it yet."""
        words = tuple(words)
        try:
            return await self.ask(*script.call(keys, words))
        except NoScriptError:
            return await self.ask("EVAL", script.source, len(keys), *keys, *words)

    async def line(self, *, blocking: float = 0) -> RedisLine:
        """Return a dedicated, connected connection. Raises StorageError.

        A reply may take ``blocking`` seconds longer than the timeout, for commands that wait.
        """
        connection = self._pool.make_connection()
        connection.socket_timeout = self._timeout + blocking
        try:
            await connection.connect()
        except (RedisError, OSError) as error:
            raise translate(error, self.place) from error
        return RedisLine(connection, self.place)

    async def look(self) -> None:
        """Check that the server answers and has a supported version. Raises StorageError with the remedy."""
        about = await self.about()
        version = about.get("valkey_version") or about.get("redis_version", "")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if numbers < OLDEST_REDIS:
            raise StorageUnusable(f"{self.place} runs version {version or 'unknown'}; Redis 7 or Valkey is needed")
        self.is_cluster = about.get("cluster_enabled") == "1"

    async def about(self) -> dict[str, str]:
        """Return the server's description of itself (INFO)."""
        text: bytes = await self.ask("INFO")
        pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines())
        return {name: value for name, mark, value in pairs if mark and not name.startswith("#")}

    def pool_figures(self) -> PoolFigures:
        """Return the connections of the pool."""
        in_use, idle = len(self._pool._in_use_connections), len(self._pool._available_connections)
        return PoolFigures(self._pool.max_connections, in_use, idle)

    async def close(self) -> None:
        self._closed = True
        with suppress(RedisError, OSError):
            await self._pool.disconnect()


@asynccontextmanager
async def open_redis(
    url: str, *, timeout: float = TIMEOUT, client_name: str = "runstead"
) -> AsyncIterator[RedisConnections]:
    """Connect to ``redis://[user:password@]host[:port][/db]``, and disconnect at the end.

    Use ``rediss://`` for TLS, and ``?ssl_ca_certs=`` and the other ``ssl_*`` options of redis-py if the system's
    certificates are not sufficient. ``timeout`` is in seconds, for connecting and for each reply. Raises StorageError
    with the remedy.
    """
    connections = RedisConnections(place_of(url), _pool(url, timeout, client_name), timeout)
    try:
        await connections.look()
        yield connections
    finally:
        await asyncio.shield(connections.close())


def place_of(url: str) -> str:
    """Return the URL for display: without user, password and options."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "localhost"
    path = parts.path if parts.path not in ("", "/") else ""
    return f"{parts.scheme}://{host}{port}{path}"


def _pool(url: str, timeout: float, client_name: str) -> object:
    if not url.startswith(("redis://", "rediss://")):
        raise StorageUnusable("the URL of Redis begins with redis://, or with rediss:// for TLS")
    try:
        # Version 2 of the protocol: its replies have one shape, and the server never sends unrequested ones. Any:
        # redis-py leaves half of its pools without types.
        pool: Any = BlockingConnectionPool.from_url(
            url,
            protocol=2,
            max_connections=POOLED,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            client_name=client_name,
        )
        # An invalid option fails when the first connection is made, not when the pool is created.
        pool.make_connection()
    except (ValueError, TypeError, RedisError) as error:
        raise StorageUnusable(f"the URL {place_of(url)} cannot be used: {error}") from error
    return pool
