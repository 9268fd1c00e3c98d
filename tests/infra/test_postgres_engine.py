"""The PostgreSQL engine: results of work when servers stop, connections break and transactions collide."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from runstead.cli.servers.postgres import PostgresServer
from runstead.infra.engines.postgres import PostgresDatabase, open_postgres
from runstead.infra.engines.postgres_pool import PostgresOptions, place_of
from runstead.resources.storage_errors import (
    StorageBusy,
    StorageClosed,
    StorageReadOnly,
    StorageUnavailable,
    StorageUnusable,
)
from tests.servers.postgres import own_postgres

OPTIONS = PostgresOptions(pool_size=4, schema="public", patience=10)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that these tests stop and start."""
    # Committed data has to survive its crash.
    with own_postgres(max_connections="20", synchronous_commit="on") as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE notes (n int)")
        yield server


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[PostgresDatabase]:
    async with open_postgres(server.url, OPTIONS) as database:
        await database.write(lambda c: c.exec_driver_sql("DELETE FROM notes").close())
        yield database


def put(n: int) -> Any:
    return lambda connection: connection.execute(text("INSERT INTO notes VALUES (:n)"), {"n": n}).close()


def notes(connection: Connection) -> list[int]:
    return sorted(connection.execute(text("SELECT n FROM notes")).scalars())


def one(connection: Connection) -> object:
    return connection.execute(text("SELECT 1")).scalar()


async def test_exception_rolls_the_transaction_back_and_is_raised(database: PostgresDatabase) -> None:
    def work(connection: Connection) -> None:
        put(1)(connection)
        raise LookupError("changed my mind")

    with pytest.raises(LookupError, match="changed my mind"):
        await database.write(work)
    assert await database.read(notes) == []
    await database.write(put(2))
    assert await database.read(notes, quick=True) == [2]


async def test_read_sees_one_snapshot_and_cannot_write(database: PostgresDatabase) -> None:
    between, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> tuple[list[int], list[int]]:
        before = notes(connection)
        between.set()
        go_on.wait(10)
        return before, notes(connection)

    reading = asyncio.ensure_future(database.read(work))
    await asyncio.to_thread(between.wait, 10)
    await database.write(put(1))
    go_on.set()
    assert await reading == ([], [])
    with pytest.raises(StorageReadOnly):
        await database.read(put(3))


async def test_committed_callback_runs_when_the_caller_was_cancelled(database: PostgresDatabase) -> None:
    begun, told = threading.Event(), asyncio.Event()

    def work(connection: Connection) -> None:
        put(1)(connection)
        begun.set()
        time.sleep(0.05)

    writing = asyncio.ensure_future(database.write(work, committed=lambda _: told.set()))
    await asyncio.to_thread(begun.wait, 10)
    writing.cancel()
    async with asyncio.timeout(60):
        await told.wait()
    assert await database.read(notes) == [1]


async def test_work_continued_after_a_failed_statement_is_an_error(database: PostgresDatabase) -> None:
    """PostgreSQL answers such a COMMIT with a rollback, without an error."""

    def work(connection: Connection) -> None:
        put(1)(connection)
        try:
            connection.exec_driver_sql("SELECT 1/0")
        except Exception:
            return

    with pytest.raises(RuntimeError, match="was rolled back"):
        await database.write(work)
    assert await database.read(notes) == []


async def test_colliding_transactions_are_retried(database: PostgresDatabase) -> None:
    await database.write(put(1))
    await database.write(put(2))
    meeting = threading.Barrier(2)
    tries = []

    def crossing(first: int, then: int) -> Any:
        def work(connection: Connection) -> None:
            tries.append(first)
            lock = text("SELECT n FROM notes WHERE n = :n FOR UPDATE")
            connection.execute(lock, {"n": first}).close()
            if len(tries) <= 2:
                meeting.wait(10)
            connection.execute(lock, {"n": then}).close()

        return work

    await asyncio.gather(database.write(crossing(1, 2)), database.write(crossing(2, 1)))
    # They collide once for certain; on a busy machine retried ones may collide again.
    assert 3 <= len(tries) <= 8


