"""Interactive session of one person on one thread: the run, its interrupts, and Ctrl-C.

The first Ctrl-C detaches, and the run continues; a second one, soon after, cancels it.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, cast

from runstead.runtime.json_types import JsonMapping

from .approval import NotApprovable, approve_all, ask_about
from .client_command import ServerClient
from .output import CANCELLED, FAILED, NEEDS_HUMAN
from .renderer import RunRenderer
from .transcript import Transcript

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient
    from langgraph_sdk.schema import StreamMode, StreamPart

MODES: Final[tuple[StreamMode, ...]] = ("messages-tuple", "updates", "custom")
_SECOND_THOUGHT_SECONDS = 2.0


class RunSession:
    """Session that follows runs of one thread, at a terminal or for a program that reads lines."""

    def __init__(self, client: LangGraphClient, server: ServerClient, thread_id: str, *, approve: bool = False) -> None:
        self._client, self._output, self._thread_id = client, server.output, thread_id
        self._url_option = server.url_option
        self._approve = approve
        self._view = RunRenderer(server.output)
        self._run_id = ""
        self._assistant = ""
        self._transcript = Transcript()

    async def create(self, assistant: str, input: Any, command: Any = None, *, checkpoint_id: str | None = None) -> int:
        """Create a run and follow it, and the runs that continue it after interrupts. Return the exit code."""
        self._assistant = assistant

        def created(run: Any) -> None:
            self._run_id = run["run_id"]
            self._output.line("created", run_id=self._run_id, thread_id=self._thread_id)

        stream = self._client.runs.stream(
            self._thread_id,
            assistant,
            input=input,
            command=command,
            checkpoint_id=checkpoint_id,
            stream_mode=MODES,
            stream_subgraphs=True,
            stream_resumable=True,
            on_disconnect="continue",
            if_not_exists="create",
            on_run_created=created,
        )
        return await self._follow(stream)

    async def join(self, run_id: str) -> int:
        """Follow an existing run from its beginning. Return the exit code."""
        self._run_id = run_id
        run = await self._client.runs.get(self._thread_id, run_id)
        self._assistant = run["assistant_id"]
        return await self._follow(self._client.runs.join_stream(self._thread_id, run_id, last_event_id="-1"))

    async def answer(self, assistant: str, interrupts: JsonMapping) -> int:
        """Answer the pending interrupts of the thread, as the API shows them, and follow the run that continues."""
        self._assistant = assistant
        transcript = self._transcript = Transcript()
        for item in transcript.feed(
            "values", {"__interrupt__": [one for several in interrupts.values() for one in several]}
        ):
            self._view.show(item)
        return await self._answer(transcript)

    async def _follow(self, stream: AsyncIterator[StreamPart]) -> int:
        transcript = self._transcript = self._transcript.next_run()
        with _listening_to_ctrl_c() as pressed:
            if not await self._read(stream, transcript, pressed):
                return await self._detach(pressed)
        run = await self._client.runs.get(self._thread_id, self._run_id)
        status = str(run["status"])
        self._tell_end(cast(JsonMapping, run), transcript)
        if status != "success":
            return CANCELLED if status == "interrupted" else FAILED
        return await self._answer(transcript) if transcript.interrupts else 0

    async def _read(self, stream: AsyncIterator[StreamPart], transcript: Transcript, pressed: asyncio.Event) -> bool:
        """Show the stream until it ends. Return False if Ctrl-C came first."""
        reading = asyncio.create_task(self._show(stream, transcript))
        leaving = asyncio.create_task(pressed.wait())
        await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if reading.done():
            self._view.end_line()
            await reading
            return True
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        self._view.end_line()
        return False

    async def _show(self, stream: AsyncIterator[StreamPart], transcript: Transcript) -> None:
        async for part in stream:
            self._output.line("part", name=part.event, id=part.id, data=part.data)
            for item in transcript.feed(part.event, part.data):
                self._view.show(item)

    async def _detach(self, pressed: asyncio.Event) -> int:
        if not self._run_id:
            # No run was created yet, so none continues.
            return CANCELLED
        watch = f"runstead watch {self._run_id}{self._url_option}"
        self._output.line("detached", run_id=self._run_id, thread_id=self._thread_id, watch=watch)
        self._view.remark(f"detached; the run continues. To watch it again: {watch}", style="bold")
        self._view.remark(f"press Ctrl-C again within {_SECOND_THOUGHT_SECONDS:.0f} s to cancel it")
        with _listening_to_ctrl_c() as again:
            try:
                await asyncio.wait_for(again.wait(), _SECOND_THOUGHT_SECONDS)
            except TimeoutError:
                return 0
            await self._client.runs.cancel(self._thread_id, self._run_id, wait=True)
        self._output.line("cancelled", run_id=self._run_id, thread_id=self._thread_id)
        self._view.remark("cancelled", style="bold red")
        return CANCELLED

    async def _answer(self, transcript: Transcript) -> int:
        """Get an answer to the run's interrupts, and continue with it."""
        if self._approve:
            try:
                resume = approve_all(transcript.interrupts)
            except NotApprovable as error:
                self._view.remark(str(error))
                return self._leave_open()
        elif sys.stdin.isatty() and not self._output.as_json:
            try:
                resume = ask_about(transcript.interrupts, self._output.ask)
            except (KeyboardInterrupt, EOFError):
                return self._leave_open()
        else:
            return self._leave_open()
        return await self.create(self._assistant, None, {"resume": resume})

    def _leave_open(self) -> int:
        answer = (
            f"runstead run {shlex.quote(self._assistant)} --thread {self._thread_id} --resume JSON{self._url_option}"
        )
        self._output.line("waiting", thread_id=self._thread_id, answer=answer)
        self._view.remark(f"the thread waits for an answer; give one with: {answer}", style="bold")
        return NEEDS_HUMAN

    def _tell_end(self, run: JsonMapping, transcript: Transcript) -> None:
        usage, status = transcript.usage, str(run["status"])
        self._output.line(
            "ended",
            run_id=self._run_id,
            thread_id=self._thread_id,
            status=status,
            attempt=run.get("attempt"),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            interrupts=[
                {
                    "id": asked.interrupt_id,
                    "value": asked.value,
                    **({} if asked.response_schema is None else {"response_schema": asked.response_schema}),
                }
                for asked in transcript.interrupts
            ],
        )
        tokens = f", {usage.input_tokens} input tokens, {usage.output_tokens} output tokens" if usage.calls else ""
        ended = "waits for approval" if transcript.interrupts and status == "success" else status
        self._view.remark(f"{ended}{tokens}", style="bold")


@contextmanager
def _listening_to_ctrl_c() -> Iterator[asyncio.Event]:
    """Within the block, Ctrl-C sets the event instead of raising KeyboardInterrupt."""
    pressed = asyncio.Event()
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    try:
        # Wakes the loop whenever the signal arrives; a plain handler may run just before the loop begins to wait.
        loop.add_signal_handler(signal.SIGINT, pressed.set)
    except NotImplementedError:
        # Windows.
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(pressed.set))
    try:
        yield pressed
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
