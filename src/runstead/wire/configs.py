"""Config, context and metadata of a run, merged: assistant, then thread, then what the client sent; the later wins.

Keys that the server owns are dropped without a word, as the reference does: clients echo them back
from runs they have read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runstead.resources.assistants import AssistantRecord
from runstead.resources.threads import ThreadRecord

from .errors import BadRequest

_OWN_PREFIXES: Final = ("__", "langgraph_auth_")
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
    """What one request says about config, context and metadata."""

    config: Mapping[str, Any]
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    headers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Merged:
    """What the run is executed with."""

    config: Mapping[str, Any]
    context: Mapping[str, Any] | None
    metadata: Mapping[str, Any]


def merged(asked: Asked, assistant: AssistantRecord, thread: ThreadRecord | None) -> Merged:
    """Raises BadRequest when configurable and context are both given: nobody could say which one counts."""
    configurable = without_own(asked.config.get("configurable") or {}, _OWN_CONFIGURABLE)
    if configurable and asked.context:
        raise BadRequest(BOTH_GIVEN)
    of_thread = thread.config if thread else {}
    configured = without_own(of_thread.get("configurable") or {}, _OWN_CONFIGURABLE)
    layers = [assistant.config, of_thread, asked.config]
    config = {key: value for layer in layers for key, value in layer.items() if value is not None}
    config["configurable"] = {
        **without_own(assistant.config.get("configurable") or {}, _OWN_CONFIGURABLE),
        **configured,
        **configurable,
        # The mirror shows nothing that could not have been put there itself.
        **without_own(asked.context, _OWN_CONFIGURABLE),
        **without_own(asked.headers, _OWN_CONFIGURABLE),
    }
    metadata = _metadata(asked, assistant, thread, layers)
    context = {**assistant.context, **configured, **configurable, **asked.context}
    return Merged({**config, "metadata": metadata}, context or None, metadata)


def without_own(values: Mapping[str, Any], own: frozenset[str]) -> dict[str, Any]:
    """``values`` without the keys that only the server sets."""
    return {key: value for key, value in values.items() if key not in own and not key.startswith(_OWN_PREFIXES)}


def _metadata(
    asked: Asked, assistant: AssistantRecord, thread: ThreadRecord | None, layers: list[Mapping[str, Any]]
) -> dict[str, Any]:
    sources = [assistant.metadata, thread.metadata if thread else {}]
    sources += [layer.get("metadata") or {} for layer in layers]
    sources.append(asked.metadata)
    result: dict[str, Any] = {}
    for source in sources:
        result.update(without_own(source, _OWN_METADATA))
    return {**result, "graph_id": assistant.graph_id, "assistant_id": assistant.assistant_id}
