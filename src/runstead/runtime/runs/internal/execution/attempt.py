"""One attempt of a run on its agent loop: build the agent, stream it, read the state it left.

The executor, on the server's loop, reads the other end of the queue. This module neither publishes nor settles.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from runstead.runtime.runs.agent_loop import AgentLoop
from runstead.runtime.runs.agents import Agent, AgentFactory
from runstead.runtime.runs.contexts import fitting_context
from runstead.runtime.runs.error_redaction import REDACTING, ErrorRedactor
from runstead.runtime.runs.exceptions import UnknownInterruptError
from runstead.runtime.runs.stored_state import read_state
from runstead.runtime.runs.types import StopReason
from runstead.runtime.serialization import encode
from runstead.runtime.user_code.cross_loop_queue import CrossLoopQueue

from ....json_types import JsonObject
from .agent import open_agent
from .chunks import ChunkEncoder, EncodedEvent
from .fenced_saver import FencedSaver
from .finished_steps import finish_step
from .langsmith import traced
from .partial_answers import PartialAnswers, StreamedAnswers, keep_partial_answer, without_partial_answer
from .planner import ExecutionPlan
from .resume_checks import stopped_at_breakpoint, validate_resume
from .snapshot import StateSnapshot, output_values, snapshot_of, waiting_interrupts, with_interrupts

_log = logging.getLogger(__name__)

_CANCELLED: Final = (
    "The agent's code raised asyncio.CancelledError, although the run was not stopped. "
    "Handle the error where the code cancels a task of its own."
)

GraphChunk: TypeAlias = tuple[tuple[str, ...], str, Any]
"""Namespace, mode, chunk."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """End of the agent's code: normal, with an error, or ``stopped``. ``snapshot`` is None if the state could not be
    read."""

    stopped: bool = False
    output: bytes | None = None
    snapshot: StateSnapshot | None = None
    error: Exception | None = None


@dataclass(slots=True)
class AgentAttempt:
    """Agent side of one attempt, with everything that it needs. ``agent`` is set once it has been opened."""

    loop: AgentLoop
    factory: AgentFactory
    plan: ExecutionPlan
    checkpointer: FencedSaver
    store: object | None
    callbacks: list[Any]
    queue: CrossLoopQueue[EncodedEvent]
    asides: PartialAnswers
    error_texts: ErrorRedactor = REDACTING
    stop_reason: StopReason | None = None
    agent: Agent | None = field(default=None, init=False)
    _streaming: asyncio.Task[None] | None = field(default=None, init=False)

    def stop(self, reason: StopReason) -> None:
        """Stop the graph at its next possible point. Call on the agent's loop."""
        self.stop_reason = reason
        if self._streaming is not None:
            self._streaming.cancel()

    async def run(self) -> AttemptEnd:
        """Execute until the graph ends, fails or is stopped. Always finishes the queue."""
        try:
            async with open_agent(self.factory, self.plan.config, self.checkpointer, self.store) as agent:
                self.agent = agent
                return await self._run(agent)
        except Exception as error:
            return AttemptEnd(error=error)
        finally:
            self.queue.finish()

    async def _run(self, agent: Agent) -> AttemptEnd:
        answers = StreamedAnswers(self.plan.graph_id, self.asides)
        encoder = ChunkEncoder(self.plan.wanted, self.error_texts, answers)
        error = await self._stream(agent, encoder)
        if self.stop_reason is not None:
            # Threads of synchronous nodes cannot be cancelled: the run ends only after they do.
            await self.loop.threads_idle()
            await self.checkpointer.writes_ended()
            if not self.stop_reason.is_terminal:
                return AttemptEnd(stopped=True)
        try:
            state = await read_state(agent, self.plan.state_config)
            reason = self.stop_reason
            if reason and not reason.rolls_back and await finish_step(agent, self.plan.state_config, state):
                state = await read_state(agent, self.plan.state_config)
            if reason and await keep_partial_answer(agent, self.checkpointer, state, answers, reason):
                state = await read_state(agent, self.plan.state_config)
        except Exception as unreadable:
            return AttemptEnd(error=error or unreadable)
        output = self._output(agent, encoder, state, error)
        return AttemptEnd(self.stop_reason is not None, output, snapshot_of(state), error)

    def _output(self, agent: Agent, encoder: ChunkEncoder, state: object, error: Exception | None) -> bytes | None:
        """Return the run's last values with all pending interrupts.

        Also queue them as an event if the readers have not seen these interrupts yet.
        """
        interrupts = waiting_interrupts(state)
        values = output_values(agent, state) if encoder.last_values is None else encoder.last_values
        output = encode(with_interrupts(values, interrupts))
        is_news = {interrupt.id for interrupt in interrupts} != encoder.shown_interrupts
        if is_news and error is None and self.stop_reason is None and "values" in self.plan.wanted:
            self.queue.append(("values", output))
        return output

    async def _stream(self, agent: Agent, encoder: ChunkEncoder) -> Exception | None:
        if self.stop_reason is not None or (self.plan.resuming and await stopped_at_breakpoint(agent, self.plan)):
            return None
        try:
            self.plan = await without_partial_answer(agent, await validate_resume(agent, self.plan))
        except (UnknownInterruptError, RuntimeError) as refused:
            return refused
        self._streaming = asyncio.ensure_future(self._forward(agent, encoder))
        try:
            await asyncio.wait({self._streaming})
        finally:
            self._streaming.cancel()
        if self._streaming.cancelled():
            # Not always our stop: agent code may raise CancelledError by itself.
            return None if self.stop_reason else RuntimeError(_CANCELLED)
        failure = self._streaming.exception()
        if self.stop_reason is not None:
            return None
        if failure is None or isinstance(failure, Exception):
            return failure
        return RuntimeError(
            f"The agent's code raised {type(failure).__name__}. Raise a subclass of Exception instead to end the run."
        )

    async def _forward(self, agent: Agent, encoder: ChunkEncoder) -> None:
        with traced(self.plan) as tracers:
            config = {**self._config(agent), "callbacks": [*self.callbacks, *tracers]}
            chunks = self._events(agent, config, encoder) if self.plan.with_events else self._chunks(agent, config)
            async with aclosing(chunks):
                async for namespace, mode, chunk in chunks:
                    for event in encoder.encode(namespace, mode, chunk):
                        await self.queue.put(event)

    async def _chunks(self, agent: Agent, config: JsonObject) -> AsyncGenerator[GraphChunk, None]:
        # Close the generator here instead of leaving it to the garbage collector, so that the graph stores its pending
        # writes now.
        async with aclosing(agent.astream(self.plan.input, config, **self._options(agent))) as chunks:
            async for chunk in chunks:
                yield chunk if self.plan.subgraphs else ((), *chunk)

    async def _events(
        self, agent: Agent, config: JsonObject, encoder: ChunkEncoder
    ) -> AsyncGenerator[GraphChunk, None]:
        """Run the graph through ``astream_events``, and unwrap the root's chunks from their events."""
        root: str | None = None
        events = agent.astream_events(self.plan.input, config, version="v2", **self._options(agent))
        async with aclosing(events):
            async for event in events:
                root = root or event["run_id"]
                if event["event"] == "on_chain_stream" and event["run_id"] == root:
                    chunk = event["data"]["chunk"]
                    yield tuple(chunk) if self.plan.subgraphs else ((), *chunk)
                else:
                    await self.queue.put(encoder.event(event))

    def _config(self, agent: Agent) -> JsonObject:
        """Return the plan's config without mirrored context values that do not fit the graph's context schema."""
        dropped = self.plan.mirrored - self._context(agent).keys()
        configurable = {key: value for key, value in self.plan.config["configurable"].items() if key not in dropped}
        return {**self.plan.config, "configurable": configurable}

    def _context(self, agent: Agent) -> JsonObject:
        return fitting_context(getattr(agent, "context_schema", None), self.plan.context)

    def _options(self, agent: Agent) -> JsonObject:
        options = {**self.plan.options, "context": self._context(agent)}
        if (channels := getattr(agent, "output_channels", None)) is not None:
            # By default, LangGraph streams private channels too.
            options["output_keys"] = channels
        return options
