"""Priority function of langgraph.json: the ``assign`` function of a ``langgraph_sdk.Priority``.

It is called for the first run of a thread without a priority. The store that creates the run stores its result with the
thread.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from starlette.exceptions import HTTPException

from runstead.resources.assistants import AssistantStore
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.fair_turns import LEAST_URGENT, MOST_URGENT, NAMED_GROUP, group_of
from runstead.runtime.runs.store import ThreadPriorityStore
from runstead.runtime.runs.types import RunSpec, Scheduling, ThreadPriority
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, UserCodeCancelled
from runstead.runtime.user_code.user_loop import UserCodeTimeout, UserLoop
from runstead.runtime.value_shape import value_shape
from runstead.wire.errors import Refused, Unavailable, WireError
from runstead.wire.users import user_of

_log = logging.getLogger(__name__)

_ANSWER_WITHIN: Final = 60.0
_LONGEST_GROUP: Final = 256
_KEYS: Final = ("priority", "fairness_group")
_NEEDS: Final = "it needs langgraph-sdk 0.4.12 or newer; pip install -U langgraph-sdk"

Assign: TypeAlias = Callable[[Any], Awaitable[Any]]


class InvalidPriority(Exception):
    """The object that langgraph.json names has no usable priority function; the text contains the reason and the
    fix."""


class PriorityFailed(WireError):
    """The priority function failed, or returned an invalid result, which is a mistake of its author, not of the
    client."""

    status = 500


def check_priority(priority: object) -> Assign:
    """Return the function that ``priority`` has registered. Raises InvalidPriority."""
    try:
        from langgraph_sdk.priority import Priority
        from langgraph_sdk.priority.types import PrioritySettings
    except ImportError as error:
        raise InvalidPriority(_NEEDS) from error
    if "fairness_weight" in PrioritySettings.__annotations__:
        # In such versions, 5 is the most urgent.
        raise InvalidPriority(_NEEDS)
    if not isinstance(priority, Priority):
        raise InvalidPriority(
            f"it is a {type(priority).__name__}, not a langgraph_sdk.Priority; write `priority = Priority()`, and "
            "@priority.assign above an async function of one parameter"
        )
    assign = priority._assign_handler
    if assign is None:
        raise InvalidPriority("it has no function; write @priority.assign above an async function of one parameter")
    _check_signature(assign)
    return assign


def _check_signature(assign: Assign) -> None:
    # The SDK checks the signature on registration, but not for further required parameters.
    try:
        inspect.signature(assign).bind(None)
    except TypeError as error:
        name = getattr(assign, "__qualname__", repr(assign))
        raise InvalidPriority(f"{name} must be an async function of one parameter, the context: {error}") from error


class LangGraphPriority:
    """RunScheduler of a server with a priority function, which is called on ``user_loop``."""

    def __init__(
        self,
        assign: Assign,
        user_loop: UserLoop,
        threads: ThreadPriorityStore,
        assistants: AssistantStore,
        graph_priorities: Mapping[str, int],
        *,
        answer_within: float = _ANSWER_WITHIN,
    ) -> None:
        """Create the scheduler. ``answer_within``: maximum seconds of the function."""
        self._assign, self._user_loop, self._answer_within = assign, user_loop, answer_within
        self._threads, self._assistants, self._graph_priorities = threads, assistants, graph_priorities

    async def schedule(self, spec: RunSpec) -> Scheduling:
        """Return the scheduling of a run.

        Raises PriorityFailed; Unavailable if the function does not return in time; Refused if it raises an
        HTTPException.
        """
        actor = require_actor_context("creating a run")
        known = Scheduling(group_of(actor), self._graph_priorities.get(spec.graph_id, 0), by_thread=True)
        metadata: JsonMapping = {}
        if spec.thread_id is not None:
            thread = await self._threads.get(spec.thread_id)
            is_missing = thread is None and spec.scope.kind == "stateful" and spec.scope.if_not_exists != "create"
            if is_missing or (thread is not None and thread.priority is not None):
                return known
            metadata = {} if thread is None else thread.metadata
        answer = await self._asked(await self._context(actor, spec, metadata))
        return replace(known, assigned=_assigned(answer))

    async def _context(self, actor: ActorContext, spec: RunSpec, metadata: JsonMapping) -> Any:
        from langgraph_sdk.priority.types import PriorityContext

        assistant = await self._assistants.get(spec.assistant_id)
        user: Any = user_of(actor)
        return PriorityContext(
            user=user,
            permissions=user.permissions,
            thread_id=spec.thread_id,
            thread_metadata=dict(metadata),
            assistant_id=spec.assistant_id,
            graph_id=spec.graph_id,
            assistant_metadata={} if assistant is None else dict(assistant.metadata),
            run_metadata=dict(spec.metadata),
            cron_id=None if spec.tick is None else spec.tick.cron_id,
        )

    async def _asked(self, context: Any) -> object:
        from langgraph_sdk import Auth

        work = UserWork("priority function", graph_id=context.graph_id, thread_id=context.thread_id)

        async def assign() -> object:
            return await self._assign(context)

        try:
            return await self._user_loop.run(assign, self._answer_within, named=work)
        except (UserCodeTimeout, UserCodeCancelled, LoopLost) as error:
            raise Unavailable("This server's priority function does not answer; no run was created") from error
        except (Auth.exceptions.HTTPException, HTTPException) as error:
            raise Refused(int(error.status_code), str(error.detail), dict(error.headers or {})) from error
        except Exception as error:
            _log.exception("the priority function failed; no run was created")
            raise PriorityFailed(
                "This server's priority function failed, so no run was created. The server's log says more."
            ) from error


def _assigned(answer: object) -> ThreadPriority:
    """Return the function's result as a ThreadPriority. Raises PriorityFailed."""
    if answer is None:
        return ThreadPriority()
    if not isinstance(answer, Mapping):
        raise _meaningless("None or a dict with priority and fairness_group", answer)
    if unknown := [key for key in answer if key not in _KEYS]:
        _log.warning("the priority function returned %r, which have no effect; known are %s", unknown, list(_KEYS))
    priority, group = answer.get("priority"), answer.get("fairness_group")
    if priority is not None and (type(priority) is not int or not MOST_URGENT <= priority <= LEAST_URGENT):
        raise _meaningless(f"a priority that is an integer from {MOST_URGENT} to {LEAST_URGENT}", priority)
    if group is not None and not (isinstance(group, str) and _is_group(group)):
        raise _meaningless(f"a fairness_group that is a string of at most {_LONGEST_GROUP} characters", group)
    return ThreadPriority(priority or 0, f"{NAMED_GROUP}{group}" if group else None)


def _is_group(group: str) -> bool:
    try:
        group.encode()
    except UnicodeEncodeError:
        return False
    return len(group) <= _LONGEST_GROUP and "\0" not in group


def _meaningless(expected: str, got: object) -> PriorityFailed:
    _log.error("the priority function must return %s, got %s; no run was created", expected, value_shape(got))
    return PriorityFailed(
        f"This server's priority function must return {expected}, got {type(got).__name__}; no run was created"
    )
