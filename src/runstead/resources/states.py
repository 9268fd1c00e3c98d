"""Thread states, read and updated through their graphs, outside runs.

A state is a checkpoint seen through its graph: channels become values, pending writes become tasks and interrupts. An
update goes through the graph too, so that its reducers apply. Graph code runs on agent loops, as it does in runs. If it
raises, an update is refused, and a state is read without it, as far as it is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.errors import InvalidUpdateError
from langgraph.types import Command, Send, StateUpdate

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.agents import Agent
from runstead.runtime.runs.error_redaction import REDACTING, ErrorRedactor
from runstead.runtime.runs.exceptions import GraphCodeFailed, RunError, ThreadBusy, ThreadNotFound
from runstead.runtime.runs.graph_access import GraphAccess
from runstead.runtime.runs.redaction import identity_keys
from runstead.runtime.runs.store import CheckpointBytes, RunCheckpointStore, RunQueryStore
from runstead.runtime.runs.stored_state import BROKEN, OURS, stored_snapshot, without_author_code, without_validation
from runstead.runtime.runs.types import CheckpointRef, RunCommand, RunFilter, RunRecord, RunStatus, ThreadId
from runstead.runtime.serialization import describe

from .lost_states import LostStates
from .state_views import ThreadState, checkpoint_config, checkpoint_of, filled, fitting, thread_after, thread_state
from .thread_configs import ThreadConfigs, layered
from .threads import ThreadRecord, ThreadStore

T = TypeVar("T")

_log = logging.getLogger(__name__)


class CheckpointNotFound(Exception):
    """The thread has no such checkpoint."""

    def __init__(self, thread_id: ThreadId, checkpoint_id: str | None) -> None:
        super().__init__(f"Checkpoint {checkpoint_id} of thread {thread_id} not found")


class GraphUnassigned(Exception):
    """The thread has no graph yet."""

    def __init__(self, thread_id: ThreadId) -> None:
        super().__init__(
            f"Thread '{thread_id}' has no assigned graph ID. This usually occurs when no runs have been made on this "
            "particular thread. This operation requires a graph ID. Please ensure a run has been made for the thread "
            "or manually update the thread metadata (by setting the 'graph_id' field) before running this operation."
        )


class InvalidUpdate(RunError):
    """The graph refused the update."""


@dataclass(frozen=True, slots=True)
class Update:
    """Update as if node ``as_node`` had returned ``values`` or ``command``; without a node, as if the node that ran
    last had."""

    values: Any
    as_node: str | None = None
    command: RunCommand | None = None

    def to_langgraph(self) -> StateUpdate:
        """Return the update in LangGraph's form."""
        if self.command is None:
            return StateUpdate(self.values, self.as_node)
        goto = [to if isinstance(to, str) else Send(to["node"], to.get("input")) for to in self.command.goto]
        changes = self.command.update
        pairs = [tuple(pair) for pair in changes] if isinstance(changes, list) else changes
        command: Command[Any] = Command(update=pairs, goto=goto)
        # The type requires a mapping, but LangGraph accepts in an update everything that a node may return.
        return StateUpdate(cast(Any, command), self.as_node)


