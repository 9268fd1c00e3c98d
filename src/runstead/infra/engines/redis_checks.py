"""Health checks of Redis for `runstead doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from redis.exceptions import ResponseError

from runstead.resources.health_checks import HealthCheck
from runstead.resources.storage_errors import StorageError

from .redis import RedisConnections, open_redis

_NEARLY: Final = 0.9
"""The share of maxmemory from which on a warning is given."""
_MB: Final = 1024 * 1024
_FIT_POLICIES: Final = ("noeviction", "volatile-ttl")


async def check_redis(url: str) -> list[HealthCheck]:
    """Return all findings. A server that cannot be reached or used yields a single finding; nothing is raised."""
    try:
        async with open_redis(url) as connections:
            about = await connections.about()
            policy = about.get("maxmemory_policy") or await _setting(connections, "maxmemory-policy")
    except StorageError as error:
        return [HealthCheck("redis", "failed", str(error), "correct RUNSTEAD_REDIS_URL, or start the server")]
    return [
        _version(connections.place, about),
        _role(about),
        *_memory(about, policy),
        _persistence(about),
    ]


async def _setting(connections: RedisConnections, name: str) -> str:
    """Return a setting of the server; "unknown" if it refuses CONFIG, as managed servers often do."""
    try:
        answer: list[Any] = await connections.ask("CONFIG", "GET", name)
    except (ResponseError, StorageError):
        return "unknown"
    return answer[1].decode() if len(answer) == 2 else "unknown"


def _version(place: str, about: Mapping[str, str]) -> HealthCheck:
    kind = "Valkey" if "valkey_version" in about else "Redis"
    version = about.get("valkey_version") or about.get("redis_version", "unknown")
    mode = ", a cluster" if about.get("cluster_enabled") == "1" else ""
    return HealthCheck("redis", "ok", f"{kind} {version} at {place}{mode}")


def _role(about: Mapping[str, str]) -> HealthCheck:
    if about.get("role") != "master":
        return HealthCheck("redis role", "failed", "it is a replica, and takes no writes", "give the primary's address")
    return HealthCheck("redis role", "ok", "primary")


def _memory(about: Mapping[str, str], policy: str) -> Iterator[HealthCheck]:
    used, most = int(about.get("used_memory", 0)), int(about.get("maxmemory", 0))
    if most == 0:
        yield HealthCheck(
            "redis memory",
            "warning",
            f"{used // _MB} MB used, without a limit",
            "set its maxmemory: without one, it uses all memory of the machine before it refuses writes",
        )
    elif used >= most:
        yield HealthCheck(
            "redis memory",
            "failed",
            f"{used // _MB} of {most // _MB} MB are used: new events of runs are refused",
            "raise its maxmemory; runs continue meanwhile, and their readers get a notice of the gap",
        )
    elif used > most * _NEARLY:
        yield HealthCheck(
            "redis memory", "warning", f"{used // _MB} of {most // _MB} MB are used", "raise its maxmemory soon"
        )
    else:
        yield HealthCheck("redis memory", "ok", f"{used // _MB} of {most // _MB} MB are used")
    if policy in _FIT_POLICIES:
        yield HealthCheck("redis policy", "ok", policy)
    else:
        yield HealthCheck(
            "redis policy",
            "warning",
            f"maxmemory-policy is {policy}: streams in use may be evicted",
            "set it to volatile-ttl (evicts streams of ended runs first) or noeviction (new events wait)",
        )


def _persistence(about: Mapping[str, str]) -> HealthCheck:
    if about.get("aof_enabled") == "1":
        return HealthCheck("redis persistence", "ok", "it writes all changes to a log (appendonly)")
    # No run and no result is lost with it: they are in the database.
    return HealthCheck(
        "redis persistence",
        "warning",
        "after a restart, open streams may be lost; readers get a notice of the gap, and no run is lost",
        "set appendonly to yes if that matters",
    )
