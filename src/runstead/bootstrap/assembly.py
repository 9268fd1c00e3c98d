"""Assembly of a running server: its opened profile, the kernel and the resources on top, and the background tasks.

Components open in the order of this file, from top to bottom, and close in reverse order.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from langchain_core.embeddings import Embeddings
from langgraph.checkpoint.serde.base import SerializerProtocol
from langsmith.utils import tracing_is_enabled

from runstead.gateway.custom_app import CustomApp
from runstead.gateway.services import GatewayOptions, Services
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.environment import apply_environment
from runstead.graphs.registry import GraphRegistry
from runstead.infra.dispatch.bell import Bell
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.engines.exceptions import StorageUnusable
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.crons import SqlCronStore
from runstead.infra.storage.flows import group_by_user
from runstead.infra.storage.items import SqlItemStore
from runstead.infra.storage.replacements import SqlReplacements
from runstead.infra.storage.run_creation import SqlRunCreateStore
from runstead.infra.storage.run_deletion import SqlRunDeleteStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.infra.storage.thread_expiry import SqlThreadExpiryStore
from runstead.infra.storage.threads import SqlThreadStore
from runstead.plugins.auth.encryption_context import EncryptionContextAuthentication
from runstead.plugins.langgraph_encryption import LangGraphEncryption
from runstead.resources.assistant_editor import AssistantEditor
from runstead.resources.assistant_removal import AssistantRemoval
from runstead.resources.copies import ThreadCopies
from runstead.resources.directory import AssistantDirectory
from runstead.resources.expiry import ThreadExpiry
from runstead.resources.interrupts import OpenInterrupts
from runstead.resources.items import ActorScopedStore
from runstead.resources.removal import ThreadRemoval
from runstead.resources.run_events import EventSources
from runstead.resources.schemas import GraphSchemas
from runstead.resources.state_updates import StateUpdates
from runstead.resources.states import ThreadStates
from runstead.resources.thread_configs import ThreadConfigs
from runstead.resources.thread_events import ThreadEvents
from runstead.resources.thread_joins import ThreadJoins
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.access import RunAccess
from runstead.runtime.runs.agent_loop import AgentLoops
from runstead.runtime.runs.error_texts import ErrorTexts
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.observer import CompositeObserver
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.scheduling import RunScheduler
from runstead.runtime.runs.thread_agents import ThreadAgents
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.settings import Settings
from runstead.wire.credentials import Authenticator

from .closing import Closing
from .crons import cron_scheduler
from .custom_apps import load_custom_app
from .doors import load_auth, open_door
from .embedded import open_embedded
from .embedders import load_embedder
from .encryption import load_cipher
from .encryption_handlers import HandledStores, load_encryption, not_encrypted_by
from .housekeeping import expire_regularly, sweep_items_regularly, sweep_regularly
from .lost_loop import LostLoops
from .parts import (
    agent_loops,
    checkpoint_serde,
    header_choice,
    item_index,
    item_sweep_interval,
    item_ttl,
    run_limits,
    thread_sweeps,
    thread_ttl,
    trusted_with_shared,
)
from .priorities import load_priority, reserved_slots, run_scheduler
from .private_logs import errors_without_texts
from .profile import Profile
from .readiness import Readiness
from .refusals import auth_mode, refuse_what_cannot_be_kept, without_effect
from .run_access import AccessOfRuns
from .sdk_cache import prepare_sdk, sdk_cache
from .webhooks import Webhooks, open_webhooks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Assembly:
    """Components of a running server, and its shutdown."""

    services: Services
    authenticator: Authenticator
    closing: Closing
    executing: Callable[[], AbstractAsyncContextManager[None]]
    """Context manager that starts the custom app, then executes runs and delivers webhooks, for the duration of a
    block. Enter it once requests are served, since all three may send some."""
    user_loop: UserLoop
    own_actor: ActorContext
    """Actor of user code that does not act for a user."""
    custom: CustomApp | None = None


@asynccontextmanager
async def assembled(
    settings: Settings,
    configuration: GraphConfiguration,
    *,
    execute: bool = True,
    replace_process: Callable[[], None] | None = None,
    after_reload: bool = False,
) -> AsyncIterator[Assembly]:
    """Start everything, for the duration of a block.

    ``replace_process`` ends and restarts this process, if the server owns it. ``after_reload``: the previous process
    was ended to load new code, and lost no run. Raises StorageError, GraphLoadError, UnsupportedConfiguration.
    """
    # Opened before all user code, and closed after it.
    async with (
        UserLoop.running() as user_loop,
        _assembled(settings, configuration, user_loop, execute, replace_process, after_reload) as assembly,
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
) -> AsyncIterator[Assembly]:
    execute = execute and settings.max_concurrent_runs > 0
    refuse_what_cannot_be_kept(configuration, settings)
    for remark in without_effect(configuration, settings):
        _log.warning("%s", remark)
    prepare_sdk()
    # User code first: a graph that cannot be loaded is reported before any file is touched.
    apply_environment(configuration, os.environ)
    graphs = GraphRegistry(configuration)
    await asyncio.to_thread(graphs.load)
    auth = await asyncio.to_thread(load_auth, settings, configuration)
    embeddings = await asyncio.to_thread(load_embedder, configuration)
    assign = await asyncio.to_thread(load_priority, configuration)
    custom = await asyncio.to_thread(load_custom_app, configuration)
    encryption = await asyncio.to_thread(load_encryption, configuration)
    handlers = None if encryption is None else LangGraphEncryption(encryption, user_loop)
    async with AsyncExitStack() as stack:
        parts = await _opened(stack, settings, configuration, embeddings, user_loop, handlers)
        profile, handled = parts.profile, parts.handled
        stack.enter_context(sdk_cache(profile.cache, profile.clock, user_loop))
        scheduler = run_scheduler(settings, configuration, assign, profile.database, profile.clock, user_loop, handled)
        if scheduler is not None:
            await group_by_user(profile.database)
        access = AccessOfRuns(SqlApiKeyStore(profile.database), profile.clock)
        runtime = _runtime(parts, settings, configuration, scheduler, access)
        if not profile.is_shared:
            # The data directory belongs to this process alone, so every holder of a run from before the start is dead.
            await (runtime.lease_store.release_all() if after_reload else runtime.lease_store.abandon_all())
            await parts.webhooks.deliveries.abandon_all()
        runs = RunsFacade.assemble(runtime)
        closing = Closing(runs, profile.bridge, profile.notices, settings.shutdown_grace_seconds)
        lost = LostLoops(user_loop, runs, closing, custom, replace_process)
        blocks = stack.enter_context(lost.watchdog(settings).running())
        services = _services(parts, runs, closing, settings, configuration)
        door = await stack.enter_async_context(
            open_door(settings, configuration, auth, profile.database, profile.clock, user_loop)
        )
        services = replace(services, authorizer=door.authorizer, blocks=blocks)
        access.services = services
        await services.assistants.register_graphs(graphs.descriptions, graphs.names)
        sweeper = StorageSweeper(profile.database, profile.clock)
        await sweeper.correct_times()
        await stack.enter_async_context(
            sweep_regularly(
                sweeper,
                profile.checkpoints,
                timedelta(seconds=settings.stream_retention_seconds),
            )
        )
        expiry = ThreadExpiry(
            SqlThreadExpiryStore(profile.database, profile.clock), profile.events, profile.checkpoints, profile.bridge
        )
        await stack.enter_async_context(expire_regularly(expiry, thread_sweeps(configuration), profile.clock))

        @asynccontextmanager
        async def executing() -> AsyncIterator[None]:
            async with AsyncExitStack() as started:
                if custom is not None:
                    # Before the first run: graphs may use resources that the custom app opens.
                    await started.enter_async_context(custom.lifespan(user_loop))
                if execute:
                    crons = cron_scheduler(services, access, parts.cron_bell, settings)
                    await started.enter_async_context(crons.running())
                    await started.enter_async_context(parts.webhooks.sender.running())
                started.push_async_callback(closing.drain)
                await runs.start(execute=execute)
                yield

        authenticator = door.authenticator
        if handlers is not None:
            authenticator = EncryptionContextAuthentication(authenticator, handlers)
        yield Assembly(services, authenticator, closing, executing, user_loop, door.own_actor, custom)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Opened components, closed in reverse order. Requests use ``store``, graphs ``graph_store``."""

    profile: Profile
    store: ActorScopedStore
    graph_store: ActorScopedStore
    loops: AgentLoops
    graphs: GraphRegistry
    webhooks: Webhooks
    cron_bell: Bell
    handled: HandledStores
    encrypts_values: bool
    """True if values of threads cannot be searched, or only in part."""