@pytest.mark.parametrize("state", ["40P01", "40001"])
async def test_transactions_colliding_for_too_long_raise(server: PostgresServer, state: str) -> None:
    async with open_postgres(server.url, replace(OPTIONS, patience=0.3)) as database:
        with pytest.raises(StorageBusy, match="conflicted with other transactions for too long"):
            await database.write(lambda c: c.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$").close())


async def test_server_restart_is_transparent_to_callers(server: PostgresServer, database: PostgresDatabase) -> None:
    await asyncio.gather(*(database.read(one) for _ in range(8)))
    await asyncio.to_thread(server.stop)
    writing = asyncio.gather(*(database.write(put(n)) for n in range(8)), database.read(one))
    await asyncio.to_thread(server.start)
    await writing
    assert await database.read(notes) == list(range(8))


async def test_write_waits_for_a_failover_then_raises_read_only(server: PostgresServer) -> None:
    def let_write(allowed: bool) -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            state = "off" if allowed else "on"
            connection.execute(f"ALTER DATABASE postgres SET default_transaction_read_only = {state}".encode())

    let_write(False)
    try:
        async with open_postgres(server.url, replace(OPTIONS, patience=0.3)) as database:
            with pytest.raises(StorageReadOnly, match="target_session_attrs"):
                await database.write(put(1))
        async with open_postgres(server.url, OPTIONS) as database:
            writing = asyncio.ensure_future(database.write(put(2)))
            await asyncio.sleep(0.2)
            assert not writing.done()
            let_write(True)
            await writing
    finally:
        let_write(True)


async def test_transaction_cut_off_by_a_crash_is_retried(server: PostgresServer, database: PostgresDatabase) -> None:
    tries: list[int] = []
    begun, crashed = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        tries.append(1)
        put(len(tries))(connection)
        begun.set()
        crashed.wait(10)
        put(len(tries))(connection)

    writing = asyncio.ensure_future(database.write(work))
    await asyncio.to_thread(begun.wait, 10)
    await asyncio.to_thread(server.stop, signal.SIGQUIT)
    crashed.set()
    await asyncio.to_thread(server.start)
    await writing
    assert await database.read(notes) == [2, 2]


async def test_unavailable_server_raises_and_is_used_again_after_recovery(server: PostgresServer) -> None:
    async with open_postgres(server.url, replace(OPTIONS, patience=0.3)) as database:
        await asyncio.to_thread(server.stop)
        try:
            for asking in (database.read(one), database.read(one, quick=True), database.write(put(1))):
                with pytest.raises(StorageUnavailable, match=f"127.0.0.1:{server.port} cannot be reached.*check that"):
                    await asking
        finally:
            await asyncio.to_thread(server.start)
        assert await database.read(one) == 1


async def written_again(database: PostgresDatabase) -> None:
    """Write once it connects again: its patience may be shorter than a busy machine needs for that."""
    async with asyncio.timeout(60):
        while True:
            with suppress(StorageUnavailable):
                return await database.write(put(1))


async def test_queued_callers_get_unavailable_too(server: PostgresServer) -> None:
    async with open_postgres(server.url, replace(OPTIONS, pool_size=2, patience=0.3)) as database:
        await asyncio.to_thread(server.stop)
        try:
            told = await asyncio.gather(*(database.write(put(n)) for n in range(6)), return_exceptions=True)
        finally:
            await asyncio.to_thread(server.start)
        assert [type(one) for one in told] == [StorageUnavailable] * 6
        await written_again(database)


async def test_silent_server_fails_calls_within_the_timeout(server: PostgresServer) -> None:
    """It is suspended and its connections stay open: none of them fails, and more of them would not help."""
    options = replace(OPTIONS, pool_size=2, patience=1, statement_timeout=30)
    async with open_postgres(server.url, options) as database:
        assert await database.read(one) == 1
        with frozen(server):
            began = time.monotonic()
            asking = [*(database.read(one) for _ in range(4)), *(database.write(put(n)) for n in range(900, 904))]
            told = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 60)
            assert time.monotonic() - began < 5
        assert [type(one) for one in told] == [StorageUnavailable] * 8
        assert "no answer for" in str(told[1])
        # Work that had not started never does.
        assert await database.read(one) == 1
        kept = await database.read(notes)
        assert {901, 902, 903}.isdisjoint(kept)


