"""Embedded profile, for a single server: files in one directory, streams mainly in memory, runs in this process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.infra.cache.memory import MemoryCache
from runstead.infra.checkpoints.identity import check_pair
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.dispatch.local import LocalDispatcher
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, RUNS_FILE, own_data_dir
from runstead.infra.storage.encryption_keys import check_encryption_keys
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.infra.stream_bridge.memory.spilling import SpillSettings
from runstead.infra.stream_bridge.memory.spool import Spool
from runstead.resources.thread_notices import LocalThreadNotices
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.field_encryption import FieldCipher
from runstead.settings import Settings

from .client_limits import local_limits
from .migration_backup import back_up_before_migration
from .options import event_store, stream_settings
from .profile import Profile, Queue


async def open_embedded(
    stack: AsyncExitStack,
    settings: Settings,
    serde: SerializerProtocol | None = None,
    cipher: Cipher | None = None,
    field_cipher: FieldCipher | None = None,
    clock: Clock | None = None,
) -> Profile:
    """Open the profile until the end of ``stack``.

    ``serde`` serializes the values of checkpoints. ``cipher`` encrypts stored data; ``field_cipher`` encrypts
    checkpoints before that. ``clock``: its time instead of the machine's. Raises StorageError.
    """
    clock = clock or SystemClock()
    data_dir = stack.enter_context(own_data_dir(settings.data_dir, (cipher or NO_KEYS).key_ids))
    await asyncio.to_thread(back_up_before_migration, data_dir)
    database = await stack.enter_async_context(open_storage(data_dir / RUNS_FILE, cipher or NO_KEYS))
    await check_encryption_keys(database, cipher, str(data_dir), has_handlers=field_cipher is not None)
    checkpoints = await stack.enter_async_context(
        open_checkpoints(data_dir / CHECKPOINTS_FILE, serde=serde, field_cipher=field_cipher)
    )
    await check_pair(database, checkpoints.database, data_dir / CHECKPOINTS_FILE)
    spill = SpillSettings(
        settings.stream_memory_bytes, settings.stream_disk_bytes, Spool(data_dir / "streams", cipher=cipher)
    )
    bridge = await stack.enter_async_context(MemoryStreamBridge.running(stream_settings(settings), clock, spill))
    events = await stack.enter_async_context(event_store(settings, database, data_dir, cipher))
    # The stores notify it when a run may have become claimable, and the dispatcher waits for it.
    bell = WakeupSignal()
    return Profile(
        database=database,
        checkpoints=checkpoints,
        bridge=bridge,
        events=events,
        notices=LocalThreadNotices(),
        queue=Queue(lambda leases, by_turns: LocalDispatcher(leases, bell, clock), notify=bell.notify),
        cache=MemoryCache(clock),
        clock=clock,
        is_shared=False,
        limits=local_limits(settings),
        others=(checkpoints.database,),
        pools={"runs": database, "checkpoints": checkpoints.database},
    )
