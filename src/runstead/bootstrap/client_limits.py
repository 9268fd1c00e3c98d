"""The limits that the settings put on users and tenants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runstead.infra.limits.streams import LocalStreamLimiter, RedisStreamLimiter
from runstead.installation import install_command
from runstead.resources.allowances import LimitKind, LimitLevel
from runstead.runtime.limits import ClientLimits, Limit, LimitScope, RequestLimiter, RunQuota, StreamLimiter, limits_of
from runstead.settings import Settings
from runstead.settings.limits import requests_and_seconds

from .unsupported import UnsupportedConfiguration

if TYPE_CHECKING:
    from runstead.infra.engines.redis import RedisConnections


def local_limits(settings: Settings) -> ClientLimits:
    """Return limits that this process counts. Raises UnsupportedConfiguration where the extra is missing."""
    streams = _streams(settings)
    return ClientLimits(_requests(settings, None), LocalStreamLimiter(streams) if streams else None)


def shared_limits(settings: Settings, connections: RedisConnections) -> ClientLimits:
    """Return limits that all gateways of a cluster count together. Raises UnsupportedConfiguration."""
    streams = _streams(settings)
    limiter: StreamLimiter | None = None
    if streams:
        limiter = RedisStreamLimiter(streams, connections, settings.database_schema)
    url = settings.redis_url.get_secret_value() if settings.redis_url else None
    return ClientLimits(_requests(settings, url), limiter)


def run_quota(settings: Settings) -> RunQuota | None:
    """Return the limits of runs; None where there are none."""
    quota = RunQuota(
        limits_of(settings.limit_user_runs, settings.limit_tenant_runs),
        limits_of(settings.limit_user_queued_runs, settings.limit_tenant_queued_runs),
    )
    return quota if quota.limits else None


def configured_limits(settings: Settings) -> Sequence[LimitLevel]:
    """Return all limits of users and tenants, for those whom they bound."""
    kinds: tuple[tuple[LimitKind, Sequence[Limit]], ...] = (
        ("requests", _request_limits(settings)),
        ("streams", _streams(settings)),
        ("runs", limits_of(settings.limit_user_runs, settings.limit_tenant_runs)),
        ("queued_runs", limits_of(settings.limit_user_queued_runs, settings.limit_tenant_queued_runs)),
    )
    return [LimitLevel(kind, limit) for kind, limits in kinds for limit in limits]


def _streams(settings: Settings) -> Sequence[Limit]:
    return limits_of(settings.limit_user_streams, settings.limit_tenant_streams)


def _request_limits(settings: Settings) -> Sequence[Limit]:
    rates: tuple[tuple[LimitScope, str | None], ...] = (
        ("user", settings.limit_user_requests),
        ("tenant", settings.limit_tenant_requests),
    )
    return [Limit(scope, *requests_and_seconds(rate)) for scope, rate in rates if rate is not None]


def _requests(settings: Settings, redis_url: str | None) -> RequestLimiter | None:
    limits = _request_limits(settings)
    if not limits:
        return None
    try:
        from runstead.infra.limits.requests import WindowRequestLimiter, memory_storage, redis_storage
    except ImportError as error:
        raise UnsupportedConfiguration(
            f"limits of requests need a package that is not installed ({error.name}); {install_command('limits')}"
        ) from error
    storage = memory_storage() if redis_url is None else redis_storage(redis_url, settings.database_schema)
    return WindowRequestLimiter(limits, storage)
