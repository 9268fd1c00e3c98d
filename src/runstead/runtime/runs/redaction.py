"""Private keys of configs and metadata: the single rule for hiding them from readers of streams and states.

LangChain copies the configurable into the metadata of events and checkpoints, which would otherwise expose the user's
data that graphs receive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CREDENTIALS: Final = frozenset(
    ("authorization", "proxy-authorization", "x-api-key", "x-service-key", "x-auth-key", "cookie", "set-cookie")
)
"""Names of credentials, in lower case."""

_PREFIXES: Final = ("__", "langgraph_auth_", "langgraph_request_id")


def is_private(name: Any) -> bool:
    """Return whether the value under ``name`` is hidden from readers."""
    return isinstance(name, str) and (name.startswith(_PREFIXES) or name.lower() in CREDENTIALS)


def public(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``mapping`` without private keys."""
    return {name: value for name, value in mapping.items() if not is_private(name)}
