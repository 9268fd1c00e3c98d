"""Fields of recorded responses that a library fills in, with the library and its version at the time of the
recording.

Their values change with every release of the library, so no release may fail a comparison. Each of them is still
checked for its form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from packaging.version import InvalidVersion, Version


@dataclass(frozen=True, slots=True)
class LibraryField:
    """A field whose value comes from ``library``. ``is_valid`` accepts every value that a release of it may write."""

    library: str
    recorded_with: str
    is_valid: Callable[[Any], bool]


def is_version(value: Any) -> bool:
    """Return True if ``value`` is a version number that pip would accept."""
    try:
        Version(value)
    except (InvalidVersion, TypeError):
        return False
    return True


def are_versions(value: Any) -> bool:
    """Return True if ``value`` maps names of libraries to version numbers."""
    return isinstance(value, dict) and bool(value) and all(map(is_version, value.values()))


LIBRARY_FIELDS: Final[Mapping[str, LibraryField]] = {
    "langgraph_version": LibraryField("langgraph", "1.2.22", is_version),
    "langgraph_py_version": LibraryField("langgraph", "1.2.22", is_version),
    "lc_versions": LibraryField("langchain-core", "1.7.2", are_versions),
}
"""By key, at any position in a response."""
