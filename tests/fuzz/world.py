"""The fuzzed server: in this process, over sockets and called as an ASGI app, with two users.

Alice has a thread, an item and a cron, each with a canary. Mallory sends the fuzzed requests and knows all ids of
Alice's. No response to Mallory contains the canary, and Alice's data stays unchanged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import httpx

import runstead
from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from runstead.runtime.clock import SystemClock
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

T = TypeVar("T")
HERE: Final = Path(__file__).parent
PACKAGE: Final = Path(runstead.__file__).parent
CANARY: Final = "canary-of-alice"
HANG: Final = 30.0
"""Seconds after which a request without a response is a fault."""
_HANG_UP_AFTER: Final = 0.05
"""Seconds for which a response that waits for runs is read."""


class Fault(AssertionError):
    """A violation; ``kind`` groups faults with one cause."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {text}")


@dataclass(frozen=True, slots=True)
class Answer:
    """``complete``: the server ended it; otherwise the client disconnected."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool


class ErrorLog(logging.Handler):
    """Collects log records that are errors or have a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._faults: list[Fault] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if (record.levelno < logging.ERROR and error is None) or _is_of_the_graph(record, error):
            return
        kind = f"logged {record.msg!r} with {type(error).__name__}"
        self._faults.append(Fault(kind, logging.Formatter().format(record)))

    def forget(self) -> None:
        """Drop the records since the last check."""
        self._faults = []

    def check(self) -> None:
        """Raise Fault for the first record since the last check."""
        faults, self._faults = self._faults, []
        if faults:
            raise faults[0]


def _is_of_the_graph(record: logging.LogRecord, error: BaseException | None) -> bool:
    """True for a run that failed in its graph, or in LangGraph for an input that the graph does not accept."""
    if record.msg != "run %s failed" or error is None:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return not frames or not Path(frames[-1].filename).is_relative_to(PACKAGE)