async def _open_scaled(
    stack: AsyncExitStack,
    settings: Settings,
    serde: SerializerProtocol | None,
    cipher: Cipher | None,
    field_cipher: FieldCipher | None,
) -> Profile:
    try:
        # Imported here, since only a cluster needs these drivers.
        from .scaled import open_scaled
    except ImportError as error:
        raise StorageUnusable(
            f"a cluster needs packages that are not installed ({error.name}); pip install 'runstead[postgres,redis]'"
        ) from error
    return await open_scaled(stack, settings, serde, cipher, field_cipher)


async def _opened(
    stack: AsyncExitStack,
    settings: Settings,
    configuration: GraphConfiguration,
    embeddings: Embeddings | None,
    user_loop: UserLoop,
    handlers: LangGraphEncryption | None,
) -> _Parts:
    opened = _open_scaled if settings.is_cluster else open_embedded
    # After the environment of langgraph.json was applied, since it may set LANGGRAPH_AES_KEY.
    cipher = load_cipher(settings, os.environ)
    stack.enter_context(errors_without_texts(cipher is not None or handlers is not None))
    if handlers is not None and cipher is None:
        _log.warning("%s", not_encrypted_by(handlers))
    profile = await opened(stack, settings, checkpoint_serde(configuration, cipher), cipher, handlers)
    handled = HandledStores(handlers)
    # Events are numerous: with encryption keys, handlers are not called for each of them.
    profile = replace(profile, events=handled.run_events(profile.events, encrypts=cipher is None))
    if handlers is not None:
        handlers.replacements = SqlReplacements(profile.database)
    database, clock = profile.database, profile.clock
    loops = agent_loops(settings, configuration, user_loop)
    stack.push_async_callback(loops.close)
    index = item_index(configuration, embeddings, user_loop)
    vectors = None if index is None else await profile.item_vectors()
    items = SqlItemStore(
        database, clock, index=index, ttl=item_ttl(configuration), vectors=vectors, values=handled.item_values
    )
    await stack.enter_async_context(sweep_items_regularly(items, clock, item_sweep_interval(configuration)))
    store = ActorScopedStore(items, would_block=handled.would_block)
    # Only auth handlers can share items.
    graph_store = store.finding_shared() if auth_mode(settings, configuration) == "langgraph" else store
    graphs = GraphRegistry(configuration)
    webhooks = await stack.enter_async_context(
        open_webhooks(settings, configuration, database, clock, user_loop, handled.deliveries)
    )
    encrypts_values = cipher is not None or (handlers is not None and handlers.encrypts_json)
    return _Parts(profile, store, graph_store, loops, graphs, webhooks, Bell(), handled, encrypts_values)


