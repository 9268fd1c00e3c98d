"""Script of the demo. A server process executes an agent as a durable run, and is killed in the middle. A new process
resumes the run from its last checkpoint, while the reader, an unmodified langgraph_sdk client, reconnects by itself. At
the end, the result is compared with that of an undisturbed run."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langgraph_sdk import get_client

from runstead.cli.approval import approve_all, ask_about
from runstead.cli.connection import describe_errors
from runstead.cli.output import CANCELLED, FAILED, CommandError, Output
from runstead.cli.renderer import RunRenderer
from runstead.cli.server_process import ServerProcess
from runstead.cli.session import MODES
from runstead.cli.transcript import Begun

from .reader import ThreadReader, differences

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient


ASSISTANT: Final = "agent"
GRAPH: Final = f"runstead.graphs.demo:{ASSISTANT}"
QUESTION: Final = "Please pay invoice 2041."
_AT_FULL_SPEED: Final = {"configurable": {"token_seconds": 0}}
_KILL_AFTER_WORDS: Final = 14
"""Number of words of the second message: by then the first steps are done and checkpointed, and this message is being
streamed."""
_LIMIT_SECONDS: Final = 90.0
_ENVIRON: Final = {"RUNSTEAD_LOG_LEVEL": "warning", "RUNSTEAD_SHUTDOWN_GRACE_SECONDS": "1"}


def show_demo(output: Output, *, ask: bool) -> int:
    """Run the demo and return the exit code: 0 if everything that it claims was observed."""
    if os.name != "posix":
        raise CommandError("the demo kills a process and hands its socket on, which needs Linux or macOS", "use WSL")
    with (
        tempfile.TemporaryDirectory(prefix="runstead-demo-") as scratch,
        # The socket exists before, between and after the servers, so that no connection is ever refused.
        socket.create_server(("127.0.0.1", 0), backlog=128) as listening,
    ):
        log, settings = Path(scratch) / "server.log", Path(scratch) / "runstead.toml"
        # An empty settings file, since the user's own settings must not affect the demo.
        settings.touch()
        arguments = [GRAPH, "--data-dir", str(Path(scratch) / "data"), "--settings", str(settings), "--json"]
        child = ServerProcess(arguments, listening, environ=_ENVIRON, log=log)
        play = DemoRun(output, child, f"http://127.0.0.1:{listening.getsockname()[1]}", ask=ask)
        try:
            return asyncio.run(play.perform())
        except KeyboardInterrupt:
            output.error("interrupted")
            return CANCELLED
        except ExceptionGroup as errors:
            error = errors.exceptions[0]
            problem = error.problem if isinstance(error, CommandError) else f"{type(error).__name__}: {error}"
            output.error(f"the demo failed: {problem}", _end_of(log))
            return FAILED
        finally:
            child.kill()


class DemoRun:
    """The demo, scene by scene. ``child`` is the current server, at ``url``."""

    def __init__(self, output: Output, child: ServerProcess, url: str, *, ask: bool) -> None:
        self._output, self._child, self._url, self._ask = output, child, url, ask
        self._timeline = Timeline(output)
        self._view = RunRenderer(output)
        self._resume: object = None

    async def perform(self) -> int:
        """Run all scenes. Raises an ExceptionGroup of failures."""
        async with asyncio.timeout(_LIMIT_SECONDS), asyncio.TaskGroup() as together:
            guard = together.create_task(self._guard_server())
            self._timeline.note(f"starting a server: runstead serve {GRAPH}")
            self._child.start()
            client = get_client(url=self._url, timeout=_LIMIT_SECONDS)
            try:
                with describe_errors(self._url):
                    problems = await self._steps(client)
            finally:
                guard.cancel()
                await client.aclose()
        return FAILED if problems else 0

    async def _guard_server(self) -> None:
        """Stop the demo if the server ends by itself, since nothing would respond on its socket."""
        while True:
            if (code := self._child.has_died()) is not None:
                raise CommandError(f"the server ended by itself, with exit code {code}")
            await asyncio.sleep(0.1)

    async def _steps(self, client: LangGraphClient) -> list[str]:
        await client.http.get("/ok")
        self._timeline.note(f"the server responds at {self._url} (pid {self._child.pid})")
        disturbed = await self._disturbed(client)
        undisturbed = await self._undisturbed(client)
        problems = list(differences(disturbed, undisturbed))
        await self._report_outcome(client, disturbed, problems)
        return problems

    async def _disturbed(self, client: LangGraphClient) -> ThreadReader:
        """Execute the run whose process is killed."""
        thread_id = str((await client.threads.create())["thread_id"])
        reader = ThreadReader(thread_id, self._view.show)
        self._timeline.note(f"creating a run with langgraph_sdk: {QUESTION}")
        question = {"messages": [{"role": "user", "content": QUESTION}]}
        killed = await self._watch(client, reader, lambda: self._kill_server_once(reader), input=question)
        if not killed or reader.transcript.attempt != 2:
            raise CommandError(f"attempt {reader.transcript.attempt} ended the run; it should have been the second")
        if not reader.transcript.interrupts:
            raise CommandError("the run ended without asking for approval")
        self._timeline.note("attempt 2 stopped: a human has to approve the payment")
        self._resume = self._decide(reader)
        self._timeline.note("answered; the thread goes on from its checkpoint")
        await self._watch(client, reader, None, command={"resume": self._resume})
        self._timeline.note("finished")
        reader.state = (await client.threads.get_state(thread_id))["values"]  # type: ignore[assignment]
        return reader

    async def _undisturbed(self, client: LangGraphClient) -> ThreadReader:
        """Execute the same run on another thread, at full speed and without output."""
        thread_id = str((await client.threads.create())["thread_id"])
        reader = ThreadReader(thread_id, lambda item: None)
        question = {"messages": [{"role": "user", "content": QUESTION}]}
        await self._watch(client, reader, None, input=question, config=_AT_FULL_SPEED)
        await self._watch(client, reader, None, command={"resume": self._resume}, config=_AT_FULL_SPEED)
        reader.state = (await client.threads.get_state(thread_id))["values"]  # type: ignore[assignment]
        self._timeline.note("the same run again, undisturbed, on another thread: done")
        return reader

    async def _watch(
        self, client: LangGraphClient, reader: ThreadReader, disturb: Callable[[], bool] | None, **run: Any
    ) -> bool:
        """Create a run and read it to its end. Return True if ``disturb`` did something on the way."""
        stream: Any = client.runs.stream(
            reader.thread_id,
            ASSISTANT,
            stream_mode=list(MODES),
            stream_resumable=True,
            on_disconnect="continue",
            durability="sync",
            **run,
        )
        disturbed = False
        async with aclosing(reader.read(stream)) as items:
            async for item in items:
                if isinstance(item, Begun) and item.attempt > 1:
                    self._timeline.note(f"the reader has reconnected by itself, and attempt {item.attempt} continues")
                if disturb is not None and not disturbed:
                    disturbed = disturb()
        self._view.end_line()
        return disturbed

    def _kill_server_once(self, reader: ThreadReader) -> bool:
        if not (reader.tools["lookup_invoice"] and reader.words_of(0) >= _KILL_AFTER_WORDS):
            return False
        self._view.end_line()
        self._timeline.note(f"killing the process that executes the run (pid {self._child.pid})", style="bold red")
        self._child.kill()
        self._child.start()
        self._timeline.note(f"starting a new process on the same data (pid {self._child.pid})")
        return True

    def _decide(self, reader: ThreadReader) -> object:
        if self._ask:
            return ask_about(reader.transcript.interrupts, self._output.ask)
        self._view.remark("approved automatically (use --ask to answer yourself)")
        return approve_all(reader.transcript.interrupts)

    async def _report_outcome(self, client: LangGraphClient, disturbed: ThreadReader, problems: list[str]) -> None:
        runs = [await client.http.get(f"/runs/{run_id}") for run_id in disturbed.run_ids]
        used = [run["completion"] or {} for run in runs]
        self._output.say()
        self._timeline.show()
        self._output.say()
        for run, completion in zip(runs, used, strict=True):
            self._output.say(f"run {run['run_id']}: {run['status']} in attempt {run['attempt']}, ", end="")
            self._output.say(f"{completion['llm_call_count']} model calls, ", end="")
            read, said = completion["total_input_tokens"], completion["total_output_tokens"]
            self._output.say(f"{read} input tokens, {said} output tokens")
        tools = ", ".join(f"{name} {count}x" for name, count in disturbed.tools.items())
        self._output.say(f"tools executed, over all attempts: {tools}")
        self._output.say()
        if problems:
            self._output.error("; ".join(problems))
        else:
            self._output.say(
                "The killed run and the undisturbed one ended in exactly the same state, and the reader has seen the "
                "same messages.",
                style="bold green",
            )
        self._output.line(
            "outcome",
            same=not problems,
            problems=problems,
            seconds=round(self._timeline.seconds, 3),
            runs=[{name: run[name] for name in ("run_id", "status", "attempt", "completion")} for run in runs],
            tools=dict(disturbed.tools),
            messages=disturbed.messages,
        )


def _end_of(log: Path) -> str | None:
    """Return the last lines of the server's log, which is deleted with the scratch directory."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n       ".join(lines[-12:]) or None


class Timeline:
    """Timeline in seconds since its creation."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._began = time.monotonic()
        self._entries: list[tuple[float, str]] = []

    def note(self, text: str, *, style: str = "bold") -> None:
        at = time.monotonic() - self._began
        self._entries.append((at, text))
        self._output.line("timeline", at=round(at, 3), what=text)
        self._output.say(f"[{at:5.1f} s] {text}", style=style)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def show(self) -> None:
        """Print the timeline as a table; with --json, its lines were already printed."""
        if self._output.as_json:
            return
        from rich.table import Table

        table = Table(title="What happened when", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("seconds", justify="right")
        table.add_column("what")
        for at, text in self._entries:
            table.add_row(f"{at:.2f}", text)
        self._output.console.print(table)
