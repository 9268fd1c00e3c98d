"""Assembly of a running server: its opened profile, the kernel and the resources on top, and the background tasks.

Components open in the order of this file, from top to bottom, and close in reverse order.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Protocol

from runstead.channels.hub import ChannelHub
from runstead.gateway.custom_app import CustomApp
from runstead.gateway.services import Services
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.environment import apply_environment
from runstead.handlers.encryption import LangGraphEncryption
from runstead.handlers.encryption_context import EncryptionContextAuthentication
from runstead.infra.frame_archive.sql import SqlFrameArchive
from runstead.infra.storage.fair_queue import group_by_user
from runstead.infra.storage.run_budgets import Budgets, SqlRunBudgetStore
from runstead.infra.storage.run_create import SqlRunCreateStore
from runstead.infra.storage.run_ends import RunEnds, SqlRunEndOutbox
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunDeleteStore, SqlRunQueryStore
from runstead.infra.storage.steering import SqlSteeringStore
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.infra.storage.thread_expiry import SqlThreadExpiryStore
from runstead.infra.storage.thread_owners import SqlThreadOwnerStore
from runstead.infra.storage.threads import SqlThreadStore
from runstead.resources.thread_expiry import ThreadExpiry
from runstead.resources.thread_files import ThreadFiles
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.access_check import RunAccess
from runstead.runtime.runs.error_redaction import ErrorRedactor
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.observer import CompositeObserver
from runstead.runtime.runs.runtime import RunsRuntime, no_surroundings
from runstead.runtime.runs.scheduling import RunScheduler
from runstead.runtime.runs.steering import MessageLimits
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.settings import Settings
from runstead.wire.credentials import Authenticator

from .adapters import NO_ADAPTERS, Adapters
from .approval_deadlines import approval_deadlines
from .approvals import approval_rules
from .background import (
    cron_scheduler,
    delete_old_events_regularly,
    expire_regularly,
    sweep_regularly,
    trim_archive_regularly,
)
from .budgets import configured_budgets, raising_scopes
from .channels import channel_hub, channel_leases, load_channels
from .client_limits import run_quota
from .extensions import open_auth, with_roles
from .files import file_store
from .logouts import OidcLogouts
from .loop_failover import LoopFailover
from .opening import Parts, open_parts
from .operations import with_operations
from .options import run_limits, thread_sweeps, thread_ttl
from .priorities import reserved_slots, run_scheduler
from .profile import Profile
from .retention import retain_regularly
from .run_access import RunAccessCheck, run_access_check
from .sdk_cache import prepare_sdk, sdk_cache
from .services import audit_log, build_services
from .shutdown import Shutdown
from .telemetry import Telemetry, metric_sources, open_telemetry
from .unsupported import check_configuration, without_effect
from .user_code import UserCode, load_user_code

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembly:
    """Components of a running server, and its shutdown."""

    services: Services
    authenticator: Authenticator
    closing: Shutdown
    executing: Callable[[], AbstractAsyncContextManager[None]]
    """Context manager that starts the custom app, then executes runs and delivers webhooks, for the duration of a
    block. Enter it once requests are served, since all three may send some."""
    user_loop: UserLoop
    own_actor: ActorContext
    """Actor of user code that does not act for a user."""
    telemetry: Telemetry
    custom: CustomApp | None = None


@asynccontextmanager
async def build_application(
    settings: Settings,
    configuration: GraphConfiguration,
    *,
    execute: bool = True,
    replace_process: Callable[[], None] | None = None,
    after_reload: bool = False,
    adapters: Adapters = NO_ADAPTERS,
) -> AsyncIterator[Assembly]:
    """Start everything, for the duration of a block.

    ``replace_process`` ends and restarts this process, if the server owns it. ``after_reload``: the previous process
    was ended to load new code, and lost no run. Raises StorageError, GraphLoadError, UnsupportedConfiguration.
    """
    execute = execute and settings.max_concurrent_runs > 0
    # Opened before all user code, and closed after it.
    async with (
        UserLoop.running() as user_loop,
        _assembled(settings, configuration, user_loop, execute, replace_process, after_reload, adapters) as assembly,
    ):
        yield assembly


@asynccontextmanager
async def _assembled(
    settings: Settings,
    configuration: GraphConfiguration,
    user_loop: UserLoop,
    execute: bool,
    replace_process: Callable[[], None] | None,
    after_reload: bool,
    adapters: Adapters,
) -> AsyncIterator[Assembly]:
    # User code first: a graph that cannot be loaded is reported before any file is touched.
    code = await _prepared(settings, configuration)
    handlers = None if code.encryption is None else LangGraphEncryption(code.encryption, user_loop)
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, settings, configuration, code, user_loop, handlers, adapters)
        profile = parts.profile
        stack.enter_context(sdk_cache(profile.cache, profile.clock, user_loop))
        scheduler = await _scheduler(parts, settings, configuration, code, user_loop)
        access = run_access_check(profile, settings)
        files = _files(profile, settings)
        telemetry = open_telemetry(stack, profile, settings, configuration)
        runtime = replace(_runtime(parts, settings, configuration, scheduler, access, files), telemetry=telemetry.runs)
        await _end_earlier_work(parts, runtime, after_reload)
        runs = RunsFacade.assemble(runtime)
        closing = Shutdown(runs, profile.bridge, profile.notices, settings.shutdown_grace_seconds)
        lost = LoopFailover(user_loop, runs, closing, code.custom, replace_process)
        blocks = stack.enter_context(lost.watchdog(settings).running())
        door = await stack.enter_async_context(
            open_auth(settings, configuration, adapters.auth_or(code.auth), profile.database, profile.clock, user_loop)
        )
        assert runtime.steering is not None, "a server has a store of messages"
        services = build_services(parts, runs, closing, settings, configuration, files, runtime.steering)
        most_runs = settings.max_concurrent_runs if execute else 0
        sources = metric_sources(profile, runs, blocks, most_runs, has_retention=bool(settings.retention))
        audit = audit_log(parts, settings, configuration)
        access.services = services = replace(
            with_operations(services, profile, sources, settings, configuration),
            authorizer=door.authorizer,
            blocks=blocks,
            audit=audit,
            logouts=None if door.logouts is None else OidcLogouts(door.logouts, services.channel_links, audit),
            limits=profile.limits,
            run_secrets=parts.run_secrets,
            metrics=telemetry.exposition(sources, profile.clock),
        )
        hub = await _open_channels(adapters, services, profile, access, settings, configuration)
        access.services = services = services if hub is None else replace(services, channels=hub)
        await services.assistants.register_graphs(code.graphs.descriptions, code.graphs.names)
        await _start_sweeping(stack, profile, settings, configuration, files)
        regular = _regular_work(parts, services, access, settings, configuration) if execute else ()
        executing = partial(_executing, services, closing, user_loop, code.custom, hub, regular, execute=execute)
        authenticator = with_roles(door, settings)
        if handlers is not None:
            authenticator = EncryptionContextAuthentication(authenticator, handlers)
        yield Assembly(services, authenticator, closing, executing, user_loop, door.own_actor, telemetry, code.custom)


async def _prepared(settings: Settings, configuration: GraphConfiguration) -> UserCode:
    """Load the user's code, after everything that it may use is set up. Raises as `build_application`."""
    check_configuration(configuration, settings)
    for remark in without_effect(configuration, settings):
        _log.warning("%s", remark)
    prepare_sdk()
    apply_environment(configuration, os.environ)
    return await load_user_code(settings, configuration)


