"""Description of graphs for clients: schemas, drawings, subgraphs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pydantic import create_model

from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.agents import Agent
from runstead.runtime.runs.exceptions import AgentTimeout, GraphCodeFailed
from runstead.runtime.runs.graph_access import GraphAccess
from runstead.runtime.runs.redaction import identity_keys
from runstead.runtime.serialization import jsonable

from .assistants import AssistantRecord

_TAKING_NODE: Final = "SteeringMiddleware.before_model"
"""The end of the name that LangChain gives to the node of the middleware."""


class GraphSchemas:
    """Descriptions of assistants' graphs. A schema that cannot be expressed in JSON is None."""

    def __init__(self, agents: GraphAccess) -> None:
        self._agents = agents

    async def schemas(self, assistant: AssistantRecord) -> JsonMapping:
        """Return the JSON schemas of input, output, state, config and context."""

        async def work(agent: Agent) -> JsonObject:
            return _schemas(agent)

        described = await self._agents.run(assistant.graph_id, work, config=_config(assistant))
        return {"graph_id": assistant.graph_id, **described}

    async def drawing(self, assistant: AssistantRecord, *, xray: bool | int = False) -> JsonMapping:
        """Return nodes and edges; ``xray`` expands subgraphs, up to this many levels deep."""

        async def work(agent: Any) -> JsonObject:
            drawn = (await agent.aget_graph(_config(assistant), xray=xray)).to_json()
            # Clients need not know the location of a node's code.
            for node in drawn.get("nodes", ()):
                if isinstance(node.get("data"), dict):
                    node["data"].pop("id", None)
            plain: JsonObject = jsonable(drawn)
            return plain

        return await self._agents.run(assistant.graph_id, work, config=_config(assistant))

    async def takes_messages(self, assistant: AssistantRecord) -> bool:
        """Return whether an agent of the graph has the SteeringMiddleware. Nodes that take messages by themselves
        cannot be seen."""

        async def work(agent: Any) -> bool:
            nodes = set(agent.nodes)
            async for _, graph in agent.aget_subgraphs(recurse=True):
                nodes |= set(graph.nodes)
            return any(node.endswith(_TAKING_NODE) for node in nodes)

        try:
            return await self._agents.run(assistant.graph_id, work, config=_config(assistant))
        except (AgentTimeout, GraphCodeFailed):
            return False

    async def subgraphs(
        self, assistant: AssistantRecord, *, namespace: str | None = None, recurse: bool = False
    ) -> JsonMapping:
        """Return schemas of subgraphs by namespace: of one, or of all on this level, or also of nested ones."""

        async def work(agent: Any) -> JsonObject:
            # LangGraph finds a nested namespace only if it may recurse.
            found = agent.aget_subgraphs(namespace=namespace, recurse=recurse or "|" in (namespace or ""))
            return {name: {"graph_id": assistant.graph_id, **_schemas(graph)} async for name, graph in found}

        return await self._agents.run(assistant.graph_id, work, config=_config(assistant))


def _config(assistant: AssistantRecord) -> JsonObject:
    actor = require_actor_context("graph schemas")
    given = assistant.config.get("configurable", {})
    own = {"graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
    identity = identity_keys(actor, given)
    own |= {name: identity[name] for name in ("user_id", "tenant_id") if name in identity}
    return {**assistant.config, "configurable": {**given, **own}}


def _schemas(graph: Any) -> JsonObject:
    context = _schema_or_none(lambda: graph.get_context_jsonschema())
    return {
        "input_schema": _schema_or_none(lambda: graph.get_input_jsonschema()),
        "output_schema": _schema_or_none(lambda: graph.get_output_jsonschema()),
        "state_schema": _schema_or_none(lambda: _state_schema(graph)),
        # Configurable and context have the same schema, since one mirrors the other.
        "config_schema": context,
        "context_schema": context,
    }


def _schema_or_none(schema: Callable[[], Any]) -> Any | None:
    with contextlib.suppress(Exception):
        return jsonable(schema())
    return None


def _state_schema(graph: Any) -> JsonObject:
    fields: JsonObject = {}
    for name in graph.stream_channels_list:
        kind = graph.channels[name].UpdateType
        fields[name] = (kind if _schema_or_none(partial(_schema_of, kind)) is not None else Any, None)
    schema: JsonObject = create_model(graph.get_name("State"), **fields).model_json_schema()
    return schema


def _schema_of(kind: Any) -> JsonObject:
    return create_model("Channel", value=(kind, None)).model_json_schema()
