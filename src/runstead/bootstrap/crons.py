"""Scheduler of a server's crons, built from its services."""

from __future__ import annotations

from datetime import timedelta

from runstead.auth.api_keys import AUTH_SOURCE
from runstead.gateway.auth.authorization import authorize_run
from runstead.gateway.services import Services
from runstead.infra.crons.scheduler import CronScheduler, CronSettings
from runstead.infra.dispatch.wakeup import Bell
from runstead.resources.crons import CronRecord
from runstead.settings import Settings
from runstead.wire.errors import Forbidden
from runstead.wire.runs import RunCreate

from .run_access import AccessOfRuns


def cron_scheduler(services: Services, access: AccessOfRuns, bell: Bell, settings: Settings) -> CronScheduler:
    """Return a scheduler that is not running yet. ``bell`` is notified when this process creates or changes a cron."""

    async def granted(cron: CronRecord, run: RunCreate) -> RunCreate:
        if cron.actor.auth_source == AUTH_SOURCE and await access.has_lost_key(cron.actor):
            raise Forbidden(
                f"suspended: the API key {cron.actor.subject_id} that made or changed it last is revoked; "
                "its user can resume it by changing it with another key"
            )
        # Each run is authorized as if its user had created it just now.
        return await authorize_run(services, cron.thread_id, run)

    return CronScheduler(
        services.crons,
        services.runs,
        services.directory,
        services.threads,
        bell,
        services.clock,
        CronSettings(grace=timedelta(seconds=settings.cron_grace_seconds)),
        granted,
    )
