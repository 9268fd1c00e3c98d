"""The serializer of checkpoint values: langgraph's own, extended by values of numpy, pandas and others.

The format is langgraph's: a value that langgraph does not support is stored as a call of one of `kept_values`.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Literal

from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Send

from runstead.infra.encryption.envelope import ENCRYPTED
from runstead.infra.encryption.keyless import NO_KEYS
from runstead.runtime.json_types import JsonMapping, JsonObject

from . import kept_values
from .data_classes import DataClasses
from .foreign_parts import foreign_parts
from .unkept_values import not_kept

# The module that langgraph's own serializer uses: the two must be the same version.
ormsgpack: Final[Any] = vars(jsonplus)["ormsgpack"]
_hook: Final[Any] = vars(jsonplus)["_create_msgpack_ext_hook"]
_MODULE: Final = kept_values.__name__
OWN_NAMES: Final = tuple(
    (_MODULE, name) for name, found in vars(kept_values).items() if getattr(found, "__module__", None) == _MODULE
)
"""Our functions that rebuild values which langgraph does not store, as (module, name)."""
_UNSAID: Final[object] = object()


class CheckpointSerializer(JsonPlusSerializer):
    """JsonPlusSerializer for more types, with errors that give the path of a value.

    ``allowed_msgpack_modules`` are the classes that reading may create besides those that langgraph lists: (module,
    name) pairs, None for no others, True for all. Default: `DataClasses`. An instance of any other class is read as
    its plain data, with a warning in the log.
    """

    def __init__(
        self,
        *,
        pickle_fallback: bool = False,
        allowed_json_modules: Iterable[tuple[str, ...]] | Literal[True] | None = None,
        allowed_msgpack_modules: Any = _UNSAID,
    ) -> None:
        allowed: JsonObject = {}
        if allowed_msgpack_modules is True:
            allowed["allowed_msgpack_modules"] = True
        elif allowed_msgpack_modules is not _UNSAID:
            allowed["allowed_msgpack_modules"] = (*(allowed_msgpack_modules or ()), *OWN_NAMES)
        elif not STRICT_MSGPACK_ENABLED:
            # True has no effect by itself here, since the hook decides.
            allowed |= {"allowed_msgpack_modules": True, "__unpack_ext_hook__": _hook(DataClasses(OWN_NAMES))}
        super().__init__(pickle_fallback=pickle_fallback, allowed_json_modules=allowed_json_modules, **allowed)
        # Our functions are as safe as langgraph's own, and need no warning.
        jsonplus._warned_unregistered_types.update(OWN_NAMES)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, value = data
        if kind.endswith(ENCRYPTED):
            # With a key, this serializer is inside the decrypting one.
            NO_KEYS.decrypt(bytes(value), "checkpoint")
        return super().loads_typed(data)

    def dumps_typed(self, obj: object) -> tuple[str, bytes]:
        if obj is None or isinstance(obj, (bytes, bytearray)):
            return super().dumps_typed(obj)
        try:
            return "msgpack", _packed(obj)
        except (ormsgpack.MsgpackEncodeError, TypeError, ValueError) as error:
            if self.pickle_fallback:
                try:
                    return "pickle", pickle.dumps(obj)
                except Exception:
                    raise not_kept(obj, _packed) from error
            raise not_kept(obj, _packed) from error


def _packed(value: object) -> bytes:
    packed: bytes = ormsgpack.packb(value, default=_default, option=jsonplus._option)
    return packed


def _default(value: Any) -> object:
    """Encode one value that msgpack does not support, including its parts."""
    if (kept := foreign_parts(value)) is not None:
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


def _keywords(kind: type, values: JsonMapping) -> object:
    return ormsgpack.Ext(jsonplus.EXT_CONSTRUCTOR_KW_ARGS, _packed((kind.__module__, kind.__name__, values)))
