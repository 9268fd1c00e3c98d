"""Conversation with a graph on one thread: asks for its input, runs it, and asks again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runstead.runtime.json_types import JsonMapping, JsonObject

from .client_command import ServerClient
from .output import CommandError
from .run_commands import message_input
from .session import RunSession

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient


class Chat:
    """Chat of one person with one assistant."""

    def __init__(self, client: LangGraphClient, server: ServerClient, thread_id: str, *, approve: bool) -> None:
        self._client, self._output, self._thread_id = client, server.output, thread_id
        self._session = RunSession(client, server, thread_id, approve=approve)

    async def talk(self, assistant: str | None) -> int:
        """Read inputs and run them until there is none. Return the exit code of the last run."""
        chosen = assistant or await self._only_assistant()
        schemas: JsonMapping = await self._client.assistants.get_schemas(chosen)
        self._output.line("chat", thread_id=self._thread_id, assistant=chosen)
        self._output.say(f"-- {chosen} on thread {self._thread_id}; an empty line or Ctrl-D ends the chat", style="dim")
        code = 0
        # Of a graph with `typing.TypedDict`, Python 3.11 gives no schema of the input.
        while (given := self._ask(schemas.get("input_schema") or schemas.get("state_schema"))) is not None:
            code = await self._session.create(chosen, given)
        self._output.line("ended_chat", thread_id=self._thread_id)
        return code

    async def _only_assistant(self) -> str:
        found = await self._client.assistants.search(limit=100)
        graphs = sorted({one["graph_id"] for one in found})
        if len(graphs) != 1:
            raise CommandError("the server has several graphs", f"name one: runstead chat {' | '.join(graphs)}")
        return graphs[0]

    def _ask(self, schema: object) -> Any:
        """Return the next input of the graph; None at the end of the chat."""
        try:
            return ask_for_input(schema, self._output.ask)
        except (EOFError, KeyboardInterrupt):
            self._output.say()
            return None


def ask_for_input(schema: Any, ask: Any) -> Any:
    """Ask for the input that a JSON Schema describes, and return it; None if the first line is empty.

    A graph with messages is asked for one; others for each field, required ones until there is a value.
    """
    fields = schema.get("properties") if isinstance(schema, Mapping) else None
    if not fields or "messages" in fields:
        is_value = isinstance(schema, Mapping) and schema.get("type") not in (None, "object")
        typed = ask("you     ").strip()
        if not typed:
            return None
        return _parsed(typed, schema) if is_value else message_input(typed)
    required = set(schema.get("required") or ())
    given: JsonObject = {}
    for number, (name, field) in enumerate(fields.items()):
        label = f"{name} ({_kind(field, schema)}{', required' if name in required else ''}): "
        typed = ask(label).strip()
        if not typed and number == 0:
            return None
        while not typed and name in required:
            typed = ask(label).strip()
        if typed:
            given[name] = _parsed(typed, _resolved(field, schema))
    return given


def _parsed(typed: str, schema: object) -> Any:
    """Return what was typed as the schema's type: texts as typed, everything else as JSON if it is JSON."""
    if isinstance(schema, Mapping) and schema.get("type") == "string":
        return typed
    try:
        return json.loads(typed)
    except (ValueError, RecursionError):
        return typed


def _kind(field: object, schema: JsonMapping) -> str:
    found = _resolved(field, schema)
    options = [_kind(one, schema) for one in found.get("anyOf") or ()]
    if "enum" in found:
        return "one of " + ", ".join(str(one) for one in found["enum"])
    return " or ".join(options) or {"array": "JSON list", "object": "JSON object"}.get(
        str(found.get("type")), str(found.get("type") or "any JSON")
    )


def _resolved(field: object, schema: JsonMapping) -> JsonMapping:
    if not isinstance(field, Mapping):
        return {}
    name = str(field.get("$ref", "")).removeprefix("#/$defs/")
    found = (schema.get("$defs") or {}).get(name, field)
    return found if isinstance(found, Mapping) else {}
