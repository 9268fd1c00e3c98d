"""Checkpoints through handlers: values are encrypted before the write begins, and decrypted after the read has ended.

Handlers are coroutines of the user's loop, for which the threads of a database cannot wait. So a read returns values as
they are stored, and a write is given them so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.runtime.field_encryption import CONTEXT, FieldCipher

from .encrypted import outer_cipher

MODEL: Final = "checkpoint"
_SUFFIX: Final = "+handlers"
"""Stands behind the type of a value that handlers have encrypted."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A value as it is stored, without the server's own encryption."""

    kind: str
    data: bytes


class StoredValues(SerializerProtocol):
    """Reads values as `Stored`. For the threads of a database."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self.reads, self._outer = serde, outer_cipher(serde)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return self.reads.dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, stored = data
        if self._outer is not None:
            kind, stored = self._outer.opened(kind, stored)
        return Stored(kind, bytes(stored))


class HandledValues:
    """What handlers do with the values of checkpoints that ``serde`` reads and writes."""

    def __init__(self, cipher: FieldCipher, serde: SerializerProtocol) -> None:
        self.cipher, self.stored = cipher, StoredValues(serde)
        outer = outer_cipher(serde)
        self._outer, self._serde = outer, serde if outer is None else outer.inner

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        """Return a value as handlers are given it."""
        return self._serde.dumps_typed(value)

    async def sealed(self, field: str, values: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return what is stored of ``values``, in their order. Raises EncryptionFailed."""
        if self.cipher.encrypts_blobs:

            async def work() -> list[bytes]:
                return await asyncio.gather(*(self.cipher.encrypt_blob(MODEL, field, data) for _, data in values))

            made = await self.cipher.together(work)
            values = [(kind + _SUFFIX, data) for (kind, _), data in zip(values, made, strict=True)]
        return [value if self._outer is None else self._outer.closed(*value) for value in values]

    async def sealed_metadata(self, described: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is stored of a checkpoint's metadata. Raises EncryptionFailed, ReservedKey."""
        plain = json.loads(json.dumps(described, default=repr))
        return await self.cipher.encrypt(MODEL, "metadata", plain) if plain and self.cipher.encrypts_json else plain

    async def unsealed(self, found: Sequence[CheckpointTuple]) -> list[CheckpointTuple]:
        """Return checkpoints behind those that were read with `StoredValues`. Raises EncryptionFailed."""

        async def work() -> list[CheckpointTuple]:
            return await asyncio.gather(*map(self._unsealed, found))

        return await self.cipher.together(work) if found else []

    async def unsealed_metadata(self, described: Any) -> Any:
        """Return the metadata behind stored ones."""
        return await self.cipher.decrypt(MODEL, "metadata", described) if CONTEXT in described else described

    async def _unsealed(self, found: CheckpointTuple) -> CheckpointTuple:
        writes = found.pending_writes or []
        metadata, checkpoint, *values = await asyncio.gather(
            self.unsealed_metadata(found.metadata),
            self._plain("checkpoint", found.checkpoint),
            *(self._plain("writes", value) for _, _, value in writes),
        )
        pending = [(task, channel, value) for (task, channel, _), value in zip(writes, values, strict=True)]
        return found._replace(checkpoint=checkpoint, metadata=metadata, pending_writes=pending)

    async def _plain(self, field: str, value: Any) -> Any:
        kind, data = value.kind, value.data
        if kind.endswith(_SUFFIX):
            kind, data = kind[: -len(_SUFFIX)], await self.cipher.decrypt_blob(MODEL, field, data)
        return self._serde.loads_typed((kind, data))
