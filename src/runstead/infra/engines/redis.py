"""Redis or Valkey (7 or newer, no modules): open, look whether it is fit for us, close. Advice is in `redis_checks`.

Two ways to ask: `ask` and `run` borrow a connection from a pool, for one answer at a time; a `RedisLine` is a
connection of one's own, for whoever sends many commands at once or blocks. Nothing here tries again: whoever asks
knows whether that is right. One event loop uses it, the one it was opened on.
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

from .exceptions import StorageUnusable
from .redis_errors import RedisUnavailable, translate

Word: TypeAlias = str | bytes | int
Command: TypeAlias = tuple[Word, ...]

OLDEST_REDIS: Final = (7, 0)
"""The first whose scripts tell errors by their codes, and whose PEXPIRE knows GT and LT."""
TIMEOUT: Final = 5.0
"""Seconds that an answer may take. What takes longer counts as not answered."""
POOLED: Final = 32


@dataclass(frozen=True, slots=True)
class RedisScript:
    """A Lua script. It is sent once to a server, and named by its hash from then on."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.source.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[Word], words: Iterable[Word] = ()) -> Command:
        """The command that runs it. The server answers NoScriptError when it has to be sent first."""
        return ("EVALSHA", self.sha, len(keys), *keys, *words)


class RedisLine:
    """A connection of one's own. For one task at a time; after an error it is gone, and another one is needed."""

    def __init__(self, connection: AbstractConnection, place: str) -> None:
        self._connection, self._place = connection, place

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send all, then read all answers. An error that answers one command stands in its place.

        Raises RedisUnavailable when the connection is lost: some, all or none may have been done.
        """
        try:
            await self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
            return [await self._answer() for _ in commands]
        except (RedisError, OSError) as error:
            raise translate(error, self._place) from error

    async def hear(self, silence: float) -> Any:
        """What the server says by itself, to one who has subscribed. After so many seconds of silence it is asked
        whether it is still there, and the answer to that is given. Raises RedisUnavailable when it is not.
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

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


class RedisConnections:
    """An open server; see `open_redis`."""

    def __init__(self, place: str, pool: Any, timeout: float) -> None:
        self.place = place
        self.is_cluster = False
        """Whether commands may only touch keys of one hash slot."""
        self._pool, self._timeout = pool, timeout
        self._closed = False

    async def ask(self, *command: Word) -> Any:
        """One command's answer. Raises StorageError for what is wrong with the server, ResponseError for what is
        wrong with the command.
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
        """A script's answer; the script is sent along when the server does not know it yet."""
        words = tuple(words)
        try:
            return await self.ask(*script.call(keys, words))
        except NoScriptError:
            return await self.ask("EVAL", script.source, len(keys), *keys, *words)

    async def line(self, *, blocking: float = 0) -> RedisLine:
        """A connection of one's own, connected; an answer may take ``blocking`` seconds longer than elsewhere, for
        commands that wait. Raises StorageError.
        """
        connection = self._pool.make_connection()
        connection.socket_timeout = self._timeout + blocking
        try:
            await connection.connect()
        except (RedisError, OSError) as error:
            raise translate(error, self.place) from error
        return RedisLine(connection, self.place)

    async def look(self) -> None:
        """Whether it answers and is fit for us. Raises StorageError, saying what to do."""
        about = await self.about()
        version = about.get("valkey_version") or about.get("redis_version", "")
        numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if numbers < OLDEST_REDIS:
            raise StorageUnusable(f"{self.place} runs version {version or 'unknown'}; Redis 7 or Valkey is needed")
        self.is_cluster = about.get("cluster_enabled") == "1"

    async def about(self) -> dict[str, str]:
        """What the server tells of itself (INFO)."""
        text: bytes = await self.ask("INFO")
        pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines())
        return {name: value for name, mark, value in pairs if mark and not name.startswith("#")}

    async def close(self) -> None:
        self._closed = True
        with suppress(RedisError, OSError):
            await self._pool.disconnect()


@asynccontextmanager
async def open_redis(
    url: str, *, timeout: float = TIMEOUT, client_name: str = "runstead"
) -> AsyncIterator[RedisConnections]:
    """Connect to ``redis://[user:password@]host[:port][/db]`` (``rediss://`` for TLS; ``?ssl_ca_certs=`` and the other
    ``ssl_*`` options of redis-py where the system's certificates do not do), and disconnect at the end.

    ``timeout`` is in seconds, for connecting and for each answer. Raises StorageError, saying what to do.
    """
    connections = RedisConnections(place_of(url), _pool(url, timeout, client_name), timeout)
    try:
        await connections.look()
        yield connections
    finally:
        await asyncio.shield(connections.close())


def place_of(url: str) -> str:
    """The URL as people may see it: without user, password and options."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "localhost"
    path = parts.path if parts.path not in ("", "/") else ""
    return f"{parts.scheme}://{host}{port}{path}"


def _pool(url: str, timeout: float, client_name: str) -> Any:
    if not url.startswith(("redis://", "rediss://")):
        raise StorageUnusable("the URL of Redis begins with redis://, or with rediss:// for TLS")
    try:
        # Version 2 of the protocol: its answers have one shape, and nothing is sent without having been asked for.
        # Any: redis-py leaves half of its pools without types.
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
        # An option that makes no sense is told by the first connection, not by the pool.
        pool.make_connection()
    except (ValueError, TypeError, RedisError) as error:
        raise StorageUnusable(f"the URL {place_of(url)} cannot be used: {error}") from error
    return pool
