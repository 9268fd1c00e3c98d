"""Properties of every agent on every profile."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.processes.client import new_id
from tests.processes.frames import Frame, place_of
from tests.providers.running import Providers

from .catalog import APPS, App
from .driver import MODES, User
from .recordings import difference, streams_of
from .servers import Site

pytestmark = pytest.mark.timeout(300)
each_app = pytest.mark.parametrize("app", APPS, ids=str)
AT_ONCE = 6
MOMENTS = 3


class AppSuite:
    """Suite that a class per profile runs; its module provides a fixture ``site``."""

    def modes(self, app: App) -> Sequence[str]:
        """Stream modes whose frames are compared."""
        return MODES

    @pytest.fixture
    async def ada(self, site: Site) -> AsyncIterator[User]:
        async with User(site.url, "ada") as user:
            yield user

    @pytest.fixture
    async def bob(self, site: Site) -> AsyncIterator[User]:
        async with User(site.url, "bob") as user:
            yield user

    @each_app
    async def test_concurrent_runs_give_each_user_the_own_result(self, app: App, ada: User, bob: User) -> None:
        users = [(ada, bob)[number % 2] for number in range(AT_ONCE)]
        texts = [f"{app}-at-once-{number:03d}" for number in range(AT_ONCE)]
        values = await asyncio.gather(*(user.run_to_end(app, text) for user, text in zip(users, texts, strict=True)))
        expected = [app.expected(user.name, text) for user, text in zip(users, texts, strict=True)]
        assert [app.result(each) for each in values] == expected

    @each_app
    async def test_streams_of_every_mode_are_those_of_the_reference(self, app: App, ada: User) -> None:
        for mode, frames in (await streams_of(ada, app, self.modes(app))).items():
            check_frames(frames, mode)
            text = f"{app}-mode-{mode}"
            if mode == "values":
                last = frames[-1].json
                assert app.result(last) == app.expected("ada", text)
                assert app.outputs is None or set(last) <= app.outputs
            different = difference(app, mode, frames)
            assert not different, "\n".join([mode, *different])

    @each_app
    async def test_reader_that_was_cut_off_misses_nothing(self, app: App, ada: User) -> None:
        thread_id, text = new_id(), f"{app}-rejoin"
        modes = {"stream_mode": ["values", "messages-tuple", "custom"], "stream_subgraphs": True}
        body = ada.body(app, text, stream_resumable=True, **modes)
        location, first = await ada.cut(f"/threads/{thread_id}/runs/stream", body, random.Random(text).randrange(1, 6))
        rest = await ada.replay(location, first[-1].id or "-1")
        everything = await ada.replay(location)
        assert [*first, *rest] == everything
        assert not [frame for frame in everything if frame.event in ("gap", "error")]
        assert app.result(await ada.continued(app, text, thread_id)) == app.expected("ada", text)

    @each_app
    async def test_cancelled_run_can_be_continued(self, app: App, ada: User, providers: Providers) -> None:
        """The cancel comes while a randomly chosen model is producing its answer."""

        async def cancel(number: int) -> None:
            thread_id, text = new_id(), f"{app}-cancelled-{number}"
            hold = providers.answers.hold(text, after=random.Random(text).randrange(app.calls))
            try:
                location = await ada.created(app, text, thread_id)
                await hold.reached()
                await ada.post(f"{location}/cancel?wait=1&action=interrupt")
            finally:
                hold.release()
            assert (await ada.ended(location))["status"] == "interrupted"
            assert (await ada.get(f"/threads/{thread_id}"))["status"] in ("idle", "interrupted")
            assert app.result(await ada.continued(app, text, thread_id)) == app.expected("ada", text)

        await asyncio.gather(*(cancel(number) for number in range(MOMENTS)))

    @each_app
    async def test_run_cancelled_at_any_time_leaves_a_usable_thread(self, app: App, ada: User) -> None:
        async def cancel(number: int) -> None:
            thread_id, text = new_id(), f"{app}-any-time-{number}"
            location = await ada.created(app, text, thread_id)
            await asyncio.sleep(random.Random(text).uniform(0, 0.3))
            response = await ada.http.post(f"{location}/cancel?wait=1")
            # A run that has ended already cannot be cancelled.
            assert response.status_code in (200, 404), response.text
            assert (await ada.ended(location))["status"] in ("interrupted", "success")
            assert app.result(await ada.continued(app, text, thread_id)) == app.expected("ada", text)

        await asyncio.gather(*(cancel(number) for number in range(MOMENTS)))

    @each_app
    async def test_fork_ends_like_its_original(self, app: App, ada: User) -> None:
        thread_id, text = new_id(), f"{app}-fork"
        await ada.run_to_end(app, text, thread_id)
        history = await ada.get(f"/threads/{thread_id}/history", params={"limit": 100})
        unfinished = [state for state in history if state["next"] and "__start__" not in state["next"]]
        chosen = random.Random(text).choice(unfinished or [state for state in history if state["next"]])
        checkpoint = {"checkpoint_id": chosen["checkpoint"]["checkpoint_id"]}
        body = {"assistant_id": app.graph, "input": None, **app.fields, **checkpoint}
        values = await ada.post(f"/threads/{thread_id}/runs/wait", body)
        values = await ada.answer(app, thread_id, values)
        expected = app.expected("ada", text)
        assert app.result({**values, "visits": 1, "cached": 1} if app.name == "visits" else values) == expected
        original = await ada.get(f"/threads/{thread_id}/state/{history[0]['checkpoint']['checkpoint_id']}")
        assert original["values"] == history[0]["values"]
        assert len(await ada.get(f"/threads/{thread_id}/history", params={"limit": 100})) > len(history)

    @each_app
    async def test_threads_are_invisible_to_another_user(self, app: App, ada: User, bob: User) -> None:
        thread_id, text = new_id(), f"{app}-private"
        location = await ada.created(app, text, thread_id)
        reads = [f"/threads/{thread_id}{part}" for part in ("", "/state", "/history", "/stream")]
        for path in (*reads, location, f"{location}/stream", f"{location}/join"):
            assert await bob.status_of("GET", path) == 404, path
        run = {"assistant_id": app.graph, "input": None}
        for path in (f"/threads/{thread_id}/runs", f"/threads/{thread_id}/runs/wait", f"{location}/cancel"):
            assert await bob.status_of("POST", path, run) == 404, path
        found = await bob.post("/threads/search", {"ids": [thread_id]})
        assert found == []
        own = await asyncio.gather(ada.get(f"{location}/join"), bob.run_to_end(app, text))
        assert app.result(own[1]) == app.expected("bob", text)
        assert app.result(await ada.answer(app, thread_id, own[0])) == app.expected("ada", text)

    async def test_routes_nodes_and_auth_handlers_share_pools_concurrently(self, ada: User, bob: User) -> None:
        (app,) = [each for each in APPS if each.name == "visits"]

        async def visit(user: User, number: int) -> None:
            text = f"shared-pools-{number:03d}"
            running = asyncio.create_task(user.run_to_end(app, text))
            while not running.done():
                await user.get(f"/shop/{user.name}/{text}")
            assert (await running) == app.expected(user.name, text)
            assert await user.get(f"/shop/{user.name}/{text}") == {"stored": 1, "cached": 1}

        await asyncio.gather(*(visit((ada, bob)[number % 2], number) for number in range(AT_ONCE)))

    async def test_runs_of_killed_processes_are_resumed(self, site: Site, ada: User, providers: Providers) -> None:
        """All processes are killed while each agent is in a randomly chosen model answer."""
        texts = [f"{app}-killed" for app in APPS]
        threads = [new_id() for _ in APPS]
        holds = [
            providers.answers.hold(text, after=random.Random(text).randrange(app.calls))
            for app, text in zip(APPS, texts, strict=True)
        ]
        runs = list(zip(APPS, texts, threads, strict=True))
        locations = [await ada.created(app, text, thread_id) for app, text, thread_id in runs]
        await asyncio.gather(*(hold.reached() for hold in holds))
        await asyncio.to_thread(site.kill)
        for hold in holds:
            hold.release()
        await asyncio.to_thread(site.start)
        failed = {}
        for (app, text, thread_id), location in zip(runs, locations, strict=True):
            record = await ada.ended(location)
            result = None
            if record["status"] == "success":
                result = app.result(await ada.continued(app, text, thread_id))
            if (record["status"], record["attempt"], result) != ("success", 2, app.expected("ada", text)):
                failed[app.name] = record["status"], record["attempt"], result, record.get("error")
        assert failed == {}, json.dumps(failed, indent=1)[:4000]


def check_frames(frames: list[Frame], mode: str) -> None:
    """Assert that the frames contain no error, are in order, and belong to the requested modes."""
    kinds = {frame.event.partition("|")[0].partition("/")[0] for frame in frames}
    assert frames[0].event == "metadata"
    asked = {"messages-tuple": "messages"}.get(mode, mode)
    assert kinds <= {"metadata", asked, *(["updates"] if mode == "values" else [])}, kinds
    ids = [place_of(frame.id) for frame in frames if frame.id]
    assert ids == sorted(ids)
