"""A stream that is cut anywhere and resumed with Last-Event-ID equals one that was never cut."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator

import httpx
import pytest

from .client import Client, all_frames, location_of, new_id
from .frames import Frame, FrameReader, place_of
from .server import ServerProcess

EVERYTHING = ["values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints", "debug"]


async def _talking(client: Client, cuts: int) -> AsyncIterator[httpx.Response]:
    """A run with several times as many events as cuts, which continues while they are made."""
    talk = {"messages": [{"role": "human", "content": "go on"}], "tokens": cuts * 4, "pause": 0.01}
    async with client.stream(
        new_id(), "talker", talk, stream_mode=EVERYTHING, stream_resumable=True, stream_subgraphs=True
    ) as response:
        yield response


async def _cut_and_resumed(client: Client, location: str, cuts: int, chance: random.Random) -> tuple[list[Frame], int]:
    """Return a reader's frames over connections cut after random numbers of bytes, and the number of cuts."""
    reader, seen, made = FrameReader(), list[Frame](), 0
    while True:
        headers = {"last-event-id": reader.last_id or "-1"}
        # The last connection is not cut; neither is one whose stream ends before its cut.
        left = chance.randrange(1, 1_200) if made < cuts else None
        async with client.http.stream("GET", f"{location}/stream", headers=headers) as response:
            assert response.status_code == 200
            was_cut = False
            async for data in response.aiter_raw():
                seen += reader.feed(data if left is None else data[:left])
                if left is not None and (left := left - len(data)) <= 0:
                    was_cut = True
                    break
        reader.cut()
        if not was_cut:
            return seen, made
        made += 1


async def test_stream_cut_fifty_times_equals_an_uncut_one(client: Client) -> None:
    async for response in _talking(client, cuts=50):
        location = location_of(response)
        uncut = asyncio.create_task(all_frames(response))
        cut, made = await _cut_and_resumed(client, location, 50, random.Random(2))
        whole = await uncut
    assert made == 50
    assert cut == whole
    _check_ids(whole)


async def test_readers_that_are_cut_at_the_same_time_do_not_disturb_each_other(client: Client) -> None:
    async for response in _talking(client, cuts=15):
        location = location_of(response)
        uncut = asyncio.create_task(all_frames(response))
        readers = [_cut_and_resumed(client, location, 15, random.Random(seed)) for seed in range(8)]
        results = await asyncio.gather(*readers)
        whole = await uncut
    assert all(frames == whole for frames, _ in results)
    assert sum(made for _, made in results) >= 8 * 10


async def test_finished_run_is_replayed_from_every_single_id(client: Client) -> None:
    talk = {"messages": [{"role": "human", "content": "briefly"}], "tokens": 12}
    async with client.stream(new_id(), "talker", talk, stream_mode=EVERYTHING, stream_resumable=True) as response:
        location = location_of(response)
        whole = await all_frames(response)
    for place, frame in enumerate(whole):
        assert frame.id is not None
        assert await client.replay(location, frame.id) == whole[place + 1 :]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_curl_that_is_killed_again_and_again_misses_nothing(client: Client, server: ServerProcess) -> None:
    chance = random.Random(5)
    async for response in _talking(client, cuts=50):
        location = location_of(response)
        uncut = asyncio.create_task(all_frames(response))
        reader, seen, kills = FrameReader(), list[Frame](), 0
        while True:
            left = chance.randrange(1, 900) if kills < 50 else 1 << 40
            curl = await asyncio.create_subprocess_exec(
                "curl", "-N", "-s", "-H", f"Last-Event-ID: {reader.last_id or '-1'}", f"{server.url}{location}/stream",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert curl.stdout is not None
            while left > 0 and (data := await curl.stdout.read(min(left, 4_096))):
                seen += reader.feed(data)
                left -= len(data)
            if left > 0:
                await curl.wait()
                break
            curl.kill()
            # Reads the output in progress as well, so that the pipe is closed and not left to the garbage collector.
            await curl.communicate()
            reader.cut()
            kills += 1
        whole = await uncut
    assert kills == 50
    assert seen == whole


def _check_ids(frames: list[Frame]) -> None:
    ids = [place_of(frame.id or "") for frame in frames]
    assert ids == sorted(set(ids)), "ids on a stream strictly increase"
    assert [number for _, number in ids] == list(range(1, len(ids) + 1)), "and none is missing"
