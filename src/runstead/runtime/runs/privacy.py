"""What of a config or of metadata is nobody's business who reads a stream or a state: one rule for all of them.

LangChain copies what is configurable into the metadata of events and checkpoints, so what graphs may know of their user
would otherwise turn up everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CREDENTIALS: Final = frozenset(
    ("authorization", "proxy-authorization", "x-api-key", "x-service-key", "x-auth-key", "cookie", "set-cookie")
)
"""Names, in lower case, under which somebody proves who they are."""

_PREFIXES: Final = ("__", "langgraph_auth_", "langgraph_request_id")


def is_private(name: Any) -> bool:
    """Whether what stands under ``name`` is kept from readers."""
    return isinstance(name, str) and (name.startswith(_PREFIXES) or name.lower() in CREDENTIALS)


def public(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """``mapping`` as readers may see it."""
    return {name: value for name, value in mapping.items() if not is_private(name)}
