"""Errors for values that a checkpoint cannot store: their path, and the possible remedies."""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from langgraph.types import Send

_DEEPEST: Final = 100
_LONGEST_KEY: Final = 100
_PICKLE: Final = 'set {"checkpointer": {"serde": {"pickle_fallback": true}}} in langgraph.json'


class UnstorableValue(TypeError):
    """A value that a checkpoint cannot store; the text names its path, its type and the remedies."""

    def __init__(self, path: str, what: str, instead: str = "keep plain data in it") -> None:
        super().__init__(f"{path or 'the state'}: {what} cannot be kept in a checkpoint; {instead}, or {_PICKLE}")


def not_kept(value: object, pack: Callable[[object], object]) -> UnstorableValue:
    """Return the error for a ``value`` that ``pack`` refuses. It names the innermost part that ``pack`` refuses."""
    path, around = "", [value]
    while len(around) <= _DEEPEST:
        whole = around[-1]
        found = next(((step, part) for step, part in _parts(whole) if not _is_kept(part, pack)), None)
        if found is None:
            return UnstorableValue(path, *_said_of(whole, pack))
        step, part = found
        path = f"{path}{step}".removeprefix(".")
        if any(part is each for each in around):
            return UnstorableValue(path, f"a value of type {_kind(part)} that contains itself", "refer to it by an id")
        around.append(part)
    short = f"{path[:_LONGEST_KEY]}..."
    return UnstorableValue(short, f"a value of type {_kind(value)} of more than {_DEEPEST} levels", "keep it flatter")


def _said_of(value: object, pack: Callable[[object], object]) -> tuple[str, str]:
    """Return a description of a value that cannot be stored though its parts can, and the alternative."""
    if isinstance(value, int):
        return f"a value of type {_kind(value)} of more than 64 bits", "keep it as a string"
    for key in value if isinstance(value, Mapping) else ():
        if not _is_kept({key: None}, pack):
            shown = ascii(str(key))[:_LONGEST_KEY]
            return f"a key of type {_kind(key)}, {shown},", "use a string as the key"
    return f"a value of type {_kind(value)}", "keep plain data in it"


def _is_kept(value: object, pack: Callable[[object], object]) -> bool:
    try:
        pack(value)
    except Exception:
        return False
    return True


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """Yield the parts that the serializer looks into, each with its step of the path."""
    if isinstance(value, Mapping):
        # A checkpoint holds the state below this name; its other items can always be stored.
        channels = value.get("channel_values") if "channel_versions" in value else None
        if channels is not None:
            yield "", channels
        yield from ((f".{key}", part) for key, part in value.items())
    elif hasattr(value, "_asdict"):
        yield from ((f".{name}", part) for name, part in value._asdict().items())
    elif isinstance(value, (Sequence, set, frozenset, deque)) and not isinstance(value, (str, bytes, bytearray)):
        yield from ((f"[{place}]", part) for place, part in enumerate(value))
    elif isinstance(value, Send):
        yield ".arg", value.arg
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value))
    elif callable(getattr(value, "model_dump", None)) and not isinstance(value, type):
        yield from ((f".{name}", part) for name, part in vars(value).items() if not name.startswith("__"))
    elif (pandas := sys.modules.get("pandas")) is not None and type(value) is pandas.DataFrame:
        yield from ((f"[{name!r}]", value.iloc[:, place]) for place, name in enumerate(value.columns))
    elif type(value).__module__.partition(".")[0] in ("numpy", "pandas") and callable(getattr(value, "tolist", None)):
        listed = value.tolist()
        yield from ((f"[{place}]", part) for place, part in enumerate(listed if isinstance(listed, list) else ()))
