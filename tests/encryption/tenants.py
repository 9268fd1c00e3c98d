"""Users with tenants, and handlers that take the tenant from the user instead of a header."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth, Encryption, EncryptionContext

from .handlers import decrypt_blob, decrypt_json, encrypt_blob, encrypt_json

auth = Auth()
encryption = Encryption()
encryption.encrypt.json(encrypt_json)
encryption.decrypt.json(decrypt_json)
encryption.encrypt.blob(encrypt_blob)
encryption.decrypt.blob(decrypt_blob)


@auth.authenticate
async def authenticate(authorization: str | None) -> Any:
    name = (authorization or "").removeprefix("Bearer ")
    return {"identity": name, "tenant": f"tenant-of-{name}", "token": f"secret-of-{name}"}


@encryption.context
async def context(user: Any, ctx: EncryptionContext) -> dict[str, Any]:
    if "context" in ctx.metadata.get("fails", ""):
        raise KeyError("canary")
    return {**ctx.metadata, "tenant": user.tenant}
