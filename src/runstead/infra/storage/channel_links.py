"""Links of chat users to accounts, and the one-time codes that make them, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from runstead.resources.channels import CODE_LIFETIME, MAX_LINKS, ChannelLink, ChatUser
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.clock import Clock

from . import json_text
from .access_predicates import is_storable
from .database import Database
from .dialect import add_unless_there, put_row
from .schema import channel_codes as codes
from .schema import channel_links as links


class SqlChannelLinkStore:
    """ChannelLinkStore over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create_code(self, digest: str) -> datetime:
        actor = require_actor_context("linking a chat user")
        now = self._clock.now()
        row = {
            "digest": digest,
            "expires_at": now + CODE_LIFETIME,
            "used_by": None,
            "actor": json_text.dump(actor.to_json()),
        }

        def work(connection: Connection) -> None:
            connection.execute(delete(codes).where(codes.c.expires_at <= now))
            add_unless_there(connection, codes, row)

        await self._database.write(work)
        return now + CODE_LIFETIME

    async def redeem(self, digest: str, chat_user: ChatUser) -> ChannelLink | None:
        if not _is_storable(chat_user):
            return None
        now, mark = self._clock.now(), json_text.dump(chat_user)
        open_code = and_(codes.c.digest == digest, codes.c.expires_at > now)
        using = update(codes).where(open_code, codes.c.used_by.is_(None)).values(used_by=mark).returning(codes.c.actor)
        used = select(codes.c.actor).where(open_code, codes.c.used_by == mark)

        def work(connection: Connection) -> ChannelLink | None:
            if (row := connection.execute(using).first()) is None:
                # Delivered again. A link that was deleted since is not made again.
                repeated = connection.execute(used).first()
                there = connection.execute(select(links).where(_of(chat_user))).first() if repeated else None
                return None if there is None else _to_link(there)
            link = ChannelLink(chat_user, ActorContext.from_json(json_text.load(row.actor)), now)
            put_row(connection, links, _row_of(link))
            _keep_latest(connection, link.actor)
            return link

        return await self._database.write(work)

    async def delete_code(self, digest: str) -> None:
        await self._database.write(
            lambda connection: connection.execute(delete(codes).where(codes.c.digest == digest)).close()
        )

    async def find(self, chat_user: ChatUser) -> ChannelLink | None:
        if not _is_storable(chat_user):
            return None
        statement = select(links).where(_of(chat_user))

        def work(connection: Connection) -> ChannelLink | None:
            row = connection.execute(statement).first()
            return None if row is None else _to_link(row)

        return await self._database.read(work)

    async def delete_of_subject(self, auth_source: str, subject_id: str) -> int:
        if not is_storable(subject_id):
            return 0

        def work(connection: Connection) -> int:
            found = [_to_link(row) for row in connection.execute(select(links).where(links.c.subject_id == subject_id))]
            ended = [link.chat_user for link in found if link.actor.auth_source == auth_source]
            for chat_user in ended:
                connection.execute(delete(links).where(_of(chat_user)))
            return len(ended)

        return await self._database.write(work)

    async def list_links(self) -> Sequence[ChannelLink]:
        actor = require_actor_context("reading the links of chat users")
        statement = select(links).where(_owned_by(actor)).order_by(links.c.created_at, links.c.chat_user_id)
        return await self._database.read(lambda connection: [_to_link(row) for row in connection.execute(statement)])

    async def delete(self, provider: str, chat_user_id: str, workspace: str | None = None) -> bool:
        actor = require_actor_context("deleting the link of a chat user")
        if not _is_storable(ChatUser(provider, workspace or "", chat_user_id)):
            return False
        own = and_(_owned_by(actor), links.c.provider == provider, links.c.chat_user_id == chat_user_id)
        if workspace is not None:
            own = and_(own, links.c.workspace == workspace)
        statement = delete(links).where(own).returning(links.c.provider)
        return await self._database.write(lambda connection: bool(connection.execute(statement).all()))


def _keep_latest(connection: Connection, actor: ActorContext) -> None:
    """Delete the oldest links of an account that has more than MAX_LINKS."""
    count = connection.execute(select(func.count()).select_from(links).where(_owned_by(actor))).scalar_one()
    if count <= MAX_LINKS:
        return
    key = (links.c.provider, links.c.workspace, links.c.chat_user_id)
    oldest = select(*key).where(_owned_by(actor)).order_by(links.c.created_at).limit(count - MAX_LINKS)
    for row in connection.execute(oldest).all():
        connection.execute(delete(links).where(*(column == value for column, value in zip(key, row, strict=True))))


def _of(chat_user: ChatUser) -> ColumnElement[bool]:
    return and_(
        links.c.provider == chat_user.provider,
        links.c.workspace == chat_user.workspace,
        links.c.chat_user_id == chat_user.user_id,
    )


def _is_storable(chat_user: ChatUser) -> bool:
    return all(map(is_storable, (chat_user.provider, chat_user.workspace, chat_user.user_id)))


def _owned_by(actor: ActorContext) -> ColumnElement[bool]:
    return and_(links.c.tenant_id == actor.tenant_id, links.c.user_id == actor.user_id)


def _row_of(link: ChannelLink) -> dict[str, object]:
    return {
        "provider": link.chat_user.provider,
        "workspace": link.chat_user.workspace,
        "chat_user_id": link.chat_user.user_id,
        "tenant_id": link.actor.tenant_id,
        "user_id": link.actor.user_id,
        "subject_id": link.actor.subject_id,
        "created_at": link.created_at,
        "actor": json_text.dump(link.actor.to_json()),
    }


def _to_link(row: Any) -> ChannelLink:
    chat_user = ChatUser(row.provider, row.workspace, row.chat_user_id)
    return ChannelLink(chat_user, ActorContext.from_json(json_text.load(row.actor)), row.created_at)
