"""Messages of chat services, the threads of their conversations, and the leases of their servers, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from runstead.resources.channels import ChannelMessage, Conversation, NewChannelMessage
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import RunId, ThreadId

from . import json_text
from .access_predicates import is_storable
from .database import Database
from .dialect import add_unless_there, put_row
from .schema import channel_conversations as conversations
from .schema import channel_leases as leases
from .schema import channel_messages as messages

_OPEN: Final = messages.c.ended_at.is_(None)
_EMPTY: Final = "{}"


class SqlChannelMessageStore:
    """ChannelMessageStore over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def add(self, message: NewChannelMessage) -> bool:
        place, now = message.conversation, self._clock.now()
        if not all(map(is_storable, (place.workspace, place.chat_id, place.user_id, message.message_id))):
            return False
        row = {
            "provider": place.provider,
            "workspace": place.workspace,
            "message_id": message.message_id,
            "chat_id": place.chat_id,
            "chat_user_id": place.user_id,
            "status": "received",
            "attempts": 0,
            "due_at": now,
            "received_at": now,
            "payload": json_text.dump(message.payload),
            "progress": _EMPTY,
        }
        return await self._database.write(lambda connection: add_unless_there(connection, messages, row))

    async def list_waiting(self, providers: Sequence[str], limit: int) -> Sequence[Conversation]:
        key = (messages.c.provider, messages.c.workspace, messages.c.chat_id, messages.c.chat_user_id)
        statement = (
            select(*key)
            .where(_OPEN, messages.c.provider.in_(providers), messages.c.due_at <= self._clock.now())
            .group_by(*key)
            .order_by(func.min(messages.c.seq))
            .limit(limit)
        )
        return await self._database.read(
            lambda connection: [Conversation(*row) for row in connection.execute(statement)]
        )

    async def list_open(self, conversation: Conversation) -> Sequence[ChannelMessage]:
        statement = select(messages).where(_OPEN, _in(messages, conversation)).order_by(messages.c.seq)
        return await self._database.read(lambda connection: [_to_message(row) for row in connection.execute(statement)])

    async def get(self, seq: int) -> ChannelMessage | None:
        statement = select(messages).where(messages.c.seq == seq)

        def work(connection: Connection) -> ChannelMessage | None:
            row = connection.execute(statement).first()
            return None if row is None else _to_message(row)

        return await self._database.read(work)

    async def set_run(self, seq: int, run_id: RunId, thread_id: ThreadId) -> None:
        await self._update(seq, status="running", run_id=run_id, thread_id=thread_id, attempts=0)

    async def set_progress(self, seq: int, progress: JsonMapping) -> None:
        await self._update(seq, progress=json_text.dump(progress), attempts=0)

    async def postpone(self, seq: int, until: datetime) -> None:
        await self._update(seq, attempts=messages.c.attempts + 1, due_at=until)

    async def end(self, seq: int) -> None:
        await self._update(seq, status="ended", ended_at=self._clock.now(), payload=_EMPTY)

    async def thread_of(self, conversation: Conversation, actor: ActorContext) -> ThreadId | None:
        statement = select(conversations.c.thread_id).where(
            _in(conversations, conversation),
            conversations.c.tenant_id == actor.tenant_id,
            conversations.c.user_id == actor.user_id,
        )
        return await self._database.read(lambda connection: connection.execute(statement).scalar())

    async def set_thread(self, conversation: Conversation, actor: ActorContext, thread_id: ThreadId) -> None:
        row = {
            "provider": conversation.provider,
            "workspace": conversation.workspace,
            "chat_id": conversation.chat_id,
            "chat_user_id": conversation.user_id,
            "tenant_id": actor.tenant_id,
            "user_id": actor.user_id,
            "thread_id": thread_id,
        }
        await self._database.write(lambda connection: put_row(connection, conversations, row))

    async def _update(self, seq: int, **values: object) -> None:
        # A message that has ended, such as that of a deleted thread, stays as it is.
        statement = update(messages).where(messages.c.seq == seq, _OPEN).values(**values)
        await self._database.write(lambda connection: connection.execute(statement).close())


class SqlChannelLeaseStore:
    """ChannelLeaseStore over a Database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def claim(self, name: str, holder: str, term: timedelta) -> bool:
        def work(connection: Connection) -> bool:
            now = self._clock.now()
            row = {"name": name, "holder": holder, "until": now + term}
            if add_unless_there(connection, leases, row):
                return True
            is_free = or_(leases.c.holder == holder, leases.c.until <= now)
            taking = update(leases).where(leases.c.name == name, is_free).values(holder=holder, until=now + term)
            return connection.execute(taking.returning(leases.c.name)).first() is not None

        return await self._database.write(work, durable=False)

    async def release(self, name: str, holder: str) -> None:
        statement = delete(leases).where(leases.c.name == name, leases.c.holder == holder)
        await self._database.write(lambda connection: connection.execute(statement).close(), durable=False)

    async def release_all(self) -> None:
        await self._database.write(lambda connection: connection.execute(delete(leases)).close())


def _in(table: Any, conversation: Conversation) -> ColumnElement[bool]:
    return and_(
        table.c.provider == conversation.provider,
        table.c.workspace == conversation.workspace,
        table.c.chat_id == conversation.chat_id,
        table.c.chat_user_id == conversation.user_id,
    )


def _to_message(row: Any) -> ChannelMessage:
    return ChannelMessage(
        seq=row.seq,
        conversation=Conversation(row.provider, row.workspace, row.chat_id, row.chat_user_id),
        message_id=row.message_id,
        status=row.status,
        payload=json_text.load(row.payload),
        received_at=row.received_at,
        due_at=row.due_at,
        run_id=row.run_id,
        thread_id=row.thread_id,
        attempts=row.attempts,
        progress=json_text.load(row.progress),
    )