class ThreadStates:
    """Reader and editor of the states of the bound actor's threads. Raises ThreadNotFound for all others.

    ``on_change`` is called after a thread was changed.
    """

    def __init__(
        self,
        threads: ThreadStore,
        runs: RunQueryStore,
        checkpoints: RunCheckpointStore,
        agents: GraphAccess,
        configs: ThreadConfigs,
        error_texts: ErrorRedactor = REDACTING,
        *,
        on_change: Callable[[ThreadId], Awaitable[None]] | None = None,
    ) -> None:
        self._threads, self._runs, self._checkpoints, self._agents = threads, runs, checkpoints, agents
        self._configs, self._texts, self._on_change = configs, error_texts, on_change
        self._lost = LostStates(checkpoints)

    async def check_checkpoint(self, thread_id: ThreadId, at: CheckpointRef) -> None:
        """Raise CheckpointNotFound for a checkpoint from which no run can start. The caller must check the thread."""
        # A subgraph's checkpoint is found by the graph that contains it.
        if at.checkpoint_id is None or at.checkpoint_ns:
            return
        if await self._checkpoints.saver.aget_tuple(checkpoint_config(thread_id, at)) is None:
            raise CheckpointNotFound(thread_id, at.checkpoint_id)

    async def read(
        self, thread_id: ThreadId, *, at: CheckpointRef | None = None, subgraphs: bool = False
    ) -> ThreadState:
        """Return the latest state, or the one ``at`` a checkpoint (CheckpointNotFound); an empty state before the first
        run."""
        thread = await self._thread(thread_id)
        if (graph_id := _graph_of(thread)) is None:
            if at is not None and at.checkpoint_id is not None:
                raise CheckpointNotFound(thread_id, at.checkpoint_id)
            return ThreadState()

        config, run = checkpoint_config(thread_id, at), await self._configs.latest_run(thread_id)

        async def look(agent: Agent) -> list[ThreadState]:
            return [thread_state(await agent.aget_state(config, subgraphs=subgraphs), self._texts)]

        try:
            (state,) = await self._use(graph_id, thread, run, lambda agent: self._seen(agent, look))
        except GraphCodeFailed as failed:
            saved = await self._checkpoints.saver.aget_tuple(config)
            state = ThreadState() if saved is None else self._stored(saved, failed)
            if at is None and thread.values is not None:
                state = replace(state, values=filled(state.values, thread.values))
        if at is not None and at.checkpoint_id is not None and state.created_at is None:
            raise CheckpointNotFound(thread_id, at.checkpoint_id)
        return replace(state, loss=await self._lost.remark_on(state, run)) if at is None else state

    async def history(
        self,
        thread_id: ThreadId,
        *,
        limit: int = 10,
        before: str | None = None,
        metadata: JsonMapping | None = None,
        at: CheckpointRef | None = None,
    ) -> Sequence[ThreadState]:
        """Return earlier states, newest first: those ``before`` a checkpoint, in the namespace of ``at``, up to the
        number that the bound page budget allows."""
        thread = await self._thread(thread_id)
        if (graph_id := _graph_of(thread)) is None:
            return ()

        config, run = checkpoint_config(thread_id, at), await self._configs.latest_run(thread_id)
        page: JsonObject = {
            "filter": dict(metadata) if metadata else None,
            "before": checkpoint_config(thread_id, CheckpointRef(before)) if before else None,
            "limit": limit,
        }

        async def look(agent: Any) -> list[ThreadState]:
            return await fitting(
                thread_state(one, self._texts) async for one in agent.aget_state_history(config, **page)
            )

        states: Sequence[ThreadState]
        try:
            states = await self._use(graph_id, thread, run, lambda agent: self._seen(agent, look))
        except GraphCodeFailed as failed:
            found = self._checkpoints.saver.alist(cast(RunnableConfig, config), **page)
            states = await fitting(self._stored(saved, failed) async for saved in found)
        if not states or at is not None or before or metadata:
            return states
        return [replace(states[0], loss=await self._lost.remark_on(states[0], run)), *states[1:]]

    async def update(self, thread_id: ThreadId, update: Update, *, at: CheckpointRef | None = None) -> JsonObject:
        """Apply one update and return the new checkpoint. Raises ThreadBusy, GraphUnassigned, InvalidUpdate."""
        if at is not None and at.checkpoint_id is not None:
            await self.read(thread_id, at=at)
        return await self.apply(thread_id, [[update]], at=at)

    async def apply(
        self, thread_id: ThreadId, supersteps: Sequence[Sequence[Update]], *, at: CheckpointRef | None = None
    ) -> JsonObject:
        """Apply supersteps in order, and record the resulting state on the thread. Raises as `update`."""
        thread = await self._thread(thread_id)
        if (graph_id := _graph_of(thread)) is None:
            raise GraphUnassigned(thread_id)
        await self._check_idle(thread_id)
        steps = [[update.to_langgraph() for update in step] for step in supersteps]
        start, stamp = checkpoint_config(thread_id, at), {"graph_id": graph_id, "thread_id": thread_id}

        async def look(agent: Agent) -> list[ThreadState]:
            return [thread_state(await agent.aget_state(checkpoint_config(thread_id, None)), self._texts)]

        async def work(agent: Any) -> tuple[JsonObject, ThreadState]:
            try:
                # Without validation, so that an update can repair a state that no node accepts.
                config = await without_validation(agent).abulk_update_state({**start, "metadata": stamp}, steps)
            except OURS:
                raise
            except (InvalidUpdateError, ValueError, TypeError, KeyError) as error:
                raise InvalidUpdate(f"The update was refused: {describe(error, 1_000)}") from error
            except BROKEN as error:
                raise InvalidUpdate(f"The update was refused: {self._texts.class_and_message(error)}") from error
            (left,) = await self._seen(agent, look)
            return checkpoint_of(config) or {}, left

        run = await self._configs.latest_run(thread_id)
        checkpoint, state = await self._use(graph_id, thread, run, work, guarded=True)
        await self._checkpoints.sync()
        await self._threads.set_state(thread_id, thread_after(state))
        if self._on_change is not None:
            await self._on_change(thread_id)
        return checkpoint

    async def measure(self, thread_id: ThreadId) -> CheckpointBytes:
        """Return the stored size of a thread's states."""
        await self._thread(thread_id)
        return await self._checkpoints.measure(thread_id)

    async def record(self, thread_id: ThreadId) -> None:
        """Write the thread's latest state to its record, for threads whose state was not written by a run or an
        update."""
        state = await self.read(thread_id)
        if state.checkpoint is not None:
            await self._threads.set_state(thread_id, thread_after(state))

    async def _use(
        self,
        graph_id: str,
        thread: ThreadRecord,
        run: RunRecord | None,
        work: Callable[[Agent], Awaitable[T]],
        *,
        guarded: bool = False,
    ) -> T:
        """Run ``work`` with the graph that wrote the thread's state, as far as a config identifies it. ``run`` is the
        thread's latest run."""
        given = await self._configs.config_after(thread, run)
        identity = identity_keys(require_actor_context("thread states"), given.get("configurable"))
        config = layered(given, {"configurable": {"thread_id": thread.thread_id, "graph_id": graph_id, **identity}})
        if not guarded:
            return await self._agents.run(graph_id, work, config=config)
        # Checked again before each write: a run may have been created while the graph was being opened.
        return await self._agents.run(graph_id, work, config=config, guard=lambda: self._check_idle(thread.thread_id))

    async def _seen(self, agent: Agent, look: Callable[[Agent], Awaitable[list[ThreadState]]]) -> list[ThreadState]:
        """Return the states that ``look`` finds, read without the author's code if that raises. Call on an agent
        loop."""
        try:
            return await look(agent)
        except OURS:
            raise
        except BROKEN as error:
            failure = self._texts.class_and_message(error)
            _log.warning("reading a state without the graph's own code, which raised an error", exc_info=True)
        return [replace(state, failure=failure) for state in await look(without_author_code(agent))]

    def _stored(self, saved: CheckpointTuple, failed: GraphCodeFailed) -> ThreadState:
        _log.warning("reading a state without its graph, which could not be opened", exc_info=failed)
        return replace(thread_state(stored_snapshot(saved), self._texts), failure=failed.words)

    async def _check_idle(self, thread_id: ThreadId) -> None:
        in_flight = RunFilter(thread_id, (RunStatus.PENDING, RunStatus.STARTING, RunStatus.RUNNING))
        thread = await self._thread(thread_id)
        if thread.status == "busy":
            raise ThreadBusy([run.run_id for run in await self._runs.list_runs(in_flight)])

    async def _thread(self, thread_id: ThreadId) -> ThreadRecord:
        if (thread := await self._threads.get(thread_id)) is None:
            raise ThreadNotFound(thread_id)
        return thread


def _graph_of(thread: ThreadRecord) -> str | None:
    graph_id = thread.metadata.get("graph_id")
    return graph_id if isinstance(graph_id, str) else None
