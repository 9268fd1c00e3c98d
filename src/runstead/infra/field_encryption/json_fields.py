"""Encryption of JSON fields of records through a FieldCipher, with some parts as fields of their own.

The parts are those of the reference server, so that a handler sees the same models, fields and keys. A value that is
no object is wrapped in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson

from runstead.infra.storage import json_text
from runstead.runtime.field_encryption import CONTEXT, RESERVED, FieldCipher, ReservedKey
from runstead.runtime.serialization import encode

PARTS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("run", "config"): ("configurable", "metadata"),
    ("cron", "payload"): ("metadata", "context", "input", "config"),
    ("cron", "config"): ("configurable", "metadata"),
    ("assistant", "config"): ("configurable",),
    ("thread", "config"): ("configurable",),
}
"""Fields inside of fields that are encrypted separately."""
VALUE: Final = "__runstead_value__"
"""The only key of the object that wraps a value that is no object."""


def is_sealed(value: object) -> bool:
    """Return whether ``value``, or a part of it, is a result of `seal`."""
    if not isinstance(value, Mapping):
        return False
    return CONTEXT in value or any(isinstance(part, Mapping) and CONTEXT in part for part in value.values())


async def seal(cipher: FieldCipher, model: str, field: str, value: object) -> Any:
    """Return ``value`` encrypted; an empty one unchanged. Raises NotJson, ReservedKey, EncryptionFailed."""
    if value is None or value == {}:
        return value
    # In the form in which it will be read: handlers receive plain JSON, and may modify it.
    plain = json_text.load(json_text.dump(value))
    if isinstance(plain, dict) and (reserved := RESERVED & plain.keys()):
        raise ReservedKey(min(reserved))
    if not cipher.encrypts_json:
        return plain
    if not isinstance(plain, dict):
        plain = {VALUE: plain}
    names = [name for name in PARTS.get((model, field), ()) if isinstance(plain.get(name), dict) and plain[name]]
    parts = await asyncio.gather(*(seal(cipher, model, name, plain[name]) for name in names))
    own = {name: one for name, one in plain.items() if name not in names}
    sealed = await cipher.encrypt(model, field, own) if own else {}
    return {**sealed, **dict(zip(names, parts, strict=True))}


async def unseal(cipher: FieldCipher, model: str, field: str, value: Any) -> Any:
    """Return the decrypted value of a result of `seal`; any other value unchanged. Raises EncryptionFailed."""
    if not is_sealed(value):
        return value
    parts = PARTS.get((model, field), ())
    names = [name for name in parts if is_sealed(value.get(name))]
    found = await asyncio.gather(*(unseal(cipher, model, name, value[name]) for name in names))
    own = {name: one for name, one in value.items() if name not in names}
    plain = await cipher.decrypt(model, field, own)
    if CONTEXT in own and plain.keys() == {VALUE}:
        return plain[VALUE]
    return {**plain, **dict(zip(names, found, strict=True))}


async def seal_bytes(cipher: FieldCipher, model: str, field: str, data: bytes | None) -> bytes | None:
    """Apply `seal` to a JSON text in bytes."""
    if data is None or not cipher.encrypts_json:
        return data
    return encode(await seal(cipher, model, field, orjson.loads(data)))


async def unseal_bytes(cipher: FieldCipher, model: str, field: str, data: bytes | None) -> bytes | None:
    """Apply `unseal` to a JSON text in bytes."""
    if data is None or CONTEXT.encode() not in data:
        return data
    found = orjson.loads(data)
    return encode(await unseal(cipher, model, field, found)) if is_sealed(found) else data
