"""Commands of the event protocol, sent over HTTP or a WebSocket. One instance for each request or socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import orjson
from pydantic import TypeAdapter
from starlette.requests import HTTPConnection

from runstead.resources.state_views import ThreadState
from runstead.runtime.actor_context import acting, require_actor_context
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import CheckpointRef, RunRecord, StreamMode, ThreadId
from runstead.wire.body import unknown_fields
from runstead.wire.configs import BOTH_GIVEN
from runstead.wire.errors import BadRequest
from runstead.wire.identifiers import as_uuid
from runstead.wire.protocol.commands import (
    INPUT_INJECT,
    INPUT_RESPOND,
    LIST_CHECKPOINTS,
    RUN_START,
    STATE_FORK,
    STATE_GET,
    Command,
    CommandRefused,
    params_of,
)
from runstead.wire.protocol.compact_messages import slim_state
from runstead.wire.protocol.events import Subscription
from runstead.wire.protocol.graph_tree import tree_of
from runstead.wire.remarks import unknown
from runstead.wire.runs import CommandBody, RunCreate

from .auth.audit import record_command
from .auth.authorization import authorize_run
from .remark_headers import add_remarks
from .run_specs import run_specs_of
from .services import Services
from .steering_answers import steered_answer

T = TypeVar("T")

_MODES: Final[list[StreamMode]] = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints"]
"""All stream modes from which the channels are built."""
_NO_THREAD: Final = "No run has been started on this thread yet."


class ThreadCommands:
    """Commands of one thread, for the bound actor."""

    def __init__(self, services: Services, thread_id: ThreadId, request: HTTPConnection) -> None:
        self._use, self._thread_id, self._request = services, thread_id, request
        self._methods: Mapping[str, Callable[[Command], Awaitable[JsonObject]]] = {
            "run.start": self._start,
            "input.respond": self._respond,
            "input.inject": self._inject,
            "state.get": self._state,
            "state.listCheckpoints": self._checkpoints,
            "state.fork": self._fork,
            "agent.getTree": self._tree,
        }

    async def execute(self, command: Command) -> JsonObject:
        """Execute a command and return its result. Raises CommandRefused, and the errors of the services behind it."""
        method = self._methods.get(command.method)
        if method is None:
            raise CommandRefused("unknown_command", f"Unknown protocol command: {command.method[:100]}")
        return await method(command)

    def _params_of(self, command: Command, adapter: TypeAdapter[T]) -> T:
        params = params_of(command, adapter)
        add_remarks(self._request, unknown(unknown_fields(command.params, params, "params.")))
        return params

    async def _start(self, command: Command) -> JsonObject:
        params = self._params_of(command, RUN_START)
        if not params.assistant_id:
            raise CommandRefused("invalid_argument", "run.start requires an assistant_id.")
        configurable = (params.config.configurable if params.config else None) or {}
        if configurable and params.context:
            raise BadRequest(BOTH_GIVEN)
        body: JsonObject = {
            "assistant_id": params.assistant_id,
            "input": params.input,
            "config": params.config,
            "context": params.context,
            "metadata": params.metadata,
            "multitask_strategy": params.multitask_strategy,
            "langsmith_tracer": params.langsmith_tracer,
        }
        if params.input is None or configurable.get("checkpoint_id"):
            return {"run_id": (await self._create(body)).run_id}
        async with self._use.interrupts.of(self._thread_id) as waiting:
            # An input for a thread that waits for an answer is that answer.
            if len(waiting) == 1:
                body |= {"input": None, "command": CommandBody(resume={next(iter(waiting)): params.input})}
            elif waiting:
                body |= {"input": None, "command": CommandBody(resume=params.input)}
            run = await self._create(body)
            return await steered_answer(self._use, run, self._request) if run.message_id else {"run_id": run.run_id}

    async def _respond(self, command: Command) -> JsonObject:
        params = self._params_of(command, INPUT_RESPOND)
        answers = params.answers()
        async with self._use.interrupts.of(self._thread_id) as waiting:
            for interrupt_id in answers:
                if interrupt_id not in waiting:
                    raise CommandRefused(
                        "no_such_interrupt", f"Unknown or already-consumed interrupt: {interrupt_id[:100]}"
                    )
            orders: JsonObject = {"resume": answers}
            orders |= {"update": params.update} if params.update is not None else {}
            orders |= {"goto": params.goto} if params.goto is not None else {}
            run = await self._create(
                {
                    "assistant_id": await self._assistant(),
                    "command": CommandBody(**orders),
                    "config": params.config,
                    "metadata": params.metadata,
                    "strict_resume": params.strict_resume,
                }
            )
        return {"run_id": run.run_id}

    async def _inject(self, command: Command) -> JsonObject:
        params = self._params_of(command, INPUT_INJECT)
        if params.namespace:
            raise CommandRefused("no_such_namespace", "Messages can be injected only at the root.")
        assistant_id = await self._assistant()
        async with self._use.interrupts.of(self._thread_id) as waiting:
            if waiting:
                # A run with an input starts from the beginning, and the pending interrupts would be lost.
                raise CommandRefused("invalid_argument", "The thread waits for an answer: use input.respond.")
            run = await self._create(
                {
                    "assistant_id": assistant_id,
                    "input": {"messages": [params.message.to_message()]},
                    "multitask_strategy": "steer",
                }
            )
        return await steered_answer(self._use, run, self._request)

    async def _fork(self, command: Command) -> JsonObject:
        params = self._params_of(command, STATE_FORK)
        if (checkpoint_id := as_uuid(params.checkpoint_id)) is None:
            raise CommandRefused("no_such_checkpoint", f"Unknown checkpoint: {params.checkpoint_id[:100]}")
        run = await self._create(
            {
                "assistant_id": await self._assistant(),
                "input": params.input,
                "config": params.config,
                "checkpoint_id": checkpoint_id,
            }
        )
        return {"run_id": run.run_id, "thread_id": run.thread_id}

    async def _state(self, command: Command) -> JsonObject:
        params = self._params_of(command, STATE_GET)
        state = await self._read(params.namespace or [])
        values = orjson.loads(state.values)
        if params.keys is not None and isinstance(values, dict):
            values = {key: value for key, value in values.items() if key in params.keys}
        result: JsonObject = {"values": slim_state(values)}
        if state.checkpoint is not None:
            result["checkpoint"] = {"id": state.checkpoint["checkpoint_id"]}
            if namespace := state.checkpoint.get("checkpoint_ns"):
                result["checkpoint"]["ns"] = namespace
        return result

    async def _read(self, namespace: list[str]) -> ThreadState:
        place = CheckpointRef(checkpoint_ns="|".join(namespace)) if namespace else None
        try:
            state = await self._use.states.read(self._thread_id, at=place)
        except ThreadNotFound as error:
            raise CommandRefused("no_such_run", _NO_THREAD) from error
        except ValueError as error:
            # Raised by LangGraph for a namespace that the graph does not have.
            raise CommandRefused("no_such_namespace", f"There is no graph in {namespace!r}.") from error
        if namespace and state.checkpoint is None:
            raise CommandRefused("no_such_namespace", f"There is no graph in {namespace!r}.")
        return state

    async def _checkpoints(self, command: Command) -> JsonObject:
        params = self._params_of(command, LIST_CHECKPOINTS)
        if params.before is not None and as_uuid(params.before) is None:
            raise CommandRefused("no_such_checkpoint", f"Unknown checkpoint: {params.before[:100]}")
        place = CheckpointRef(checkpoint_ns="|".join(params.namespace)) if params.namespace else None
        try:
            states = await self._use.states.history(
                self._thread_id, limit=params.limit or 10, before=params.before, at=place
            )
        except ThreadNotFound as error:
            raise CommandRefused("no_such_run", _NO_THREAD) from error
        return {"checkpoints": [_summary(state) for state in states if state.checkpoint is not None]}

    async def _tree(self, command: Command) -> JsonObject:
        events = await self._use.thread_events.current_events(self._thread_id, Subscription(frozenset(("lifecycle",))))
        tree = tree_of(events)
        if tree is None:
            raise CommandRefused("no_such_run", "No active run is bound to this thread.")
        return {"tree": tree}

    async def _create(self, body: JsonMapping) -> RunRecord:
        create = RunCreate(
            **{key: value for key, value in body.items() if value is not None},
            stream_mode=_MODES,
            stream_subgraphs=True,
            stream_resumable=True,
            if_not_exists="create",
        )
        # The access for the run applies to it alone: a socket continues to read with its own access.
        with acting(require_actor_context("a command")):
            create = await authorize_run(self._use, self._thread_id, create)
            (spec,) = await run_specs_of([(create, self._thread_id)], self._request, self._use)
            run = await self._use.runs.create_background(spec)
            await record_command(self._use.audit, self._request, spec, run)
            return run

    async def _assistant(self) -> str:
        """Return the assistant that the thread last used. Raises CommandRefused if there is none."""
        thread = await self._use.threads.get(self._thread_id)
        found = thread.metadata.get("assistant_id") or thread.metadata.get("graph_id") if thread else None
        if not isinstance(found, str):
            raise CommandRefused("no_such_run", _NO_THREAD)
        return found


def _summary(state: ThreadState) -> JsonObject:
    metadata = orjson.loads(state.metadata) if state.metadata else {}
    return {
        "id": (state.checkpoint or {}).get("checkpoint_id"),
        "timestamp": state.created_at,
        "step": metadata.get("step"),
        "metadata": metadata,
    }
