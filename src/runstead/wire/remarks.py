"""Remarks in responses about accepted request fields that have no effect here.

Clients send these fields by default, and other servers accept them: refusing them would break valid clients, and
ignoring them silently would mislead. See docs/adr/0008.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from runstead.resources.state_views import ThreadState
from runstead.runtime.json_types import JsonMapping

from .runs import RunCreate

HEADER: Final = "runstead-remark"
"""One sentence for each such field, separated by semicolons."""

ENCRYPTED_VALUES: Final = (
    "values finds only what is stored unencrypted, for this server encrypts the values of threads; search by metadata"
)

OMITTED_VALUES: Final = (
    "values of {count} threads are omitted, for the page would be too large; ask for fewer threads, or for one by id"
)
CUT_PAGE: Final = (
    "the page is cut after {count} entries, for more would be too large (setting max_page_bytes); ask for the next "
    "page from there"
)
_LONGEST: Final = 500
_FEEDBACK: Final = "feedback_keys has no effect, for this server collects no feedback"
_TRACING: Final = "langsmith_tracer has no effect, for tracing is not switched on (LANGSMITH_TRACING)"


def remark_on_states(states: Sequence[ThreadState]) -> Mapping[str, str]:
    """Return the header for states that were read without their graph's own code, or that are not the thread's latest;
    empty if neither applies."""
    failure = next((state.failure for state in states if state.failure is not None), None)
    loss = next((state.loss for state in states if state.loss is not None), None)
    said = f"the state is shown as it is stored, for the graph's own code failed: {failure}"
    sentences = [said] if failure is not None else []
    # Headers are one line of ASCII.
    lines = [" ".join(text.encode("ascii", "replace").decode().split()) for text in (*sentences, loss) if text]
    return remark(*(line[:_LONGEST] for line in lines))


def remark(*sentences: str) -> Mapping[str, str]:
    """Return the header with these sentences; empty if there are none."""
    return {HEADER: "; ".join(dict.fromkeys(sentences))} if sentences else {}


_MOST_NAMES: Final = 10
_LONGEST_NAME: Final = 60


def unknown(names: Iterable[str]) -> list[str]:
    """Return sentences about unknown fields of a body."""
    parts = [ascii(name[:_LONGEST_NAME]).replace(";", ",") for name in dict.fromkeys(names)]
    said = [f"{name} has no effect, for there is no such field" for name in parts[:_MOST_NAMES]]
    return said if len(parts) <= _MOST_NAMES else [*said, f"neither have {len(parts) - _MOST_NAMES} more"]


def identity_remarks(configurable: JsonMapping, identity: JsonMapping) -> list[str]:
    """Return sentences about keys whose requested value differs from the one that the server sets for the authenticated
    user."""
    return [
        f"configurable.{name} has no effect, for the server sets it from the authenticated user"
        for name in ("user_id", "tenant_id", *(name for name in configurable if name.startswith("langgraph_auth_")))
        if name in configurable and configurable[name] != identity.get(name)
    ]


def remarks_on(bodies: Iterable[RunCreate], *, is_traced: bool) -> Mapping[str, str]:
    """Return the header for a response to a request for these runs; empty if all fields have their effect."""
    parts: list[str] = []
    for body in bodies:
        if body.feedback_keys:
            parts.append(_FEEDBACK)
        if body.langsmith_tracer is not None and body.langsmith_tracer.to_tracing() and not is_traced:
            parts.append(_TRACING)
    return remark(*parts)
