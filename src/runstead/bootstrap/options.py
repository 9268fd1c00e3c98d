"""Conversion of settings and langgraph.json to options of the components."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from langchain_core.embeddings import Embeddings
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import TTLConfig

from runstead.auth.none import LOCAL_ACTOR
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.embeddings import OffLoopEmbeddings
from runstead.graphs.sections import HeaderChoice, Ttl
from runstead.infra.checkpoints.encrypted import encrypted_serde
from runstead.infra.checkpoints.serde import CheckpointSerializer
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.run_events.jsonl import JsonlRunEventStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.items.index import ItemIndex
from runstead.infra.storage.run_events import SqlRunEventStore
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamSettings
from runstead.resources.threads import ThreadTtl
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.agent_loop import AgentLoops, AgentLoopsByGraph, Isolation
from runstead.runtime.runs.redaction import CREDENTIALS
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.store import RunEventStore
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.settings import Settings

from .background import Sweeps
from .memory_limits import bytes_in_flight

_WINDOW_BYTES: Final = 256 * 1024 * 1024
_NEVER_HEADERS: Final = frozenset((*CREDENTIALS, "x-tenant-id"))
"""Headers that never become configurable, whatever the configuration says: the configurable is stored with the run."""


def run_limits(settings: Settings, reserved_slots: int = 0) -> RunLimits:
    return RunLimits(
        max_concurrent_runs=settings.max_concurrent_runs,
        reserved_slots=reserved_slots,
        lease_term=timedelta(seconds=settings.lease_term_seconds),
        max_attempts=settings.max_attempts,
        stop_grace=settings.stop_grace_seconds,
        hand_back_grace=settings.hand_back_grace_seconds,
        run_timeout=settings.run_timeout_seconds,
        heartbeat=settings.heartbeat_seconds,
        input_bytes=bytes_in_flight(settings),
        access_check=settings.access_check_seconds,
    )


def stream_settings(settings: Settings) -> MemoryStreamSettings:
    return MemoryStreamSettings(
        window_events=settings.stream_window_events,
        window_bytes=settings.stream_window_bytes or _WINDOW_BYTES,
        retention=settings.stream_retention_seconds,
        awaiting_retention=settings.stream_awaiting_input_seconds,
    )


def agent_loops(settings: Settings, configuration: GraphConfiguration, user_loop: UserLoop) -> AgentLoops:
    """Return the loops for graph code: as langgraph.json sets for each graph, or else as the setting says."""
    own = {source.graph_id: source.agent_isolation for source in configuration.graphs}

    def isolation(graph_id: str | None) -> Isolation:
        return own.get(graph_id or "") or settings.agent_isolation

    return AgentLoopsByGraph(user_loop, isolation)


def header_choice(configuration: GraphConfiguration) -> Callable[[str], bool]:
    """Return the filter of request headers that become part of a run's configurable."""
    return _chosen(configuration.http.configurable_headers)


def logged_headers(configuration: GraphConfiguration) -> Callable[[str], bool] | None:
    """Return the filter of request headers in log lines; None for none."""
    choice = configuration.http.logging_headers
    return _chosen(choice) if choice.include else None


def _chosen(choice: HeaderChoice) -> Callable[[str], bool]:
    include = [pattern.lower() for pattern in choice.include]
    exclude = [pattern.lower() for pattern in choice.exclude]

    def is_let_in(name: str) -> bool:
        return (
            name not in _NEVER_HEADERS
            and any(fnmatchcase(name, pattern) for pattern in include)
            and not any(fnmatchcase(name, pattern) for pattern in exclude)
        )

    return is_let_in


def trusted_with_shared(settings: Settings) -> Callable[[ActorContext], bool]:
    """Return whether an actor may change default assistants: the single user of a server without authentication,
    otherwise users with the configured scope."""
    scope = settings.shared_assistants_scope

    def is_trusted(actor: ActorContext) -> bool:
        return actor == LOCAL_ACTOR or (scope is not None and scope in actor.scopes)

    return is_trusted


def checkpoint_serde(configuration: GraphConfiguration, cipher: Cipher | None = None) -> SerializerProtocol | None:
    """Return the serializer for values of checkpoints; None for the store's default."""
    serde = _plain_serde(configuration)
    return serde if cipher is None else encrypted_serde(serde or CheckpointSerializer(), cipher)


def _plain_serde(configuration: GraphConfiguration) -> JsonPlusSerializer | None:
    if (serde := configuration.checkpointer.serde) is None:
        return None
    given = {name: getattr(serde, name) for name in serde.model_fields_set}
    lists = {name: [tuple(path) for path in value] for name, value in given.items() if isinstance(value, list)}
    return CheckpointSerializer(**{**given, **lists})


def item_index(
    configuration: GraphConfiguration, embeddings: Embeddings | None, user_loop: UserLoop
) -> ItemIndex | None:
    """Return the index of embedded items; None if no index is configured."""
    if (index := configuration.store.index) is None or embeddings is None:
        return None
    return ItemIndex(index.embed, index.dims, OffLoopEmbeddings(embeddings, user_loop), index.fields)


def item_ttl(configuration: GraphConfiguration) -> TTLConfig:
    """Return the time to live of items without one of their own."""
    ttl = configuration.store.ttl or Ttl()
    return TTLConfig(refresh_on_read=ttl.refresh_on_read, default_ttl=ttl.default_ttl)


def item_sweep_interval(configuration: GraphConfiguration) -> float:
    """Return the seconds between two sweeps of items."""
    return (configuration.store.ttl or Ttl()).sweep_interval_minutes * 60


def thread_ttl(configuration: GraphConfiguration) -> ThreadTtl | None:
    """Return the time to live of threads without one of their own; None for no expiry."""
    ttl = configuration.checkpointer.ttl
    return None if ttl is None or ttl.default_ttl is None else ThreadTtl(ttl.default_ttl, ttl.strategy)


def thread_sweeps(configuration: GraphConfiguration) -> Sweeps:
    """Return the interval between sweeps of threads, and their maximum size."""
    ttl = configuration.checkpointer.ttl
    return Sweeps() if ttl is None else Sweeps(timedelta(minutes=ttl.sweep_interval_minutes), ttl.sweep_limit)


@asynccontextmanager
async def event_store(
    settings: Settings, database: Database, data_dir: Path, cipher: Cipher | None = None
) -> AsyncIterator[RunEventStore]:
    """Open the store of run events: in the database of the runs, or in files of JSON lines."""
    if settings.run_events == "sql":
        yield SqlRunEventStore(database)
        return
    async with JsonlRunEventStore.open(data_dir / "events", cipher=cipher) as store:
        yield store
