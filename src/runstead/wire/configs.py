"""Config, context and metadata of a run, merged from the thread, the assistant and the request; later ones take
precedence.

A run that continues another one, by an answer or without an input, also uses that run's config, since a factory may
otherwise build a different graph: it takes precedence over the assistant's config if the assistant is the same, and
comes before it otherwise (ADR 23). Keys that the server owns are silently dropped, as in the reference server: clients
send them back from runs that they have read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runstead.resources.assistants import AssistantRecord
from runstead.resources.threads import ThreadRecord
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.redaction import ACTOR_KEY
from runstead.runtime.runs.types import AssistantId

from .errors import BadRequest

_OWN_PREFIXES: Final = ("__", "langgraph_auth_", ACTOR_KEY)
_OWN_CONFIGURABLE: Final = frozenset(
    ("thread_id", "run_id", "assistant_id", "graph_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")
)
_OWN_METADATA: Final = frozenset(("thread_id", "run_id", "assistant_id", "graph_id", "cron_id"))

BOTH_GIVEN: Final = (
    "Cannot specify both configurable and context. Prefer setting context alone. Context was introduced in "
    "LangGraph 0.6.0 and is the long term planned replacement for configurable."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Config, context and metadata of one request."""

    config: JsonMapping
    context: JsonMapping
    metadata: JsonMapping
    headers: JsonMapping


@dataclass(frozen=True, slots=True)
class Continued:
    """Run that a new run continues: its assistant, and the values with which it was executed."""

    assistant_id: AssistantId
    configurable: JsonMapping
    context: JsonMapping


@dataclass(frozen=True, slots=True)
class Merged:
    """Values with which the run is executed."""

    config: JsonMapping
    context: JsonMapping | None
    metadata: JsonMapping
    context_only: tuple[str, ...] = ()


def merged(
    asked: Asked, assistant: AssistantRecord, thread: ThreadRecord | None, continued: Continued | None = None
) -> Merged:
    """Merge the values of a run. Raises BadRequest if both configurable and context are given, since it would be
    unclear which one applies."""
    configurable = without_own(asked.config.get("configurable") or {}, _OWN_CONFIGURABLE)
    if configurable and asked.context:
        raise BadRequest(BOTH_GIVEN)
    layers = [assistant.config, asked.config]
    config = {key: value for layer in layers for key, value in layer.items() if value is not None}
    configured = without_own(assistant.config.get("configurable") or {}, _OWN_CONFIGURABLE)
    defaults = _defaults(_Values(configured, assistant.context), assistant.assistant_id, thread, continued)
    config["configurable"] = {
        **defaults.configurable,
        **configurable,
        # The mirrored context contains only keys that a client could also have put into configurable.
        **without_own(asked.context, _OWN_CONFIGURABLE),
        **without_own(asked.headers, _OWN_CONFIGURABLE),
    }
    metadata = _metadata(asked, assistant, thread, layers)
    context = {**defaults.context, **configurable, **asked.context}
    context_only = tuple(sorted(context.keys() - configurable.keys() - asked.headers.keys()))
    return Merged({**config, "metadata": metadata}, context or None, metadata, context_only)


def thread_config(asked: Asked, assistant: AssistantRecord, thread: ThreadRecord | None) -> JsonObject:
    """Return the thread's config for its record after the run; never with the run's own configurable."""
    before = thread.config if thread else {}
    layers = [assistant.config, before, asked.config]
    config = {key: value for layer in layers for key, value in layer.items() if value is not None}
    configurable = [before.get("configurable") or {}, assistant.config.get("configurable") or {}]
    return {**config, "configurable": {key: value for layer in configurable for key, value in layer.items()}}


@dataclass(frozen=True, slots=True)
class _Values:
    configurable: JsonMapping
    context: JsonMapping


def _defaults(
    assistant: _Values, assistant_id: AssistantId, thread: ThreadRecord | None, continued: Continued | None
) -> _Values:
    """Return the values that apply unless the request overrides them."""
    of_thread = without_own((thread.config if thread else {}).get("configurable") or {}, _OWN_CONFIGURABLE)
    layers = [_Values(of_thread, of_thread), assistant]
    if continued is not None:
        place = len(layers) if continued.assistant_id == assistant_id else 1
        layers.insert(place, _Values(continued.configurable, continued.context))
    return _Values(
        {key: value for layer in layers for key, value in layer.configurable.items()},
        {key: value for layer in layers for key, value in layer.context.items()},
    )


def without_own(values: JsonMapping, own: frozenset[str]) -> JsonObject:
    """Return ``values`` without the keys that only the server sets."""
    return {key: value for key, value in values.items() if key not in own and not key.startswith(_OWN_PREFIXES)}


def _metadata(
    asked: Asked, assistant: AssistantRecord, thread: ThreadRecord | None, layers: list[JsonMapping]
) -> JsonObject:
    sources = [assistant.metadata, thread.metadata if thread else {}]
    sources += [layer.get("metadata") or {} for layer in layers]
    sources.append(asked.metadata)
    result: JsonObject = {}
    for source in sources:
        result.update(without_own(source, _OWN_METADATA))
    return {**result, "graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
