"""Attribution of model calls: to the lead agent, to a subagent, or to a middleware.

An explicit tag decides first. Without one, the place of the call in the graph does: LangChain names the nodes of
middleware after the middleware and its hook, and calls of subagents have a checkpoint namespace below a node of the
root graph, or the name of another agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from ...json_types import JsonMapping

CallerGroup: TypeAlias = Literal["lead_agent", "subagent", "middleware"]

LEAD: Final = "lead_agent"
_SUBAGENT: Final = "subagent:"
_MIDDLEWARE: Final = "middleware:"
_HOOKS: Final = frozenset(("before_agent", "before_model", "after_model", "after_agent"))


def group_of(caller: str) -> CallerGroup:
    """Return the group that a caller's tokens count for."""
    if caller.startswith(_SUBAGENT):
        return "subagent"
    return "middleware" if caller.startswith(_MIDDLEWARE) else "lead_agent"


def is_title_caller(caller: str) -> bool:
    """Return whether the caller is a middleware that makes the thread's title, by its name."""
    return caller.startswith(_MIDDLEWARE) and "title" in caller.lower()


class Attribution:
    """Names the caller of each model call of one attempt.

    ``root_started`` is called with the start of the root graph: its agent name is the lead's, and its tags are those
    of the whole run, which say nothing about a single call.
    """

    def __init__(self) -> None:
        self._lead: str | None = None
        self._run_tags: frozenset[str] = frozenset()

    def root_started(self, tags: Sequence[str] | None, metadata: JsonMapping | None) -> None:
        """Record the root graph of the attempt."""
        self._lead = (metadata or {}).get("lc_agent_name")
        self._run_tags = frozenset(tags or ())

    def caller_of(self, tags: Sequence[str] | None, metadata: JsonMapping | None = None) -> str:
        """Return ``lead_agent``, ``subagent:<name>`` or ``middleware:<name>``."""
        own_tags = [tag for tag in tags or () if tag not in self._run_tags]
        return caller_of(own_tags, metadata, lead=self._lead)


def caller_of(tags: Sequence[str] | None, metadata: JsonMapping | None = None, *, lead: str | None = None) -> str:
    """Return the caller by tags and metadata alone. ``lead`` is the name of the root graph's agent, if it has one."""
    for tag in tags or ():
        if tag == LEAD or tag.startswith((_SUBAGENT, _MIDDLEWARE)):
            return tag
    metadata = metadata or {}
    middleware, _, hook = str(metadata.get("langgraph_node") or "").rpartition(".")
    if middleware and hook in _HOOKS:
        return _MIDDLEWARE + middleware
    if source := metadata.get("lc_source"):
        # Middleware of LangChain that calls a model around another call marks its own calls.
        return f"{_MIDDLEWARE}{source}"
    return _subagent(metadata, lead) or LEAD


def _subagent(metadata: JsonMapping, lead: str | None) -> str | None:
    name = metadata.get("lc_agent_name")
    namespace = str(metadata.get("langgraph_checkpoint_ns") or "")
    # Numbers count calls of one task; they are no level of their own.
    levels = [level for level in namespace.split("|") if level and not level.isdigit()]
    if len(levels) > 1:
        return _SUBAGENT + str(name if name and name != lead else levels[0].partition(":")[0])
    return f"{_SUBAGENT}{name}" if name and lead and name != lead else None