@dataclass(slots=True, repr=False)
class World:
    """A running server, and the known data on it."""

    application: Application
    loop: asyncio.AbstractEventLoop
    url: str
    keys: Mapping[str, str]
    log: ErrorLog
    ids: dict[str, str] = field(default_factory=dict)
    """Ids of Mallory's resources, by parameter name."""
    ids_of_alice: dict[str, str] = field(default_factory=dict)
    _alice: list[str] = field(default_factory=list)
    _origin: str = ""
    """A thread of Mallory's whose id no request uses."""

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine on the server's loop. Raises Fault if there is none within `HANG`."""
        future = asyncio.run_coroutine_threadsafe(doing, self.loop)
        try:
            return future.result(HANG)
        except TimeoutError:
            future.cancel()
            raise Fault("no answer", f"within {HANG} s") from None

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
        waits: bool = False,
    ) -> Answer:
        """Send one request as Mallory. ``waits``: disconnect when no data comes for a moment."""
        told = [(b"host", b"localhost"), (b"x-api-key", self.keys["mallory"].encode())]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query,
            "headers": headers if headers is not None else [*told, (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
        }
        return self.run(_asked(self.application.asgi, scope, body, waits))

    def copied_thread(self) -> str:
        """Return the id of a new thread of Mallory's with the checkpoints of a run."""
        return self.copy_of(self._origin)

    def copy_of(self, thread_id: str) -> str:
        """Return the id of a copy of a thread of Mallory's."""
        return str(json.loads(self.ask("POST", f"/threads/{thread_id}/copy").body)["thread_id"])

    def check(self) -> None:
        """Raise Fault unless the server is healthy, Alice's data is unchanged, and no error was logged."""
        self.log.check()
        if (said := self._said_to_alice()) != self._alice:
            raise Fault("state of alice changed", f"{said} instead of {self._alice}")
        self.log.check()

    def prepare(self) -> None:
        """Create Alice's data, and some of Mallory's."""
        for user in ("alice", "mallory"):
            with httpx.Client(base_url=self.url, headers={"x-api-key": self.keys[user]}, timeout=HANG) as http:
                found = _made_by(http, CANARY if user == "alice" else "x")
            if user == "alice":
                self.ids_of_alice = found
                self._alice = self._said_to_alice()
            else:
                self.ids = found
                self._origin = self.copy_of(found["thread_id"])

    def _said_to_alice(self) -> list[str]:
        ids = self.ids_of_alice
        with httpx.Client(base_url=self.url, headers={"x-api-key": self.keys["alice"]}, timeout=HANG) as http:
            said = [
                http.get(path)
                for path in (
                    f"/threads/{ids['thread_id']}",
                    f"/threads/{ids['thread_id']}/state",
                    f"/threads/{ids['thread_id']}/runs/{ids['run_id']}",
                    f"/runs/crons/{ids['cron_id']}",
                    f"/assistants/{ids['assistant_id']}",
                    "/store/items?namespace=n&key=k",
                    "/ready",
                )
            ]
        return [f"{answer.status_code} {answer.text}" for answer in said]


def _made_by(http: httpx.Client, mark: str) -> dict[str, str]:
    """Create a thread with a run, its checkpoints, an item, a cron and an assistant; return their ids."""

    def post(path: str, body: Mapping[str, Any]) -> Any:
        return http.post(path, json=body).raise_for_status().json()

    metadata = {"mark": mark}
    thread_id = post("/threads", {"metadata": metadata})["thread_id"]
    post(f"/threads/{thread_id}/runs/wait", {"assistant_id": "echo", "input": {"said": mark}, "metadata": metadata})
    (run,) = http.get(f"/threads/{thread_id}/runs").json()
    state = http.get(f"/threads/{thread_id}/state").json()
    http.put("/store/items", json={"namespace": ["n"], "key": "k", "value": metadata}).raise_for_status()
    # In a year that no test reaches.
    yearly = {"schedule": "0 0 29 2 *", "assistant_id": "echo", "enabled": False, "metadata": metadata}
    return {
        "thread_id": thread_id,
        "run_id": run["run_id"],
        "checkpoint_id": state["checkpoint"]["checkpoint_id"],
        "cron_id": post("/runs/crons", yearly)["cron_id"],
        "assistant_id": post("/assistants", {"graph_id": "echo", "metadata": metadata})["assistant_id"],
        "graph_id": "echo",
        "key": "k",
    }


async def _asked(app: Callable[..., Any], scope: Mapping[str, Any], body: bytes, waits: bool) -> Answer:
    gone, sent, news = asyncio.Event(), False, asyncio.Event()
    messages: list[Any] = []

    async def receive() -> Mapping[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        messages.append(message)
        news.set()

    task = asyncio.ensure_future(app(scope, receive, send))
    if waits:
        await asyncio.wait({task}, timeout=_HANG_UP_AFTER)
        gone.set()
    await task
    starts = [one for one in messages if one["type"] == "http.response.start"]
    if not starts and not waits:
        raise Fault("no response", f"{scope['method']} {scope['path']}")
    bodies = [one for one in messages if one["type"] == "http.response.body"]
    return Answer(
        starts[0]["status"] if starts else 0,
        {name.decode("latin-1"): value.decode("latin-1") for name, value in (starts[0]["headers"] if starts else ())},
        b"".join(one.get("body", b"") for one in bodies),
        bool(bodies) and not bodies[-1].get("more_body", False),
    )


@contextmanager
def running(folder: Path, *, with_handlers: bool) -> Iterator[World]:
    """Run a server on ``folder``, on its own loop in another thread. Its users have API keys, or are those of auth
    handlers.
    """
    data_dir = current_data(folder / "data")
    flags = {
        "data_dir": data_dir,
        "port": 0,
        "auth": "langgraph" if with_handlers else "keys",
        "shutdown_grace_seconds": 0.1,
        "max_body_bytes": 200_000,
    }
    settings = load_settings(flags, project=folder)
    config = HERE / ("handlers.json" if with_handlers else "langgraph.json")
    application = Application(settings, read_configuration(config))
    if with_handlers:
        keys = {user: f"token-of-{user}" for user in ("alice", "mallory")}
    else:
        keys = asyncio.run(_make_keys(data_dir / "runstead.db"))
    log = ErrorLog()
    logging.getLogger().addHandler(log)
    try:
        with _in_a_thread(application) as (loop, url):
            world = World(application, loop, url, keys, log)
            world.prepare()
            yield world
            world.log.check()
    finally:
        logging.getLogger().removeHandler(log)


async def _make_keys(database: Path) -> dict[str, str]:
    keys = {user: new_key() for user in ("alice", "mallory")}
    async with open_storage(database) as storage:
        for user, key in keys.items():
            record = ApiKeyRecord(f"key_{user}", user, digest_of(key), user, "default", (), SystemClock().now())
            await SqlApiKeyStore(storage).add(record)
    return keys


@contextmanager
def _in_a_thread(application: Application) -> Iterator[tuple[asyncio.AbstractEventLoop, str]]:
    found: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = []
    failures: list[BaseException] = []
    started = threading.Event()

    async def serve() -> None:
        ended = asyncio.Event()
        async with serving(application) as url:
            found.append((asyncio.get_running_loop(), ended, url))
            started.set()
            await ended.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="fuzzed server")
    thread.start()
    started.wait(4 * HANG)
    if not found:
        raise RuntimeError("the server did not start") from (failures[0] if failures else None)
    loop, ended, url = found[0]
    try:
        yield loop, url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(4 * HANG)
        if thread.is_alive() or failures:
            raise Fault("the server did not stop", repr(failures)) from (failures[0] if failures else None)
