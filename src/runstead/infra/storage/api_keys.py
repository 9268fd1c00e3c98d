"""API keys in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, insert, select, update

from runstead.resources.api_keys import ApiKeyRecord

from . import json_text
from .access_predicates import is_storable
from .database import Database
from .schema import api_keys

_RECORD: Final = (
    api_keys.c.key_id,
    api_keys.c.name,
    api_keys.c.digest,
    api_keys.c.user_id,
    api_keys.c.tenant_id,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.last_used_at,
    api_keys.c.revoked_at,
    api_keys.c.expires_at,
)


class SqlApiKeyStore:
    """ApiKeyStore over a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: ApiKeyRecord) -> None:
        row = {
            "key_id": key.key_id,
            "name": key.name,
            "digest": key.digest,
            "user_id": key.user_id,
            "tenant_id": key.tenant_id,
            "scopes": json_text.dump(key.scopes),
            "created_at": key.created_at,
            "last_used_at": key.last_used_at,
            "revoked_at": key.revoked_at,
            "expires_at": key.expires_at,
        }
        await self._database.write(lambda connection: connection.execute(insert(api_keys).values(row)).close())

    async def find(self, digest: str) -> ApiKeyRecord | None:
        return await self._first(api_keys.c.digest == digest)

    async def get(self, key_id: str) -> ApiKeyRecord | None:
        return await self._first(api_keys.c.key_id == key_id) if is_storable(key_id) else None

    async def _first(self, condition: ColumnElement[bool]) -> ApiKeyRecord | None:
        statement = select(*_RECORD).where(condition)

        def work(connection: Connection) -> ApiKeyRecord | None:
            row = connection.execute(statement).first()
            return None if row is None else _to_record(row)

        return await self._database.read(work)

    async def list_keys(self) -> Sequence[ApiKeyRecord]:
        statement = select(*_RECORD).order_by(api_keys.c.created_at, api_keys.c.key_id)
        return await self._database.read(lambda connection: [_to_record(row) for row in connection.execute(statement)])

    async def revoke(self, key_id: str, at: datetime) -> bool:
        if not is_storable(key_id):
            return False
        mine = api_keys.c.key_id == key_id
        revoking = update(api_keys).where(mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=at)

        def work(connection: Connection) -> bool:
            connection.execute(revoking)
            return connection.execute(select(api_keys.c.key_id).where(mine)).first() is not None

        return await self._database.write(work)

    async def used(self, key_id: str, at: datetime) -> None:
        statement = update(api_keys).where(api_keys.c.key_id == key_id).values(last_used_at=at)
        await self._database.write(lambda connection: connection.execute(statement).close())


def _to_record(row: Any) -> ApiKeyRecord:
    key_id, name, digest, user_id, tenant_id, scopes, created_at, last_used_at, revoked_at, expires_at = row
    return ApiKeyRecord(
        key_id=key_id,
        name=name,
        digest=digest,
        user_id=user_id,
        tenant_id=tenant_id,
        scopes=tuple(json_text.load(scopes)),
        created_at=created_at,
        last_used_at=last_used_at,
        revoked_at=revoked_at,
        expires_at=expires_at,
    )
