"""Server of a test: runs agents like `runstead serve`, in this process, and can crash."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import httpx
from langgraph_sdk.client import SyncLangGraphClient
from langgraph_sdk.schema import RunCreateMetadata, StreamPart

from runstead.bootstrap.transfer import copy_databases
from runstead.resources.storage_errors import StorageError
from runstead.runtime.json_types import JsonObject

from .agent_application import Graphs, application_for_test, configuration_for_test, settings_for_test
from .agent_run import AgentRun
from .crash_point import CrashPoint, CrashWatch
from .hand_clock import HandClock
from .in_process_transport import InProcessTransport
from .recorded_stream import RecordedStream
from .server_node import ServerNode

if TYPE_CHECKING:
    from langgraph_sdk.schema import StreamMode

_MODES: Final[list[StreamMode]] = ["values", "updates", "messages-tuple", "custom"]
_LONGEST_WAIT: Final = 60.0
"""Seconds without any event after which a test fails, instead of hanging."""
_LOOK_EVERY: Final = 0.02


class AgentServer:
    """A server with the SDK's client, over storage in ``folder``. Close it at the end, or use the pytest fixtures.

    ``graphs``: a graph, which becomes ``agent``, a mapping of graphs, or the path of a langgraph.json. ``listens``: it
    has a port, for other clients. ``clock``: its time. ``settings``: any of `runstead.Settings`, by name.
    """

    def __init__(
        self,
        graphs: Graphs,
        folder: Path,
        *,
        listens: bool = False,
        clock: HandClock | None = None,
        crash: CrashPoint | None = None,
        headers: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        self.clock, self.crash_point = clock or HandClock(), crash or CrashPoint()
        self._folder, self._listens, self._starts = folder, listens, 0
        self._configuration = configuration_for_test(graphs, [CrashWatch(self.crash_point)])
        self._settings = settings_for_test(folder, **settings)
        self._node = self._start(folder)
        transport = None if listens else InProcessTransport(lambda: self._node.target())
        self.url = self._node.url
        """The URL of the server; without a port, only its client uses it."""
        connection = httpx.Client(base_url=self.url, transport=transport, headers=headers, timeout=_LONGEST_WAIT)
        self.client = SyncLangGraphClient(connection)
        """The SDK's synchronous client of the server, also of the next one after a crash."""

    def run(
        self,
        input: str | JsonObject | None = None,
        *,
        graph: str | None = None,
        thread_id: str | None = None,
        command: JsonObject | None = None,
        crash_before: str | None = None,
        crash_after: str | None = None,
        **options: Any,
    ) -> AgentRun:
        """Create a run, record its stream to the end, and return it.

        ``input``: the text of a message, or the input of the graph. ``graph``: its id; the first one otherwise.
        ``thread_id``: a new thread otherwise. ``crash_before`` and ``crash_after`` name a node, tool or model: the
        server crashes there once, and the next one continues the run. ``options`` are those of the SDK's ``stream``.
        """
        thread = thread_id or str(self.client.threads.create()["thread_id"])
        point, starts = crash_before or crash_after, self._starts
        if point is not None:
            self.crash_point.arm("before" if crash_before else "after", point)
        stream, created = RecordedStream(), list[RunCreateMetadata]()
        asked: Any = {"messages": [{"role": "user", "content": input}]} if isinstance(input, str) else input
        given: Any = {"command": command, "stream_mode": _MODES, "stream_resumable": True, **options}
        parts = self.client.runs.stream(
            thread, graph or self.graphs[0], input=asked, on_run_created=created.append, **given
        )
        self._record(parts, stream)
        run_id = str(created[0]["run_id"])
        if point is not None and self._starts == starts:
            self._fail_uncrashed(point, stream)
        return self.run_of(thread, run_id, stream)

    def run_of(self, thread_id: str, run_id: str, stream: RecordedStream | None = None) -> AgentRun:
        """Return a run that exists, with the rest of its stream."""
        stream = stream or RecordedStream()
        record: Any = self.client.runs.get(thread_id, run_id)
        while record["status"] in ("pending", "running"):
            last = next((part.id for part in reversed(stream.parts) if part.id), None)
            self._record(self.client.runs.join_stream(thread_id, run_id, last_event_id=last), stream)
            record = self.client.runs.get(thread_id, run_id)
        state: Any = self.client.threads.get_state(thread_id)
        return AgentRun(self, record, state, stream)

    def ended_runs(self, count: int = 1) -> list[AgentRun]:
        """Wait until ``count`` runs of the server have ended, and return all that have, the oldest first.

        For runs that a schedule or a delay starts, after `advance`. Runs without a thread are deleted at their end.
        """
        deadline = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < deadline:
            runs: Any = self.client.http.get("/runs", params={"limit": 1_000})
            ended = [run for run in runs if run["status"] not in ("pending", "running")]
            if len(ended) >= count:
                return [self.run_of(run["thread_id"], run["run_id"]) for run in reversed(ended)]
            time.sleep(_LOOK_EVERY)
        raise AssertionError(f"expected {count} ended runs, but there are {len(ended)} of {len(runs)}")

    def advance(self, **step: float) -> None:
        """Move the server's time forward: ``advance(days=1)``. See HandClock."""
        self.clock.advance(**step)

    def crash(self) -> None:
        """Crash the server now, and start the next one with the data that is stored at this moment."""
        self._replace(self._save())

    @property
    def graphs(self) -> list[str]:
        """Ids of the graphs."""
        return [source.graph_id for source in self._configuration.graphs]

    def close(self) -> None:
        """Stop the server. Idempotent."""
        self.client.close()
        self._node.stop()

    def _start(self, folder: Path) -> ServerNode:
        self._starts += 1
        settings = self._settings.model_copy(update={"data_dir": folder})
        node = ServerNode(application_for_test(self._configuration, settings, self.clock), listens=self._listens)
        if self._listens:
            # The next server has the same port.
            self._settings = self._settings.model_copy(update={"port": int(node.url.rpartition(":")[2])})
        self._current = folder
        self._saved: Path | None = None
        self.crash_point.attach(self._save)
        return node

    def _save(self) -> Path:
        """Copy the stored data as it is now. Called from any thread, while the server runs."""
        target = self._folder.with_name(f"{self._folder.name}-{self._starts}")
        names = ("*.db", "*.db-*", "runstead.lock", "runstead.pid")
        shutil.copytree(self._current, target, ignore=shutil.ignore_patterns(*names))
        copy_databases(self._current, target)
        self._saved = target
        return target

    def _replace(self, folder: Path) -> None:
        """Stop the crashed server, and start the next one with the copied data."""
        self._node.stop()
        self._node = self._start(folder)
        self.crash_point.reset()

    def _record(self, parts: Iterator[StreamPart], stream: RecordedStream) -> None:
        """Record events until the stream ends, or the server crashes: then the next server is started."""
        try:
            for part in parts:
                if self.crash_point.has_fired:
                    break
                stream.parts.append(part)
        except (httpx.HTTPError, StorageError):
            if not self.crash_point.has_fired:
                raise
        finally:
            _close(parts)
        if self.crash_point.has_fired:
            assert self._saved is not None
            self._replace(self._saved)

    def _fail_uncrashed(self, point: str, stream: RecordedStream) -> NoReturn:
        self.crash_point.disarm()
        passed = ", ".join(dict.fromkeys(self.crash_point.passed)) or "none; call runstead_crash in its code"
        raise AssertionError(f"the run did not reach {point!r} to crash there; it passed: {passed}\n{stream}")


def _close(parts: Iterator[StreamPart]) -> None:
    """End a stream of the SDK, which is a generator, while its server still runs."""
    if isinstance(parts, Generator):
        parts.close()
