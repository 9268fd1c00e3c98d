"""Links, messages and leases of channels on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.storage.channel_links import SqlChannelLinkStore
from runstead.infra.storage.channel_messages import SqlChannelLeaseStore, SqlChannelMessageStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.sweeper import CHANNEL_MESSAGES_KEPT, StorageSweeper
from runstead.infra.storage.threads import SqlThreadStore
from runstead.resources.channels import CODE_LIFETIME, ChatUser, Conversation, NewChannelMessage, digest_of
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.clock import ManualClock
from tests.servers.postgres import PostgresSchema
from tests.servers.sqlite import current

ALICE, BOB = (ActorContext(name, "acme", auth_source="custom") for name in ("alice", "bob"))
USER = ChatUser("telegram", "bot", "7")
PLACE = Conversation("telegram", "bot", "7", "7")


class ChannelStoreSuite:
    """Tests of all stores of channels over ``database``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def links(self, database: Database, clock: ManualClock) -> SqlChannelLinkStore:
        return SqlChannelLinkStore(database, clock)

    @pytest.fixture
    def messages(self, database: Database, clock: ManualClock) -> SqlChannelMessageStore:
        return SqlChannelMessageStore(database, clock)

    async def test_code_is_used_once_and_by_one_chat_user(self, links: SqlChannelLinkStore) -> None:
        with acting(ALICE):
            await links.create_code(digest_of("code"))
        assert await links.redeem(digest_of("other"), USER) is None
        link = await links.redeem(digest_of("code"), USER)
        assert link is not None
        assert (await links.find(USER), link.actor) == (link, ALICE)
        assert await links.redeem(digest_of("code"), ChatUser("telegram", "bot", "8")) is None
        # Delivered again after a crash.
        assert await links.redeem(digest_of("code"), USER) is not None

    async def test_used_code_does_not_make_a_link_again(self, links: SqlChannelLinkStore) -> None:
        with acting(ALICE):
            await links.create_code(digest_of("code"))
            assert await links.redeem(digest_of("code"), USER) is not None
            assert await links.delete("telegram", "7")
        assert await links.redeem(digest_of("code"), USER) is None
        assert await links.find(USER) is None
        # Nor does it replace the link to another account.
        with acting(ALICE):
            await links.create_code(digest_of("second"))
        with acting(BOB):
            await links.create_code(digest_of("third"))
        for code in ("second", "third", "second"):
            link = await links.redeem(digest_of(code), USER)
        assert (await links.find(USER), link and link.actor) == (link, BOB)

    async def test_links_of_an_identity_end_together(self, links: SqlChannelLinkStore) -> None:
        alice = replace(ALICE, subject_id="s-1", auth_source="oidc")
        others = (replace(alice, auth_source="api_key"), replace(alice, subject_id="s-2"))
        for number, actor in enumerate((alice, replace(alice, tenant_id="umbrella"), *others)):
            with acting(actor):
                await links.create_code(digest_of(str(number)))
            await links.redeem(digest_of(str(number)), ChatUser("telegram", "bot", str(number)))
        assert await links.delete_of_subject("oidc", "s-1") == 2
        assert await links.delete_of_subject("oidc", "s-1") == 0
        left = [number for number in range(4) if await links.find(ChatUser("telegram", "bot", str(number)))]
        assert left == [2, 3]

    async def test_code_expires(self, links: SqlChannelLinkStore, clock: ManualClock) -> None:
        with acting(ALICE):
            assert await links.create_code(digest_of("code")) == clock.now() + CODE_LIFETIME
        await clock.advance(CODE_LIFETIME.total_seconds())
        assert await links.redeem(digest_of("code"), USER) is None

    async def test_chat_user_has_one_account(self, links: SqlChannelLinkStore) -> None:
        for actor in (ALICE, BOB):
            with acting(actor):
                await links.create_code(digest_of(actor.user_id))
            await links.redeem(digest_of(actor.user_id), USER)
        with acting(ALICE):
            assert await links.list_links() == []
            assert not await links.delete("telegram", "7")
        with acting(BOB):
            assert [link.chat_user for link in await links.list_links()] == [USER]
            assert await links.delete("telegram", "7", "bot")
        assert await links.find(USER) is None

    async def test_message_is_stored_once_and_kept_in_order(
        self, messages: SqlChannelMessageStore, clock: ManualClock
    ) -> None:
        for number in ("1", "2", "1"):
            added = await messages.add(NewChannelMessage(PLACE, number, {"text": number}))
        assert not added
        assert await messages.list_waiting(["slack"], 10) == []
        assert await messages.list_waiting(["telegram"], 10) == [PLACE]
        first, second = await messages.list_open(PLACE)
        assert (first.payload, second.payload, first.status) == ({"text": "1"}, {"text": "2"}, "received")
        await messages.set_run(first.seq, RunId("r"), ThreadId("t"))
        await messages.set_progress(first.seq, {"parts": ["9"]})
        await messages.postpone(first.seq, clock.now() + timedelta(seconds=5))
        await messages.end(second.seq)
        assert await messages.list_waiting(["telegram"], 10) == []
        await clock.advance(5)
        (first,) = await messages.list_open(PLACE)
        assert (first.status, first.run_id, first.progress, first.attempts) == ("running", "r", {"parts": ["9"]}, 1)

    async def test_answered_messages_are_deleted_after_a_while(
        self, messages: SqlChannelMessageStore, clock: ManualClock, database: Database
    ) -> None:
        await messages.add(NewChannelMessage(PLACE, "1", {"text": "secret"}))
        (message,) = await messages.list_open(PLACE)
        await messages.end(message.seq)
        ended = await messages.get(message.seq)
        assert ended is not None
        assert ended.payload == {}
        await clock.advance(CHANNEL_MESSAGES_KEPT.total_seconds())
        await StorageSweeper(database, clock).sweep(timedelta())
        assert await messages.get(message.seq) is None

    async def test_deleted_thread_takes_its_messages_along(
        self, messages: SqlChannelMessageStore, clock: ManualClock, database: Database
    ) -> None:
        threads = SqlThreadStore(database, clock)
        await messages.add(NewChannelMessage(PLACE, "1", {"text": "secret"}))
        (message,) = await messages.list_open(PLACE)
        with acting(ALICE):
            thread = await threads.create()
            await messages.set_thread(PLACE, ALICE, thread.thread_id)
            await messages.set_run(message.seq, RunId("r"), thread.thread_id)
            await messages.set_progress(message.seq, {"asked": [{"text": "secret"}]})
            assert await messages.thread_of(PLACE, ALICE) == thread.thread_id
            assert await messages.thread_of(PLACE, BOB) is None
            await threads.delete(thread.thread_id)
        assert await messages.thread_of(PLACE, ALICE) is None
        left = await messages.get(message.seq)
        assert left is not None
        assert (left.status, left.payload, left.progress) == ("ended", {}, {})
        # The service may deliver it again.
        assert not await messages.add(NewChannelMessage(PLACE, "1", {"text": "secret"}))

    async def test_lease_has_one_holder_until_it_ends(self, database: Database, clock: ManualClock) -> None:
        leases, term = SqlChannelLeaseStore(database, clock), timedelta(seconds=10)
        assert await leases.claim("bot", "a", term)
        assert not await leases.claim("bot", "b", term)
        await clock.advance(9)
        assert await leases.claim("bot", "a", term)
        await clock.advance(9)
        assert not await leases.claim("bot", "b", term)
        await clock.advance(1)
        assert await leases.claim("bot", "b", term)
        await leases.release("bot", "a")
        assert not await leases.claim("bot", "a", term)
        await leases.release("bot", "b")
        assert await leases.claim("bot", "a", term)
        await leases.release_all()
        assert await leases.claim("bot", "b", term)


class TestSqliteChannelStores(ChannelStoreSuite):
    @pytest.fixture
    async def database(self, tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
        async with open_storage(current(tmp_path / "runs.sqlite")) as database:
            yield database


class TestPostgresChannelStores(ChannelStoreSuite):
    @pytest.fixture
    async def database(self, postgres_schema: PostgresSchema) -> PostgresDatabase:
        return await postgres_schema.emptied()
