# ruff: noqa: ASYNC220, ASYNC240 -- these tests look at the disk themselves
from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from runstead.infra.paths import PathOutsideRoot
from runstead.infra.run_events.jsonl import JsonlRunEventStore
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.store.event_store import StoredRunEvent
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.conformance.event_store import (
    ALICE,
    BOB,
    OTHER_RUN,
    RUN,
    THREAD,
    RunEventStoreConformance,
    an_event,
    seqs,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def file(root: Path) -> Path:
    return root / "default" / "alice" / "threads" / THREAD / "events.jsonl"


@pytest.fixture
async def events(root: Path) -> AsyncIterator[JsonlRunEventStore]:
    async with JsonlRunEventStore.open(root) as store:
        yield store


class TestJsonlRunEventStore(RunEventStoreConformance):
    pass


async def write(events: JsonlRunEventStore, *contents: object) -> Sequence[StoredRunEvent]:
    with acting(ALICE):
        return await events.append([an_event(content) for content in contents])


async def read(events: JsonlRunEventStore) -> list[tuple[int, object]]:
    with acting(ALICE):
        return [(entry.seq, entry.event.content) for entry in await events.list_events(ThreadId(THREAD), limit=1_000)]


def files_under(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def test_thread_is_a_file_of_strict_json_lines_under_its_owner(
    events: JsonlRunEventStore, root: Path, file: Path
) -> None:
    await write(events, {"nan": float("nan")}, "line\u2028separators\nstay inside", "\ud800")
    lines = file.read_bytes().splitlines(keepends=True)
    assert [orjson.loads(line)["seq"] for line in lines] == [1, 2, 3]
    assert all(line.endswith(b"\n") for line in lines)


async def test_new_process_continues_the_sequence(root: Path) -> None:
    for expected in (1, 2, 3):
        async with JsonlRunEventStore.open(root) as events:
            assert seqs(await write(events, expected)) == [expected]


async def test_truncated_file_keeps_whole_batches_and_dense_numbers(root: Path, file: Path) -> None:
    async with JsonlRunEventStore.open(root) as events:
        await write(events, "a1", "a2")
        ends = {0: 0, 2: file.stat().st_size}
        await write(events, "b1", "b2", "b3")
        ends[5] = file.stat().st_size
        await write(events, "c1")
        ends[6] = file.stat().st_size
        whole = file.read_bytes()
        contents = ["a1", "a2", "b1", "b2", "b3", "c1"]
        for cut in range(len(whole) + 1):
            file.write_bytes(whole[:cut])
            survivors = max(count for count, end in ends.items() if end <= cut)
            expected = list(enumerate(contents[:survivors], start=1))
            assert await read(events) == expected
            assert seqs(await write(events, "next", "over")) == [survivors + 1, survivors + 2]
            assert await read(events) == [*expected, (survivors + 1, "next"), (survivors + 2, "over")]


async def test_damaged_line_is_skipped_and_the_rest_is_read(
    events: JsonlRunEventStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await write(events, "a", "b", "c", "d")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"\x00" * 20 + b"\n" + lines[2].replace(b'"content"', b'"c\xff') + lines[3])
    assert await read(events) == [(1, "a"), (4, "d")]
    assert "2 damaged lines" in caplog.text
    with acting(ALICE):
        assert seqs(await events.list_events(ThreadId(THREAD), after=0)) == [1, 4]
    assert seqs(await write(events, "e")) == [5]


async def test_damaged_last_line_keeps_its_number(events: JsonlRunEventStore, file: Path) -> None:
    await write(events, "a")
    await write(events, "b")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"#" * (len(lines[1]) - 1) + b"\n")
    assert seqs(await write(events, "c")) == [3]
    assert await read(events) == [(1, "a"), (3, "c")]


async def test_delete_of_a_run_keeps_damaged_lines(events: JsonlRunEventStore, file: Path) -> None:
    await write(events, "a", "b")
    with file.open("ab") as appended:
        appended.write(b"rotten\n")
    with acting(ALICE):
        await events.append([an_event("c", run_id=OTHER_RUN)])
        assert await events.delete_events(ThreadId(THREAD), run_id=RunId(RUN)) == 2
    assert b"rotten\n" in file.read_bytes()
    assert await read(events) == [(4, "c")]
    assert seqs(await write(events, "d")) == [5]


async def test_deleted_events_are_removed_from_the_disk(events: JsonlRunEventStore, root: Path) -> None:
    await write(events, "secret-a", "secret-b")
    with acting(ALICE):
        await events.append([an_event("other", run_id=OTHER_RUN)])
        await events.delete_events(ThreadId(THREAD), run_id=RunId(RUN))
        assert not any(b"secret" in path.read_bytes() for path in files_under(root))
        await events.delete_events(ThreadId(THREAD))
    assert not any(b"other" in path.read_bytes() for path in files_under(root))


@contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes: a write across it is cut short, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_full_disk_stores_no_part_of_a_batch_and_later_ones_succeed(
    events: JsonlRunEventStore, file: Path
) -> None:
    await write(events, "a")
    size = file.stat().st_size
    with disk_with_room_for(size + 500), pytest.raises(OSError, match="large"):
        await write(events, "b" * 200, "c" * 200, "d" * 200)
    assert file.stat().st_size == size
    assert await read(events) == [(1, "a")]
    assert seqs(await write(events, "e")) == [2]


async def test_event_loop_is_not_blocked_by_the_disk(events: JsonlRunEventStore, file: Path) -> None:
    await write(events, "a")
    file.unlink()
    # Opening a pipe for reading blocks until it is opened for writing.
    os.mkfifo(file)
    with acting(ALICE):
        stuck = asyncio.create_task(events.list_events(ThreadId(THREAD)))
    async with asyncio.timeout(0.5):
        for _ in range(20):
            await asyncio.sleep(0.001)
    assert not stuck.done()
    os.close(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
    with pytest.raises(OSError, match="seek"):
        await stuck


async def test_page_of_a_large_file_takes_little_memory(events: JsonlRunEventStore, file: Path) -> None:
    for _ in range(20):
        await write(events, *["x" * 1_000] * 1_000)
    assert file.stat().st_size > 20_000_000
    with acting(ALICE):
        tracemalloc.start()
        try:
            assert seqs(await events.list_events(ThreadId(THREAD), limit=3)) == [19_998, 19_999, 20_000]
            assert seqs(await events.list_events(ThreadId(THREAD), after=19_000, limit=2)) == [19_001, 19_002]
            assert seqs(await events.list_events(ThreadId(THREAD), before=3)) == [1, 2]
            assert await events.count_events(ThreadId(THREAD)) == 20_000
            assert await events.delete_events(ThreadId(THREAD), run_id=RunId("unknown run")) == 0
            assert seqs(await events.append([an_event()])) == [20_001]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2_000_000


async def test_lines_longer_than_any_buffer_are_read_from_both_ends(events: JsonlRunEventStore) -> None:
    contents = ["a" * 65_535, "b", "c" * 300_000, "d" * 65_536, "e"]
    await write(events, *contents)
    assert [content for _, content in await read(events)] == contents
    with acting(ALICE):
        page = await events.list_events(ThreadId(THREAD), after=0)
    assert [entry.event.content for entry in page] == contents
    assert seqs(await write(events, "f")) == [6]


HOSTILE_IDS = [
    *(".", "..", "../../escape", "a/b", "a\\b", "/etc/passwd", "nul\x00byte", "\ud800", "x" * 5_000, "%2e%2e", "~"),
    *("con", "NUL", "a.", " ", "\n", "-rf", "$(id)", "ünïcode", "A" * 80, "a" * 80, "a" * 81, ".owners", "threads"),
]


@pytest.mark.parametrize("hostile", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
async def test_hostile_id_stays_inside_the_root_and_is_found(
    events: JsonlRunEventStore, tmp_path: Path, root: Path, hostile: str
) -> None:
    await write(events, "alice's")
    actor = ActorContext(hostile, tenant_id=hostile)
    with acting(actor):
        await events.append([an_event("mine", thread_id=hostile)])
        [stored] = await events.list_events(ThreadId(hostile))
        assert (stored.event.content, stored.event.thread_id) == ("mine", hostile)
        assert list(await events.list_events(ThreadId(THREAD))) == []
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    logs = [path.relative_to(root) for path in files_under(root) if path.name == "events.jsonl"]
    assert len(logs) == 2
    assert all(len(path.parts) == 5 and path.parts[2] == "threads" for path in logs)
    assert all(len(part) <= 100 for path in logs for part in path.parts)


async def test_ids_have_separate_files_on_case_insensitive_file_systems(events: JsonlRunEventStore, root: Path) -> None:
    ids = ["a", "A", "a/b", "a_b", "a:b", "é", "e\u0301", "x" * 100, "x" * 101, "con", "CON", "a~b", " a", "a "]
    with acting(ALICE):
        for thread_id in ids:
            assert seqs(await events.append([an_event(thread_id, thread_id=thread_id)])) == [1]
        for thread_id in ids:
            [stored] = await events.list_events(ThreadId(thread_id))
            assert stored.event.content == thread_id
    folders = [path.name for path in (root / "default" / "alice" / "threads").iterdir()]
    assert len({name.casefold() for name in folders}) == len(ids)


async def test_empty_thread_id_is_refused(events: JsonlRunEventStore) -> None:
    with acting(ALICE), pytest.raises(ThreadNotFound):
        await events.append([an_event(thread_id="")])


async def test_link_out_of_the_root_is_not_followed(events: JsonlRunEventStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "default").mkdir(parents=True)
    (root / "default" / "alice").symlink_to(outside)
    with acting(ALICE):
        with pytest.raises(PathOutsideRoot):
            await events.append([an_event()])
        with pytest.raises(PathOutsideRoot):
            await events.list_events(ThreadId(THREAD))
    assert list(outside.iterdir()) == []


async def test_thread_owner_survives_restart_and_deletion(root: Path) -> None:
    async with JsonlRunEventStore.open(root) as events:
        await write(events, "a")
        with acting(ALICE):
            await events.delete_events(ThreadId(THREAD))
    async with JsonlRunEventStore.open(root) as events:
        with acting(BOB), pytest.raises(ThreadNotFound):
            await events.append([an_event("bob's")])
        assert seqs(await write(events, "b")) == [2]


async def test_interrupted_ownership_claim_claims_nothing(events: JsonlRunEventStore, root: Path) -> None:
    (root / ".owners").mkdir(parents=True)
    (root / ".owners" / THREAD).write_bytes(b'["default","al')
    with acting(BOB):
        assert seqs(await events.append([an_event("bob's")])) == [1]
    with acting(ALICE), pytest.raises(ThreadNotFound):
        await events.append([an_event("alice's")])


async def test_concurrent_first_writes_give_the_thread_one_owner(events: JsonlRunEventStore) -> None:
    async def begin(number: int) -> object:
        with acting(ActorContext(f"user-{number}")):
            try:
                return seqs(await events.append([an_event(number)]))
            except ThreadNotFound:
                return None

    results = await asyncio.gather(*(begin(number) for number in range(20)))
    assert results.count(None) == 19
    assert results.count([1]) == 1


async def test_batches_can_be_flushed_to_the_disk(root: Path) -> None:
    async with JsonlRunEventStore.open(root, fsync=True) as events:
        await write(events, "a")
        assert await read(events) == [(1, "a")]


async def test_store_is_usable_from_several_loops(events: JsonlRunEventStore) -> None:
    async def write_ten() -> None:
        for number in range(10):
            await write(events, number)

    threads = [threading.Thread(target=asyncio.run, args=(write_ten(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    await write_ten()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert [seq for seq, _ in await read(events)] == list(range(1, 51))


WRITER = """
import asyncio, sys
from pathlib import Path
from runstead.infra.run_events.jsonl import JsonlRunEventStore
from runstead.runtime.actor_context import acting
from runstead.testing.conformance.event_store import ALICE, an_event

async def main():
    async with JsonlRunEventStore.open(Path(sys.argv[1])) as events:
        with acting(ALICE):
            while True:
                stored = await events.append([an_event("x" * 3_000) for _ in range(5)])
                print(stored[-1].seq, flush=True)

asyncio.run(main())
"""


async def test_acknowledged_events_survive_a_killed_process(root: Path) -> None:
    answered = 0
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(40):
            answered = int(await asyncio.to_thread(writer.stdout.readline))
        writer.send_signal(signal.SIGKILL)
        rest = await asyncio.to_thread(writer.stdout.read)
        answered = max([answered, *(int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n"))])
        writer.stdout.close()
        await asyncio.to_thread(writer.wait)
        async with JsonlRunEventStore.open(root) as events:
            with acting(ALICE):
                kept = seqs(await events.list_events(ThreadId(THREAD), after=0, limit=100_000))
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) >= answered
        assert len(kept) % 5 == 0
