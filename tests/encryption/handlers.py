"""Handlers as projects write them: AES-GCM by the tenant of the context, each value of a JSON object on its own."""

from __future__ import annotations

import base64
import json
import os
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph_sdk import Encryption, EncryptionContext

PREFIX = "encrypted:"
PLAIN = {"colour", "owner", "thread_id", "assistant_id"}
"""Keys whose values stay as they are, to be searched for."""
FAULTS: dict[str, str] = {}
"""What the handlers are to do wrong, for tests of that."""
SEEN: set[tuple[str, str]] = set()
"""Of what values were encrypted."""

encryption = Encryption()


def key_of(ctx: EncryptionContext) -> AESGCM:
    return AESGCM(sha256(f"secret of {ctx.metadata.get('tenant', 'all')}".encode()).digest())


def closed(ctx: EncryptionContext, data: bytes) -> bytes:
    nonce = os.urandom(12)
    return nonce + key_of(ctx).encrypt(nonce, data, None)


def opened(ctx: EncryptionContext, data: bytes) -> bytes:
    return key_of(ctx).decrypt(data[:12], data[12:], None)


def check(handler: str) -> None:
    if handler in FAULTS:
        raise KeyError(FAULTS[handler])


@encryption.encrypt.blob
async def encrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
    check("encrypt.blob")
    SEEN.add((str(ctx.model), str(ctx.field)))
    return closed(ctx, blob)


@encryption.decrypt.blob
async def decrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
    check("decrypt.blob")
    return opened(ctx, blob)


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
async def decrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
    check("decrypt.json")
    return {
        key: json.loads(opened(ctx, base64.b64decode(value[len(PREFIX) :])))
        if isinstance(value, str) and value.startswith(PREFIX)
        else value
        for key, value in data.items()
    }
