"""How values of checkpoints are written: as langgraph's own serializer does, and values of numpy and pandas too.

What is written is langgraph's format: a value that it does not know is a call of one of `kept_values`. Neither numpy
nor pandas is imported unless a value is one of theirs.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send

from . import kept_values
from .data_classes import DataClasses

# As langgraph's own serializer uses it: the two must be one version.
ormsgpack: Final[Any] = vars(jsonplus)["ormsgpack"]
_hook: Final[Any] = vars(jsonplus)["_create_msgpack_ext_hook"]
_MODULE: Final = kept_values.__name__
OWN_NAMES: Final = tuple(
    (_MODULE, name) for name, found in vars(kept_values).items() if getattr(found, "__module__", None) == _MODULE
)
"""Functions of ours that make values of numpy and pandas again, as (module, name)."""
_UNSAID: Final[Any] = object()
_DEEPEST: Final = 30


class ValueNotKept(TypeError):
    """A value that has no place in a checkpoint; the text names its path and the ways out."""

    def __init__(self, path: str, value: Any) -> None:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        super().__init__(
            f"{path or 'the state'}: a value of type {kind} cannot be kept in a checkpoint; keep plain data in it"
            ', or set {"checkpointer": {"serde": {"pickle_fallback": true}}} in langgraph.json'
        )


class CheckpointSerializer(JsonPlusSerializer):
    """JsonPlusSerializer for more types, with errors that say where a value is.

    ``allowed_msgpack_modules`` are what may be made beside what langgraph lists: classes as (module, name), None for no
    others, True for everything. Not given: `DataClasses`. Anything else is read as the data it was to be made of, and
    the log says so.
    """

    def __init__(
        self,
        *,
        pickle_fallback: bool = False,
        allowed_json_modules: Iterable[tuple[str, ...]] | Literal[True] | None = None,
        allowed_msgpack_modules: Any = _UNSAID,
    ) -> None:
        allowed: dict[str, Any] = {}
        if allowed_msgpack_modules is True:
            allowed["allowed_msgpack_modules"] = True
        elif allowed_msgpack_modules is not _UNSAID:
            allowed["allowed_msgpack_modules"] = (*(allowed_msgpack_modules or ()), *OWN_NAMES)
        elif not STRICT_MSGPACK_ENABLED:
            # True says nothing here, for the hook decides.
            allowed |= {"allowed_msgpack_modules": True, "__unpack_ext_hook__": _hook(DataClasses(OWN_NAMES))}
        super().__init__(pickle_fallback=pickle_fallback, allowed_json_modules=allowed_json_modules, **allowed)
        # Ours are as safe as langgraph's own, and not to be warned about.
        jsonplus._warned_unregistered_types.update(OWN_NAMES)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        if obj is None or isinstance(obj, (bytes, bytearray)):
            return super().dumps_typed(obj)
        try:
            return "msgpack", _packed(obj)
        except (ormsgpack.MsgpackEncodeError, TypeError, ValueError) as error:
            if self.pickle_fallback:
                try:
                    return "pickle", pickle.dumps(obj)
                except Exception:
                    raise ValueNotKept(*_unkept(obj)) from error
            raise ValueNotKept(*_unkept(obj)) from error


def _packed(value: Any) -> bytes:
    packed: bytes = ormsgpack.packb(value, default=_default, option=jsonplus._option)
    return packed


def _default(value: Any) -> Any:
    """One value that msgpack does not know, with its parts encoded here too."""
    if (kept := _foreign(value)) is not None:
        name, arguments = kept
        return ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, _packed((_MODULE, name, arguments)))
    kind = type(value)
    if isinstance(value, _DeltaSnapshot):
        return ormsgpack.Ext(jsonplus.EXT_DELTA_SNAPSHOT, _packed(value.value))
    if callable(getattr(value, "model_dump", None)):
        dumped = (kind.__module__, kind.__name__, value.model_dump(), "model_validate_json")
        return ormsgpack.Ext(jsonplus.EXT_PYDANTIC_V2, _packed(dumped))
    if callable(getattr(value, "_asdict", None)):
        return _keywords(kind, value._asdict())
    if isinstance(value, (set, frozenset, deque)):
        single = (kind.__module__, kind.__name__, tuple(value))
        return ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG, _packed(single))
    if isinstance(value, Send):
        sent = (value.node, value.arg, *([t] if (t := getattr(value, "timeout", None)) is not None else []))
        return ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_POS_ARGS, _packed((kind.__module__, kind.__name__, sent)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _keywords(kind, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    return jsonplus._msgpack_default(value)


def _keywords(kind: type, values: Mapping[str, Any]) -> Any:
    return ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, _packed((kind.__module__, kind.__name__, values)))


def _foreign(value: Any) -> tuple[str, dict[str, Any]] | None:
    """The function of `kept_values` that makes ``value`` again, and its arguments."""
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        return _numpy(value, sys.modules["numpy"])
    if library == "pandas":
        return _pandas(value, sys.modules["pandas"])
    return ("complex_number", {"real": value.real, "imag": value.imag}) if isinstance(value, complex) else None


def _numpy(value: Any, numpy: Any) -> tuple[str, dict[str, Any]] | None:
    if isinstance(value, numpy.generic) and value.dtype.kind in "biufcmM":
        return "numpy_scalar", {"dtype": value.dtype.str, "data": value.tobytes()}
    if type(value) is not numpy.ndarray:
        return None
    shape = list(value.shape)
    if value.dtype.kind == "O":
        return "numpy_objects", {"shape": shape, "items": value.ravel().tolist()}
    if value.dtype.names is not None:
        return None
    return "numpy_array", {"dtype": value.dtype.str, "shape": shape, "data": value.tobytes()}


def _pandas(value: Any, pandas: Any) -> tuple[str, dict[str, Any]] | None:
    if value is pandas.NaT or value is pandas.NA:
        return "pandas_missing", {"name": "NaT" if value is pandas.NaT else "NA"}
    if isinstance(value, pandas.Timestamp):
        return "pandas_timestamp", {"text": value.isoformat(), "zone": None if value.tz is None else str(value.tz)}
    if isinstance(value, pandas.Timedelta):
        return "pandas_timedelta", {"value": int(value.as_unit("ns").value)}
    if isinstance(value, pandas.RangeIndex):
        return "pandas_range", {"start": value.start, "stop": value.stop, "step": value.step, "name": value.name}
    if isinstance(value, pandas.MultiIndex):
        return None
    if isinstance(value, pandas.Index):
        return "pandas_index", {"values": value.tolist(), "dtype": str(value.dtype), "name": value.name}
    if isinstance(value, pandas.Series):
        parts = {"values": value.tolist(), "dtype": str(value.dtype), "index": value.index, "name": value.name}
        return "pandas_series", parts
    if isinstance(value, pandas.DataFrame):
        columns = [value.iloc[:, place] for place in range(value.shape[1])]
        values, dtypes = [each.tolist() for each in columns], [str(each.dtype) for each in columns]
        return "pandas_frame", {"columns": value.columns, "index": value.index, "values": values, "dtypes": dtypes}
    return None


def _unkept(value: Any, path: str = "", depth: int = 0) -> tuple[str, Any]:
    """Where in ``value`` something cannot be encoded, and what that is."""
    for step, part in _parts(value) if depth < _DEEPEST else ():
        try:
            _packed(part)
        except (ormsgpack.MsgpackEncodeError, TypeError, ValueError):
            return _unkept(part, f"{path}{step}".removeprefix("."), depth + 1)
    return path, value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        # A checkpoint holds the state below this name, and what else it holds can always be kept.
        channels = value.get("channel_values") if "channel_versions" in value else None
        if channels is not None:
            yield "", channels
        yield from ((f".{key}", part) for key, part in value.items())
    elif isinstance(value, (Sequence, set, frozenset, deque)) and not isinstance(value, (str, bytes, bytearray)):
        yield from ((f"[{place}]", part) for place, part in enumerate(value))
    elif isinstance(fields := getattr(value, "__dict__", None), dict):
        yield from ((f".{name}", part) for name, part in fields.items() if not name.startswith("__"))