def _runtime(
    parts: _Parts,
    settings: Settings,
    configuration: GraphConfiguration,
    scheduler: RunScheduler | None,
    access: RunAccess,
) -> RunsRuntime:
    profile, queue = parts.profile, parts.profile.queue
    database, clock = profile.database, profile.clock
    handled, ttl = parts.handled, thread_ttl(configuration)
    leases = handled.run_leases(
        SqlRunLeaseStore(database, clock, queue.ring, queue.announce, by_turns=scheduler is not None),
        SqlThreadStore(database, clock),
    )
    return RunsRuntime(
        create_store=handled.run_creation(
            SqlRunCreateStore(database, clock, queue.ring, queue.announce, default_ttl=ttl)
        ),
        query_store=handled.run_queries(SqlRunQueryStore(database)),
        delete_store=SqlRunDeleteStore(database, clock, queue.ring, queue.announce),
        lease_store=leases,
        event_store=profile.events,
        checkpoints=profile.checkpoints,
        bridge=profile.bridge,
        dispatcher=queue.dispatcher(leases, scheduler is not None),
        agents=parts.graphs,
        agent_loops=parts.loops,
        store=parts.graph_store,
        observer=CompositeObserver([profile.notices, parts.webhooks.sender]),
        clock=clock,
        limits=run_limits(settings, reserved_slots(settings, configuration)),
        error_texts=ErrorTexts(bool(settings.show_errors)),
        scheduler=scheduler,
        access=access,
    )


