"""Components that a server opens before the kernel: its profile, the item store, webhooks, and encryption around
them."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.registry import GraphRegistry
from runstead.handlers.encryption import LangGraphEncryption
from runstead.infra.approvals.deadlines import ApprovalBell
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.storage.encryption_keys import missing_key
from runstead.infra.storage.items.store import SqlItemStore
from runstead.infra.storage.replacements import SqlReplacements
from runstead.installation import install_command
from runstead.resources.items import ActorScopedStore
from runstead.resources.run_secrets import CachedRunSecrets
from runstead.resources.storage_errors import StorageUnusable
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.agent_loop import AgentLoops
from runstead.runtime.runs.secrets import RunSecretStore
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.settings import Settings

from .adapters import NO_ADAPTERS, Adapters, Observers, open_adapters
from .background import sweep_items_regularly
from .embedded import open_embedded
from .encryption import load_cipher
from .encryption_handlers import EncryptedStores, not_encrypted_by
from .log_redaction import errors_without_texts
from .options import agent_loops, checkpoint_serde, item_index, item_sweep_interval, item_ttl
from .profile import Profile
from .unsupported import UnsupportedConfiguration, auth_mode
from .user_code import UserCode
from .webhooks import Webhooks, open_webhooks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Opened components, closed in reverse order. Requests use ``store``, graphs ``graph_store``."""

    profile: Profile
    store: ActorScopedStore
    graph_store: ActorScopedStore
    loops: AgentLoops
    graphs: GraphRegistry
    webhooks: Webhooks
    cron_bell: WakeupSignal
    approval_bell: ApprovalBell
    handled: EncryptedStores
    encrypts_values: bool
    """True if values of threads cannot be searched, or only in part."""
    observers: Observers
    run_secrets: RunSecretStore | None
    """None where they would be in a Redis without encryption."""
    missing_key: Callable[[], Awaitable[str | None]]
    """Returns which encryption key of the data this process lacks."""


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
            f"a cluster needs packages that are not installed ({error.name}); {install_command('postgres', 'redis')}"
        ) from error
    return await open_scaled(stack, settings, serde, cipher, field_cipher)


async def _open_items(
    stack: AsyncExitStack,
    profile: Profile,
    configuration: GraphConfiguration,
    code: UserCode,
    user_loop: UserLoop,
    handled: EncryptedStores,
) -> ActorScopedStore:
    index = item_index(configuration, code.embeddings, user_loop)
    items = SqlItemStore(
        profile.database,
        profile.clock,
        index=index,
        ttl=item_ttl(configuration),
        vectors=None if index is None else await profile.item_vectors(),
        values=handled.item_values,
    )
    await stack.enter_async_context(sweep_items_regularly(items, profile.clock, item_sweep_interval(configuration)))
    return ActorScopedStore(items, would_block=handled.would_block)


async def open_parts(
    stack: AsyncExitStack,
    settings: Settings,
    configuration: GraphConfiguration,
    code: UserCode,
    user_loop: UserLoop,
    handlers: LangGraphEncryption | None,
    adapters: Adapters = NO_ADAPTERS,
) -> Parts:
    """Open the configured profile and the components on top of it, until the end of ``stack``. Raises StorageError."""
    # After the environment of langgraph.json was applied, since it may set LANGGRAPH_AES_KEY.
    cipher = load_cipher(settings, os.environ)
    stack.enter_context(errors_without_texts(cipher is not None or handlers is not None))
    if handlers is not None and cipher is None:
        _log.warning("%s", not_encrypted_by(handlers))
    serde = checkpoint_serde(configuration, cipher)
    if settings.is_cluster:
        if adapters.clock is not None:
            raise UnsupportedConfiguration("clock: only for a single server; a cluster has the time of its database")
        profile = await _open_scaled(stack, settings, serde, cipher, handlers)
    else:
        profile = await open_embedded(stack, settings, serde, cipher, handlers, adapters.clock)
    profile, observers = await open_adapters(stack, profile, adapters, configuration)
    handled = EncryptedStores(handlers)
    # Events are numerous: with encryption keys, handlers are not called for each of them.
    profile = replace(profile, events=handled.run_events(profile.events, encrypts=cipher is None))
    if handlers is not None:
        handlers.replacements = SqlReplacements(profile.database)
    database, clock = profile.database, profile.clock
    loops = agent_loops(settings, configuration, user_loop)
    stack.push_async_callback(loops.close)
    store = await _open_items(stack, profile, configuration, code, user_loop, handled)
    # Only auth handlers can share items.
    graph_store = store.finding_shared() if auth_mode(settings, configuration) == "langgraph" else store
    webhooks = await stack.enter_async_context(
        open_webhooks(settings, configuration, database, clock, user_loop, handled.deliveries)
    )
    encrypts_values = cipher is not None or (handlers is not None and handlers.encrypts_json)
    return Parts(
        profile,
        store,
        graph_store,
        loops,
        code.graphs,
        webhooks,
        WakeupSignal(),
        ApprovalBell(),
        handled,
        encrypts_values,
        observers,
        None if profile.is_shared and cipher is None else CachedRunSecrets(profile.cache),
        partial(missing_key, database, cipher, has_handlers=handlers is not None),
    )
