"""Classes that a checkpoint may name without an allow list: classes of imported packages that only hold data.

A checkpoint names the types of its values, and reading it calls them by name. Without this restriction, anyone who can
write to the database or supply an export file could have any function of any package called.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections import deque
from collections.abc import Iterable
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from langgraph.store.base import Item
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.v1 import BaseModel as BaseModelV1

_HOLDERS: Final = (
    BaseModel, BaseModelV1, SecretStr, SecretBytes, Enum, Item, Decimal, UUID, date, time, timedelta, tzinfo,
    set, frozenset, deque,
)  # fmt: skip


class DataClasses:
    """A container of (module, name) pairs of classes that only hold data.

    Pydantic models, dataclasses, named tuples, enums, and subclasses of built-in data.

    Their package must have been imported by this process. Of the standard library it contains only enums, besides the
    types that langgraph itself lists. It contains no functions and no other classes.
    """

    def __init__(self, also: Iterable[tuple[str, str]] = ()) -> None:
        """Create the container. ``also``: names that it always contains."""
        self._known = set(also)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, tuple) or len(key) != 2 or not all(isinstance(part, str) for part in key):
            return False
        if key in self._known:
            return True
        if _holds_data(*key):
            self._known.add(key)
            return True
        return False


def _holds_data(module: str, name: str) -> bool:
    package = module.partition(".")[0]
    if package not in sys.modules:
        return False
    is_standard = package in sys.stdlib_module_names
    if is_standard and module not in sys.modules:
        return False
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except Exception:
        # A class that no longer exists: the value is shown as the data that it was made of.
        return False
    if not isinstance(found, type):
        return False
    if is_standard:
        return issubclass(found, Enum)
    is_named_tuple = issubclass(found, tuple) and hasattr(found, "_fields")
    return issubclass(found, _HOLDERS) or dataclasses.is_dataclass(found) or is_named_tuple