async def _scheduler(
    parts: Parts, settings: Settings, configuration: GraphConfiguration, code: UserCode, user_loop: UserLoop
) -> RunScheduler | None:
    database, clock = parts.profile.database, parts.profile.clock
    scheduler = run_scheduler(settings, configuration, code.assign, database, clock, user_loop, parts.handled)
    if scheduler is not None:
        await group_by_user(database)
    return scheduler


async def _open_channels(
    adapters: Adapters,
    services: Services,
    profile: Profile,
    access: RunAccessCheck,
    settings: Settings,
    configuration: GraphConfiguration,
) -> ChannelHub | None:
    """Return the hub of the configured channels; None without any."""
    channels = await load_channels(adapters.channels, settings, configuration)
    hub = channel_hub(channels, services, profile, access, settings, configuration)
    if hub is not None and not profile.is_shared:
        await channel_leases(profile).release_all()
    return hub


async def _end_earlier_work(parts: Parts, runtime: RunsRuntime, after_reload: bool) -> None:
    """Make runs and deliveries available that this server held before it started."""
    if not parts.profile.is_shared:
        # The data directory belongs to this process alone, so every holder of a run from before the start is dead.
        await (runtime.lease_store.release_all() if after_reload else runtime.lease_store.abandon_all())
        await parts.webhooks.deliveries.abandon_all()


async def _start_sweeping(
    stack: AsyncExitStack,
    profile: Profile,
    settings: Settings,
    configuration: GraphConfiguration,
    files: ThreadFiles | None,
) -> None:
    """Correct times from a wrong clock, then delete expired data at intervals, until ``stack`` ends."""
    sweeper = StorageSweeper(profile.database, profile.clock)
    await sweeper.correct_times()
    retention = timedelta(seconds=settings.stream_retention_seconds)
    await stack.enter_async_context(sweep_regularly(sweeper, profile.checkpoints, profile.events, retention, files))
    kept = None if settings.run_events_days is None else timedelta(days=settings.run_events_days)
    await stack.enter_async_context(delete_old_events_regularly(profile.events, kept, profile.clock))
    archive = SqlFrameArchive(profile.database, profile.clock) if settings.stream_archive else None
    age = timedelta(days=settings.stream_archive_days)
    trimming = trim_archive_regularly(archive, age, settings.stream_archive_bytes, profile.clock)
    await stack.enter_async_context(trimming)
    expiry = ThreadExpiry(
        SqlThreadExpiryStore(profile.database, profile.clock),
        profile.events,
        profile.checkpoints,
        profile.bridge,
        files,
    )
    await stack.enter_async_context(expire_regularly(expiry, thread_sweeps(configuration), profile.clock))
    files_of_sqlite = (profile.database, *profile.others)
    retaining = retain_regularly(settings, profile.database, files_of_sqlite[-1], files_of_sqlite, profile.clock)
    await stack.enter_async_context(retaining)