def _services(
    parts: _Parts, runs: RunsFacade, closing: Closing, settings: Settings, configuration: GraphConfiguration
) -> Services:
    profile, handled = parts.profile, parts.handled
    threads = handled.threads(SqlThreadStore(profile.database, profile.clock, default_ttl=thread_ttl(configuration)))
    assistants = handled.assistants(SqlAssistantStore(profile.database, profile.clock))
    texts = ErrorTexts(bool(settings.show_errors))
    agents = ThreadAgents(parts.graphs, parts.loops, profile.checkpoints, parts.graph_store, texts)
    queries = handled.run_queries(SqlRunQueryStore(profile.database))
    configs = ThreadConfigs(queries, assistants)
    states = ThreadStates(
        threads,
        queries,
        profile.checkpoints,
        agents,
        configs,
        texts,
        on_change=profile.notices.state_changed,
    )
    sources = EventSources(
        runs, profile.bridge, threads, states, profile.notices, profile.clock, heartbeat=settings.heartbeat_seconds
    )
    directory = AssistantDirectory(assistants, parts.graphs)
    editor = AssistantEditor(assistants, directory, trusted_with_shared(settings))
    removal = ThreadRemoval(runs, threads, profile.events, profile.checkpoints, profile.bridge)
    return Services(
        runs=runs,
        threads=threads,
        assistants=assistants,
        directory=directory,
        editor=editor,
        states=states,
        configs=configs,
        thread_events=ThreadEvents(sources),
        thread_joins=ThreadJoins(sources, StateUpdates(threads, states, profile.checkpoints)),
        interrupts=OpenInterrupts(threads, queries, profile.checkpoints),
        schemas=GraphSchemas(agents),
        removal=removal,
        assistant_removal=AssistantRemoval(editor, runs, threads, removal),
        copies=ThreadCopies(threads, profile.checkpoints, states, configs),
        events=profile.events,
        items=parts.store,
        webhooks=parts.webhooks.addresses,
        deliveries=parts.webhooks.deliveries,
        crons=handled.crons(SqlCronStore(profile.database, profile.clock, parts.cron_bell.ring)),
        clock=profile.clock,
        ready=Readiness((profile.database, *profile.others), closing).reason,
        options=GatewayOptions(
            max_body_bytes=settings.max_body_bytes,
            max_page_bytes=settings.max_page_bytes,
            heartbeat=settings.heartbeat_seconds,
            configurable_headers=header_choice(configuration),
            is_traced=bool(tracing_is_enabled()),
            encrypts_values=parts.encrypts_values,
        ),
    )