async def test_slow_statement_is_not_mistaken_for_a_silent_server(server: PostgresServer) -> None:
    async with open_postgres(server.url, replace(OPTIONS, pool_size=2, patience=1)) as database:
        assert await database.read(lambda c: c.exec_driver_sql("SELECT 7 FROM pg_sleep(3)").scalar()) == 7


async def test_close_succeeds_when_the_server_is_silent(server: PostgresServer) -> None:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_postgres(server.url, replace(OPTIONS, pool_size=2, patience=1)))
        with frozen(server):
            with pytest.raises(StorageUnavailable):
                await database.read(one)
            await asyncio.wait_for(asyncio.to_thread(database.close), 15)


async def test_call_waiting_for_the_only_connection_raises_busy(server: PostgresServer) -> None:
    async with open_postgres(server.url, replace(OPTIONS, pool_size=2, patience=0.5)) as database:
        has_begun, may_end = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            one(connection)
            has_begun.set()
            assert may_end.wait(60)

        holding = asyncio.ensure_future(database.read(hold))
        assert await asyncio.to_thread(has_begun.wait, 60)
        with pytest.raises(StorageBusy, match="RUNSTEAD_DATABASE_POOL_SIZE"):
            await database.read(one)
        may_end.set()
        await holding


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Suspend the server and its processes, like those of a hanging machine."""
    stopped = [server.pid, *_children(server.pid)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(word) for word in found.stdout.split()]


async def test_locks_of_a_frozen_process_are_released_after_idle_timeout(server: PostgresServer) -> None:
    async with (
        open_postgres(server.url, replace(OPTIONS, idle_timeout=0.2)) as frozen,
        open_postgres(server.url, OPTIONS) as other,
    ):
        await other.write(put(77))
        holding, woken = threading.Event(), threading.Event()
        tries = []

        def work(connection: Connection) -> int:
            tries.append(1)
            count = connection.execute(text("UPDATE notes SET n = 78 WHERE n = 77")).rowcount
            if len(tries) == 1:
                holding.set()
                woken.wait(10)
            return count

        late = asyncio.ensure_future(frozen.write(work))
        await asyncio.to_thread(holding.wait, 10)
        await other.write(lambda c: c.execute(text("UPDATE notes SET n = 79 WHERE n = 77")).close())
        woken.set()
        assert await late == 0
        assert 79 in await other.read(notes)


async def test_lock_timeout_and_statement_timeout_raise(server: PostgresServer) -> None:
    quick = replace(OPTIONS, lock_timeout=0.1, statement_timeout=0.3, patience=1)
    async with open_postgres(server.url, quick) as database, open_postgres(server.url, OPTIONS) as other:
        holding, done = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            connection.exec_driver_sql("LOCK TABLE notes").close()
            holding.set()
            done.wait(4)

        held = asyncio.ensure_future(other.write(hold))
        await asyncio.to_thread(holding.wait, 10)
        with pytest.raises(StorageBusy, match="waiting for a lock"):
            await database.write(put(1))
        done.set()
        await held
        with pytest.raises(StorageBusy, match="STATEMENT_TIMEOUT"):
            await database.read(lambda c: c.exec_driver_sql("SELECT pg_sleep(5)").close())


async def test_work_beyond_the_pool_waits_and_is_refused_after_the_timeout(server: PostgresServer) -> None:
    async with open_postgres(server.url, replace(OPTIONS, pool_size=2, patience=6)) as database:
        assert await asyncio.gather(*(database.read(one) for _ in range(200))) == [1] * 200
        held, done = threading.Event(), threading.Event()

        def hold(connection: Connection) -> None:
            held.set()
            while not done.is_set():
                connection.exec_driver_sql("SELECT pg_sleep(0.2)").close()

        slow = asyncio.ensure_future(database.read(hold))
        assert await asyncio.to_thread(held.wait, 60)
        try:
            with pytest.raises(StorageBusy, match="RUNSTEAD_DATABASE_POOL_SIZE"):
                await database.read(one)
        finally:
            done.set()
        await slow
        # Writes have their own connections, and were not delayed.
        await database.write(put(1))


async def test_server_at_max_connections_raises_busy(server: PostgresServer) -> None:
    held: list[psycopg.Connection[Any]] = []
    try:
        with suppress(psycopg.OperationalError):
            while len(held) < 100:
                held.append(psycopg.connect(server.url))
        with pytest.raises(StorageBusy, match="max_connections"):
            async with open_postgres(server.url, replace(OPTIONS, patience=0.2)):
                pass
    finally:
        for connection in held:
            connection.close()


async def test_close_completes_queued_work_and_refuses_new_work(server: PostgresServer) -> None:
    async with open_postgres(server.url, OPTIONS) as database:
        writing = [asyncio.ensure_future(database.write(put(n))) for n in range(100, 120)]
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    with pytest.raises(StorageClosed):
        await database.write(put(1))
    async with open_postgres(server.url, OPTIONS) as again:
        assert set(range(100, 120)) <= set(await again.read(notes))


async def test_database_is_usable_from_other_event_loops(database: PostgresDatabase) -> None:
    assert await asyncio.to_thread(lambda: asyncio.run(database.read(one))) == 1
    await asyncio.to_thread(lambda: asyncio.run(database.write(put(5))))
    assert await database.read(notes) == [5]


async def test_event_loop_is_not_blocked_by_a_slow_query(database: PostgresDatabase) -> None:
    thinking = asyncio.ensure_future(database.read(lambda c: c.exec_driver_sql("SELECT pg_sleep(0.3)").close()))
    beats = 0
    while not thinking.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert beats > 10


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://stranger:wrong@127.0.0.1:{port}/postgres", "check user and password"),
        ("postgresql://postgres:{password}@127.0.0.1:{port}/absent", "create it, or name another"),
        ("postgresql://127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://[::1", "postgresql://user:password@host"),
        ("postgresql://h/x?no_such_option=1", "postgresql://user:password@host"),
    ],
)
async def test_invalid_url_is_refused_with_a_reason(server: PostgresServer, url: str, words: str) -> None:
    password = server.url.split(":")[2].split("@")[0]
    with pytest.raises((StorageUnusable, StorageUnavailable), match=words) as refused:
        async with open_postgres(url.format(port=server.port, password=password), replace(OPTIONS, patience=0.2)):
            pass
    assert password not in str(refused.value)


async def test_database_that_is_not_utf8_is_refused(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StorageUnusable, match="ENCODING 'UTF8'"):
        async with open_postgres(server.url.replace("/postgres", "/latin").replace("//latin:", "//postgres:"), OPTIONS):
            pass


def test_place_of_omits_the_password() -> None:
    assert place_of("postgresql://me:secret@db.example:6543/app") == "PostgreSQL database app at db.example:6543"
    assert place_of("postgresql:///") == "PostgreSQL database postgres at localhost:5432"


async def test_searches_leave_connections_to_other_reads(server: PostgresServer) -> None:
    async with open_postgres(server.url, replace(OPTIONS, pool_size=6, patience=2)) as database:
        assert await database.read(one) == 1
        sleeping = [
            asyncio.ensure_future(
                database.read(lambda c: c.exec_driver_sql("SELECT 1 FROM pg_sleep(1)").scalar(), slow=True)
            )
            for _ in range(2)
        ]
        await asyncio.sleep(0.1)
        assert await database.read(one) == 1
        # One search at a time, so that one of the two readers stayed free.
        assert not sleeping[1].done()
        assert await asyncio.gather(*sleeping) == [1, 1]