class _Regular(Protocol):
    """Work that a process which executes runs does at due times."""

    def running(self) -> AbstractAsyncContextManager[None]: ...


def _regular_work(
    parts: Parts,
    services: Services,
    access: RunAccessCheck,
    settings: Settings,
    configuration: GraphConfiguration,
) -> Sequence[_Regular]:
    return (
        cron_scheduler(services, access, parts.cron_bell, settings),
        parts.webhooks.sender,
        approval_deadlines(parts, services, access, settings, configuration),
    )


@asynccontextmanager
async def _executing(
    services: Services,
    closing: Shutdown,
    user_loop: UserLoop,
    custom: CustomApp | None,
    hub: ChannelHub | None,
    regular: Sequence[_Regular],
    *,
    execute: bool,
) -> AsyncIterator[None]:
    """See `Assembly.executing`."""
    async with AsyncExitStack() as started:
        if custom is not None:
            # Before the first run: graphs may use resources that the custom app opens.
            await started.enter_async_context(custom.lifespan(user_loop))
        for work in regular:
            await started.enter_async_context(work.running())
        started.push_async_callback(closing.drain)
        await services.runs.start(execute=execute)
        if hub is not None:
            await started.enter_async_context(hub.running())
        yield


def _run_creation(
    profile: Profile, settings: Settings, configuration: GraphConfiguration, budgets: Budgets | None, ends: RunEnds
) -> SqlRunCreateStore:
    return SqlRunCreateStore(
        profile.database,
        profile.clock,
        profile.queue.notify,
        profile.queue.enqueue,
        default_ttl=thread_ttl(configuration),
        quota=run_quota(settings),
        budgets=budgets,
        ends=ends,
        messages=MessageLimits(settings.steering_max_messages, settings.steering_max_bytes),
    )


def _runtime(
    parts: Parts,
    settings: Settings,
    configuration: GraphConfiguration,
    scheduler: RunScheduler | None,
    access: RunAccess,
    files: ThreadFiles | None,
) -> RunsRuntime:
    profile, queue = parts.profile, parts.profile.queue
    database, clock = profile.database, profile.clock
    handled, budgets = parts.handled, configured_budgets(settings, configuration)
    ends = RunEnds(bool(parts.observers.required), approval_rules(settings, configuration))
    leases = handled.run_leases(
        SqlRunLeaseStore(database, clock, queue.notify, queue.enqueue, by_turns=scheduler is not None, ends=ends),
        SqlThreadStore(database, clock),
    )
    creation = _run_creation(profile, settings, configuration, budgets, ends)
    return RunsRuntime(
        create_store=handled.run_creation(creation),
        steering=handled.steering(SqlSteeringStore(database, clock, creation)),
        query_store=handled.run_queries(SqlRunQueryStore(database)),
        delete_store=SqlRunDeleteStore(database, clock, queue.notify, queue.enqueue),
        lease_store=leases,
        event_store=profile.events,
        checkpoints=profile.checkpoints,
        bridge=profile.bridge,
        dispatcher=queue.dispatcher(leases, scheduler is not None),
        agents=parts.graphs,
        agent_loops=parts.loops,
        store=parts.graph_store,
        observer=CompositeObserver(
            [profile.notices, parts.webhooks.sender, parts.approval_bell, *parts.observers.notified_at_once]
        ),
        required_observers=parts.observers.required,
        end_outbox=SqlRunEndOutbox(database, clock) if ends.notifies else None,
        secrets=parts.run_secrets,
        budgets=None if budgets is None else SqlRunBudgetStore(database, clock, budgets),
        budget_scopes=raising_scopes(settings),
        clock=clock,
        limits=run_limits(settings, reserved_slots(settings, configuration)),
        error_redactor=ErrorRedactor(bool(settings.show_errors)),
        scheduler=scheduler,
        access=access,
        surroundings=no_surroundings if files is None else files.around_run,
        archive=SqlFrameArchive(database, clock) if settings.stream_archive else None,
        is_shared=profile.is_shared,
    )


def _files(profile: Profile, settings: Settings) -> ThreadFiles | None:
    """Return the files of threads; None in a cluster without a store that all its nodes share."""
    store = file_store(settings)
    return None if store is None else ThreadFiles(SqlThreadOwnerStore(profile.database), store)
