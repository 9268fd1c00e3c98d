"""Services that the gateway uses, built on the opened parts and the kernel."""

from __future__ import annotations

from datetime import timedelta

from langsmith.utils import tracing_is_enabled

from runstead.gateway.auth.audit import AuditLog
from runstead.gateway.services import GatewayOptions, Services
from runstead.gateway.streams.run_events import EventReaderPorts
from runstead.gateway.streams.state_updates import StateUpdates
from runstead.gateway.streams.thread_events import ThreadEvents
from runstead.gateway.streams.thread_stream import ThreadStreams
from runstead.graphs.configuration import GraphConfiguration
from runstead.infra.prices.genai import GenaiPrices
from runstead.infra.storage.approvals import SqlApprovalStore
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.audit import SqlAuditLog
from runstead.infra.storage.channel_links import SqlChannelLinkStore
from runstead.infra.storage.crons import SqlCronStore
from runstead.infra.storage.feedback import SqlFeedbackStore
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.run_usage import SqlRunUsageStore
from runstead.infra.storage.run_waits import SqlRunWaitReader
from runstead.infra.storage.threads import SqlThreadStore
from runstead.resources.approvals import ApprovalStore
from runstead.resources.assistant_lookup import AssistantLookup
from runstead.resources.assistant_service import AssistantRemoval, AssistantService
from runstead.resources.interrupts import OpenInterrupts
from runstead.resources.schemas import GraphSchemas
from runstead.resources.states import ThreadStates
from runstead.resources.thread_configs import ThreadConfigs
from runstead.resources.thread_files import ThreadFiles
from runstead.resources.thread_messages import ThreadMessages
from runstead.resources.thread_service import ThreadCopies, ThreadService
from runstead.resources.threads import ThreadStore
from runstead.runtime.runs.error_redaction import ErrorRedactor
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.graph_access import GraphAccess
from runstead.runtime.runs.store import RunQueryStore, SteeringStore
from runstead.settings import Settings

from .approvals import approval_rules
from .opening import Parts
from .options import header_choice, thread_ttl, trusted_with_shared
from .profile import Profile
from .readiness import Readiness
from .shutdown import Shutdown
from .unsupported import auth_mode


def build_services(
    parts: Parts,
    runs: RunsFacade,
    closing: Shutdown,
    settings: Settings,
    configuration: GraphConfiguration,
    files: ThreadFiles | None,
    steering: SteeringStore,
) -> Services:
    """Create the services of a server, without those that depend on the user's authentication."""
    profile, handled = parts.profile, parts.handled
    rules = approval_rules(settings, configuration)
    stored = SqlThreadStore(profile.database, profile.clock, default_ttl=thread_ttl(configuration), approvals=rules)
    threads = handled.threads(stored)
    assistants = handled.assistants(SqlAssistantStore(profile.database, profile.clock))
    queries = handled.run_queries(SqlRunQueryStore(profile.database))
    configs = ThreadConfigs(queries, assistants)
    agents, states = _thread_states(parts, settings, threads, queries, configs)
    notify = profile.notices.notify_state_change
    approvals = handled.approvals(SqlApprovalStore(profile.database, profile.clock, rules, notify))
    thread_events, thread_streams = _event_readers(profile, settings, runs, threads, states, approvals)
    directory = AssistantLookup(assistants, parts.graphs)
    editor = AssistantService(assistants, directory, trusted_with_shared(settings))
    removal = ThreadService(runs, threads, profile.events, profile.checkpoints, profile.bridge, files)
    on_feedback = parts.webhooks.notify if settings.webhook_feedback else None
    return Services(
        runs=runs,
        threads=threads,
        assistants=assistants,
        assistant_lookup=directory,
        assistant_service=editor,
        states=states,
        configs=configs,
        thread_events=thread_events,
        thread_streams=thread_streams,
        interrupts=OpenInterrupts(threads, queries, profile.checkpoints),
        schemas=GraphSchemas(agents),
        thread_service=removal,
        assistant_removal=AssistantRemoval(editor, runs, threads, removal),
        thread_copies=ThreadCopies(threads, profile.checkpoints, states, configs),
        events=profile.events,
        messages=ThreadMessages(states),
        usage=SqlRunUsageStore(profile.database),
        prices=GenaiPrices(),
        items=parts.store,
        webhooks=parts.webhooks.addresses,
        deliveries=parts.webhooks.deliveries,
        crons=handled.crons(SqlCronStore(profile.database, profile.clock, parts.cron_bell.notify)),
        feedback=SqlFeedbackStore(profile.database, profile.clock, on_feedback),
        approvals=approvals,
        steering=steering,
        channel_links=SqlChannelLinkStore(profile.database, profile.clock),
        run_waits=SqlRunWaitReader(profile.database, profile.clock),
        clock=profile.clock,
        ready=Readiness((profile.database, *profile.others), closing, parts.missing_key).reason,
        files=files,
        options=_gateway_options(parts, settings, configuration),
    )


def _thread_states(
    parts: Parts, settings: Settings, threads: ThreadStore, queries: RunQueryStore, configs: ThreadConfigs
) -> tuple[GraphAccess, ThreadStates]:
    texts, checkpoints = ErrorRedactor(bool(settings.show_errors)), parts.profile.checkpoints
    agents = GraphAccess(parts.graphs, parts.loops, checkpoints, parts.graph_store, texts)
    changed = parts.profile.notices.notify_state_change
    return agents, ThreadStates(threads, queries, checkpoints, agents, configs, texts, on_change=changed)


def _event_readers(
    profile: Profile,
    settings: Settings,
    runs: RunsFacade,
    threads: ThreadStore,
    states: ThreadStates,
    approvals: ApprovalStore,
) -> tuple[ThreadEvents, ThreadStreams]:
    ports = EventReaderPorts(
        runs,
        profile.bridge,
        threads,
        states,
        profile.notices,
        profile.clock,
        heartbeat=settings.heartbeat_seconds,
        approvals=approvals,
    )
    return ThreadEvents(ports), ThreadStreams(ports, StateUpdates(threads, states, profile.checkpoints))


def audit_log(parts: Parts, settings: Settings, configuration: GraphConfiguration) -> AuditLog | None:
    """Return the audit log; None where the settings ask for none."""
    wanted = auth_mode(settings, configuration) != "none" if settings.audit is None else settings.audit
    if not wanted:
        return None
    profile = parts.profile
    return AuditLog(SqlAuditLog(profile.database), profile.clock, keeps_values=not parts.encrypts_values)


def _gateway_options(parts: Parts, settings: Settings, configuration: GraphConfiguration) -> GatewayOptions:
    return GatewayOptions(
        max_body_bytes=settings.max_body_bytes,
        max_page_bytes=settings.max_page_bytes,
        max_upload_bytes=settings.files_max_file_bytes,
        heartbeat=settings.heartbeat_seconds,
        cron_min_interval=settings.cron_min_interval_seconds,
        metrics_scope=settings.metrics_scope,
        operator_scope=settings.operator_scope,
        read_only_scope=settings.read_only_scope,
        slots=settings.max_concurrent_runs,
        lease_term=timedelta(seconds=settings.lease_term_seconds),
        configurable_headers=header_choice(configuration),
        is_traced=bool(tracing_is_enabled()),
        encrypts_values=parts.encrypts_values,
    )
