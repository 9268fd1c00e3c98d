"""Services that the routes use: one typed object, created by `runstead.bootstrap`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from runstead.gateway.streams.thread_events import ThreadEvents
from runstead.gateway.streams.thread_stream import ThreadStreams
from runstead.resources.allowances import AllowanceReader, NoAllowances
from runstead.resources.api_keys import ApiKeyStore
from runstead.resources.approvals import ApprovalStore
from runstead.resources.assistant_lookup import AssistantLookup
from runstead.resources.assistant_service import AssistantRemoval, AssistantService
from runstead.resources.assistants import AssistantStore
from runstead.resources.channels import ChannelLinkStore
from runstead.resources.crons import CronStore
from runstead.resources.feedback import FeedbackStore
from runstead.resources.interrupts import OpenInterrupts
from runstead.resources.run_waits import RunWaitReader
from runstead.resources.schemas import GraphSchemas
from runstead.resources.states import ThreadStates
from runstead.resources.thread_configs import ThreadConfigs
from runstead.resources.thread_files import ThreadFiles
from runstead.resources.thread_messages import ThreadMessages
from runstead.resources.thread_service import ThreadCopies, ThreadService
from runstead.resources.threads import ThreadStore
from runstead.resources.usage import PriceList
from runstead.resources.webhooks import DeliveryStore, WebhookGate
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonObject
from runstead.runtime.limits import ClientLimits
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.secrets import RunSecretStore
from runstead.runtime.runs.store import RunEventStore, RunUsageStore, SteeringStore
from runstead.runtime.user_code.watchdog import BlockCount
from runstead.wire.authorization import Authorizer
from runstead.wire.channels import ChannelEndpoint
from runstead.wire.logouts import LogoutEndpoint

from .auth.audit import AuditLog


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Options of the gateway.

    ``configurable_headers`` decides by a header's name (in lower case) whether it is added to a run's configurable.
    ``max_page_bytes`` limits the values of threads in one page of a search. ``max_upload_bytes`` limits the files of
    one upload together. ``heartbeat`` is the silence (seconds)
    after which a waiting response sends a heartbeat. ``is_traced``: the operator has enabled LangSmith tracing.
    ``encrypts_values``: thread values are stored encrypted, and cannot be searched. ``cron_min_interval`` (seconds):
    the shortest time between two runs of a cron; None for no limit. ``metrics_scope``: scope of users who may read
    metrics; ``*`` for all callers. ``operator_scope``: scope of operators, ``read_only_scope`` of users who may only
    read. ``slots``: runs that this process executes at once. ``lease_term``: time without renewal after which other
    workers take a run over.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    max_page_bytes: int = 32 * 1024 * 1024
    max_upload_bytes: int = 100 * 1024 * 1024
    heartbeat: float = 5.0
    configurable_headers: Callable[[str], bool] = field(default=lambda _: False)
    is_traced: bool = False
    encrypts_values: bool = False
    cron_min_interval: float | None = None
    metrics_scope: str = "*"
    operator_scope: str | None = None
    read_only_scope: str | None = None
    slots: int = 0
    lease_term: timedelta = timedelta(seconds=10)


class Metrics(Protocol):
    """Metrics of this process."""

    async def as_text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their content type, which the header ``accept`` selects."""
        ...

    async def as_json(self) -> JsonObject: ...


class NoMetrics:
    """Metrics of a server that has none."""

    async def as_text(self, accept: str = "") -> tuple[bytes, str]:
        return b"", "text/plain; charset=utf-8"

    async def as_json(self) -> JsonObject:
        return {}


class WorkersReport(Protocol):
    """Report on slots, leases, pools and sizes of tables."""

    async def as_json(self, *, names_runs: bool) -> JsonObject:
        """Return the report. ``names_runs``: with the ids of the runs of all users."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """All services behind the routes. ``items`` is LangGraph's BaseStore, scoped by the actor.

    ``ready`` returns the reason why the server accepts no new work (storage unavailable, or shutdown), or None.
    ``authorizer`` decides about permissions; with None, users may do everything with their own objects. ``audit``
    records who did what, ``limits`` bounds what users may ask for. ``files`` is None if the server
    stores none, ``channels`` if it has no chat services, ``logouts`` without an OIDC issuer. ``blocks`` counts how
    often user code blocked its event loop; ``metrics`` are those of this process. ``api_keys`` is None on a
    server whose users do not log in with keys.
    """

    runs: RunsFacade
    threads: ThreadStore
    assistants: AssistantStore
    assistant_lookup: AssistantLookup
    assistant_service: AssistantService
    states: ThreadStates
    configs: ThreadConfigs
    thread_events: ThreadEvents
    thread_streams: ThreadStreams
    interrupts: OpenInterrupts
    schemas: GraphSchemas
    thread_service: ThreadService
    assistant_removal: AssistantRemoval
    thread_copies: ThreadCopies
    events: RunEventStore
    messages: ThreadMessages
    usage: RunUsageStore
    prices: PriceList
    items: Any
    webhooks: WebhookGate
    deliveries: DeliveryStore
    crons: CronStore
    feedback: FeedbackStore
    approvals: ApprovalStore
    steering: SteeringStore
    channel_links: ChannelLinkStore
    run_waits: RunWaitReader
    clock: Clock
    ready: Callable[[], Awaitable[str | None]]
    authorizer: Authorizer | None = None
    audit: AuditLog | None = None
    run_secrets: RunSecretStore | None = None
    limits: ClientLimits = field(default_factory=ClientLimits)
    files: ThreadFiles | None = None
    channels: ChannelEndpoint | None = None
    logouts: LogoutEndpoint | None = None
    blocks: BlockCount = field(default_factory=BlockCount)
    metrics: Metrics = field(default_factory=NoMetrics)
    workers: WorkersReport | None = None
    allowances: AllowanceReader = field(default_factory=NoAllowances)
    api_keys: ApiKeyStore | None = None
    options: GatewayOptions = field(default_factory=GatewayOptions)


class ServiceSource(Protocol):
    """Provider of the services while the application runs."""

    @property
    def services(self) -> Services:
        """The services. Raises Unavailable before the start and after the end."""
        ...
