"""Handlers as projects write them: AES-GCM by the tenant of the context, each value of a JSON object separately."""

from __future__ import annotations

import base64
import json
import os
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph_sdk import DecryptResult, Encryption, EncryptionContext

PREFIX = "encrypted:"
PLAIN = {"colour", "owner", "thread_id", "assistant_id"}
"""Keys whose values stay unencrypted, for searching."""
FAULTS: dict[str, str] = {}
"""Faults that tests inject into the handlers."""
KEYS = ["1"]
"""Key versions that can decrypt; the first one encrypts, and replaces values of other versions."""
SEEN: set[tuple[str, str]] = set()
"""Kinds of the values that were encrypted."""

encryption = Encryption()


def key_of(ctx: EncryptionContext, version: str) -> AESGCM:
    return AESGCM(sha256(f"secret {version} of {ctx.metadata.get('tenant', 'all')}".encode()).digest())


def closed(ctx: EncryptionContext, data: bytes) -> bytes:
    version, nonce = KEYS[0], os.urandom(12)
    return version.encode() + nonce + key_of(ctx, version).encrypt(nonce, data, None)


def opened(ctx: EncryptionContext, data: bytes) -> bytes:
    version = data[:1].decode()
    if version not in KEYS:
        raise KeyError(version)
    return key_of(ctx, version).decrypt(data[1:13], data[13:], None)


def check(handler: str) -> None:
    if handler in FAULTS:
        raise KeyError(FAULTS[handler])


@encryption.encrypt.blob
async def encrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
    check("encrypt.blob")
    SEEN.add((str(ctx.model), str(ctx.field)))
    return closed(ctx, blob)


@encryption.decrypt.blob
async def decrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes | DecryptResult[bytes]:
    check("decrypt.blob")
    plain = opened(ctx, blob)
    return plain if blob[:1].decode() == KEYS[0] else DecryptResult(plain, closed(ctx, plain))


@encryption.encrypt.json
async def encrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
    check("encrypt.json")
    SEEN.add((str(ctx.model), str(ctx.field)))
    if "adds" in FAULTS:
        return {**data, "nonce": "n"}
    return {
        key: value
        if key in PLAIN or value is None
        else PREFIX + base64.b64encode(closed(ctx, json.dumps(value).encode())).decode()
        for key, value in data.items()
    }


@encryption.decrypt.json
async def decrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any] | DecryptResult[dict[str, Any]]:
    check("decrypt.json")
    sealed = {
        key: base64.b64decode(value[len(PREFIX) :])
        for key, value in data.items()
        if isinstance(value, str) and value.startswith(PREFIX)
    }
    plain = {key: json.loads(opened(ctx, sealed[key])) if key in sealed else value for key, value in data.items()}
    if all(value[:1].decode() == KEYS[0] for value in sealed.values()):
        return plain
    return DecryptResult(plain, await encrypt_json(ctx, plain))
