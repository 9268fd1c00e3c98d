"""Checkpoints with custom encryption handlers: values are encrypted before a write and decrypted after a read.

Handlers are coroutines on the user's event loop, for which database threads cannot wait. So a read returns values in
their stored form, and a write receives them in that form.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.infra.storage.replacements import with_replacements
from runstead.runtime.field_encryption import CONTEXT, FieldCipher, Replacement, collect_replacements
from runstead.runtime.json_types import JsonMapping

from .damage import check_parts, telling_damage
from .driver import Driver
from .encrypted import metadata_text, outer_cipher, read_metadata

MODEL: Final = "checkpoint"
_KEY: Final = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_STORED: Final = f"SELECT type, checkpoint, metadata FROM checkpoints WHERE {_KEY}"
_WRITES: Final = f"SELECT task_id, idx, type, value FROM writes WHERE {_KEY}"
_REPLACE: Final = f"UPDATE checkpoints SET type = ?, checkpoint = ? WHERE {_KEY}"
_DESCRIBE: Final = f"UPDATE checkpoints SET metadata = ? WHERE {_KEY}"
_REPLACE_WRITE: Final = f"UPDATE writes SET type = ?, value = ? WHERE {_KEY} AND task_id = ? AND idx = ?"
_SUFFIX: Final = "+handlers"
"""Suffix of the type of a value that handlers have encrypted."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A value in its stored form, without the server's own encryption."""

    kind: str
    data: bytes


class StoredValues(SerializerProtocol):
    """Reads values as `Stored`. Used in database threads."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self.reads, self._outer = serde, outer_cipher(serde)

    def dumps_typed(self, obj: object) -> tuple[str, bytes]:
        return self.reads.dumps_typed(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, stored = data
        if self._outer is not None:
            kind, stored = self._outer.opened(kind, stored)
        return Stored(kind, bytes(stored))


class HandlerEncryptedValues:
    """Encryption by handlers of the checkpoint values that ``serde`` reads and writes."""

    def __init__(self, cipher: FieldCipher, serde: SerializerProtocol) -> None:
        self.cipher, self.stored = cipher, StoredValues(serde)
        outer = outer_cipher(serde)
        self._outer, self._serde = outer, serde if outer is None else outer.inner

    def dumps_typed(self, value: object) -> tuple[str, bytes]:
        """Return a value in the form that handlers receive."""
        return self._serde.dumps_typed(value)

    async def sealed(self, field: str, values: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return the stored form of ``values``, in their order. Raises EncryptionFailed."""
        if self.cipher.encrypts_blobs:

            async def work() -> list[bytes]:
                return await asyncio.gather(*(self.cipher.encrypt_blob(MODEL, field, data) for _, data in values))

            made = await self.cipher.together(work)
            values = [(kind + _SUFFIX, data) for (kind, _), data in zip(values, made, strict=True)]
        return [value if self._outer is None else self._outer.closed(*value) for value in values]

    async def sealed_metadata(self, described: JsonMapping) -> JsonMapping:
        """Return the stored form of a checkpoint's metadata. Raises EncryptionFailed, ReservedKey."""
        plain = json.loads(json.dumps(described, default=repr))
        return await self.cipher.encrypt(MODEL, "metadata", plain) if plain and self.cipher.encrypts_json else plain

    async def unsealed(
        self, found: Sequence[CheckpointTuple]
    ) -> tuple[list[CheckpointTuple], list[tuple[CheckpointTuple, Sequence[Replacement]]]]:
        """Decrypt checkpoints that were read with `StoredValues`.

        Returns them, and the replacements of stored values for each checkpoint that needs any. Raises
        EncryptionFailed.
        """

        async def one(stored: CheckpointTuple) -> tuple[CheckpointTuple, Sequence[Replacement]]:
            replaced = collect_replacements()
            return await self._unsealed(stored), replaced

        async def work() -> list[tuple[CheckpointTuple, Sequence[Replacement]]]:
            return await asyncio.gather(*map(one, found))

        made = await self.cipher.together(work) if found else []
        return [plain for plain, _ in made], [(plain, replaced) for plain, replaced in made if replaced]

    def replace(
        self, driver: Driver, serde: SerializerProtocol, found: CheckpointTuple, all_: Sequence[Replacement]
    ) -> None:
        """Write the replacements of a checkpoint's stored values, if those are still the ones that were read."""
        place = found.config["configurable"]
        key = (place["thread_id"], place["checkpoint_ns"], place["checkpoint_id"])
        blobs = {before: after for before, after in all_ if isinstance(before, bytes)}
        for kind, blob, text in driver.execute(_STORED, key).fetchall():
            if (value := self._instead(kind, blob, blobs)) is not None:
                driver.execute(_REPLACE, (*value, *key))
            described = read_metadata(serde, text)
            if (more := with_replacements(described, all_)) != described:
                driver.execute(_DESCRIBE, (metadata_text(serde, more), *key))
        for task_id, index, kind, blob in driver.execute(_WRITES, key).fetchall():
            if (value := self._instead(kind, blob, blobs)) is not None:
                driver.execute(_REPLACE_WRITE, (*value, *key, task_id, index))

    def _instead(self, kind: str, blob: bytes, blobs: Mapping[bytes, bytes]) -> tuple[str, bytes] | None:
        stored: Stored = self.stored.loads_typed((kind, bytes(blob)))
        if (after := blobs.get(stored.data)) is None:
            return None
        return (stored.kind, after) if self._outer is None else self._outer.closed(stored.kind, after)

    async def _unsealed(self, found: CheckpointTuple) -> CheckpointTuple:
        writes = found.pending_writes or []
        metadata, checkpoint, *values = await asyncio.gather(
            self._described(found.metadata),
            self._plain("checkpoint", found.checkpoint),
            *(self._plain("writes", value) for _, _, value in writes),
        )
        place = found.config["configurable"]
        with telling_damage(place["thread_id"], place["checkpoint_id"]):
            pending = [
                (task, channel, self._loaded(value)) for (task, channel, _), value in zip(writes, values, strict=True)
            ]
            plain = self._loaded(checkpoint)
            check_parts(plain)
        return found._replace(checkpoint=plain, metadata=metadata, pending_writes=pending)

    async def _described(self, stored: Any) -> Any:
        return await self.cipher.decrypt(MODEL, "metadata", stored) if CONTEXT in stored else stored

    async def _plain(self, field: str, value: Any) -> Stored:
        kind, data = value.kind, value.data
        if kind.endswith(_SUFFIX):
            kind, data = kind[: -len(_SUFFIX)], await self.cipher.decrypt_blob(MODEL, field, data)
        return Stored(kind, data)

    def _loaded(self, value: Stored) -> Any:
        return self._serde.loads_typed((value.kind, value.data))
