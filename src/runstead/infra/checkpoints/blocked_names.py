"""Find the names that stored values would call when they are read, without calling or importing any of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_METHODS, SAFE_MSGPACK_TYPES

from .data_classes import DataClasses
from .serde import OWN_NAMES, ormsgpack

_CALLS: Final = (
    jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG,
    jsonplus.EXT_CONSTRUCTOR_POS_ARGS,
    jsonplus.EXT_CONSTRUCTOR_KW_ARGS,
    jsonplus.EXT_PYDANTIC_V1,
    jsonplus.EXT_PYDANTIC_V2,
)


@dataclass(frozen=True, slots=True)
class BlockedNames:
    """Finds names in stored values that no reader here would call, as far as this process can know.

    ``allowed`` are names that a configuration adds. Classes of packages that this process has not imported, such as
    those of graphs, are not reported: the reader, which has imported them, decides about them (docs/adr/0034).
    """

    allowed: frozenset[tuple[str, ...]] = frozenset()
    allows_pickle: bool = False
    _data: DataClasses = field(default_factory=DataClasses)

    def first(self, kind: str | None, data: bytes) -> str | None:
        """Return the first blocked name in a value as checkpoints store it, or None.

        Encrypted values are not examined: only holders of the key can have written them.
        """
        if kind == "pickle":
            return None if self.allows_pickle else "a pickle"
        names = {"msgpack": _names_in_msgpack, "json": _names_in_json}.get(kind or "")
        return next((".".join(name) for name in names(data) if self._is_blocked(name)), None) if names else None

    def _is_blocked(self, name: tuple[str, ...]) -> bool:
        if name in SAFE_MSGPACK_TYPES or name in SAFE_MSGPACK_METHODS or name in OWN_NAMES or name in self.allowed:
            return False
        module, called = name[0], name[1]
        if module.partition(".")[0] in sys.stdlib_module_names:
            return len(name) > 2 or (module, called) not in self._data
        # Nothing is imported for this check: a name that is not loaded may be data.
        return getattr(sys.modules.get(module), called, None) is not None and (module, called) not in self._data


def _names_in_msgpack(data: bytes) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def look(code: int, inner: bytes) -> Any:
        parts = _unpacked(inner, look)
        if code in _CALLS and _are_texts(parts[:2]):
            found.append((parts[0], parts[1]))
        elif code == jsonplus.EXT_METHOD_SINGLE_ARG and _are_texts([*parts[:2], *parts[3:4]]):
            found.append((parts[0], parts[1], *parts[3:4]))
        return None

    _unpacked(data, look)
    return found


def _unpacked(data: bytes, look: object) -> list[Any]:
    try:
        parts = ormsgpack.unpackb(data, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
    except (ValueError, TypeError, RecursionError):
        # A reader cannot read it either.
        return []
    return parts if isinstance(parts, list) else []


def _are_texts(parts: list[Any]) -> bool:
    return len(parts) > 1 and all(isinstance(part, str) for part in parts)


def _names_in_json(data: bytes) -> Iterator[tuple[str, ...]]:
    try:
        todo: list[object] = [orjson.loads(data)]
    except orjson.JSONDecodeError:
        return
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            todo.extend(part.values())
            path = part.get("id")
            # langgraph's own form. For the form of langchain, langchain has an allow list.
            if part.get("lc") == 2 and isinstance(path, list) and _are_texts(path):
                yield ".".join(path[:-1]), path[-1]
        elif isinstance(part, list):
            todo.extend(part)
