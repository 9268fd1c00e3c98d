"""Describe values of numpy and pandas, complex numbers and exceptions as calls of `kept_values`.

numpy and pandas are not imported unless a value is one of theirs.
"""

from __future__ import annotations

import io
import sys
from typing import Any, Final, TypeAlias

from runstead.runtime.json_types import JsonObject
from runstead.runtime.serialization import describe

Call: TypeAlias = tuple[str, JsonObject]
"""The name of a function of `kept_values`, and its arguments."""

_SCALARS: Final = "biufcmMS"
"""Kinds of numpy scalars that their bytes describe completely."""


def foreign_parts(value: object) -> Call | None:
    """Return the call that rebuilds ``value``; None if it is stored in another way, or not at all."""
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        return _numpy(value, sys.modules["numpy"])
    if library == "pandas":
        return _pandas(value, sys.modules["pandas"])
    if isinstance(value, BaseException):
        return _exception(value)
    return ("complex_number", {"real": value.real, "imag": value.imag}) if isinstance(value, complex) else None


def _exception(value: BaseException) -> Call:
    """Return the call for an exception, which may contain anything: only its class name and text are stored."""
    kind = type(value)
    # A group cannot be created without its members.
    bases = [
        each for each in kind.__mro__ if each.__module__ == "builtins" and not issubclass(each, BaseExceptionGroup)
    ]
    parts = {"name": kind.__name__, "module": kind.__module__, "base": bases[0].__name__, "text": describe(value)}
    return "exception", parts


def _numpy(value: Any, numpy: Any) -> Call | None:
    if value is numpy.ma.masked:
        return "numpy_masked_constant", {}
    if type(value) is numpy.ma.MaskedArray:
        mask = None if value.mask is numpy.ma.nomask else value.mask
        return "numpy_masked", {"data": value.data, "mask": False if mask is None else mask, "fill": value.fill_value}
    if isinstance(value, (numpy.ndarray, numpy.generic)) and value.dtype.names is not None:
        return _structured(value, numpy)
    if isinstance(value, numpy.generic) and value.dtype.kind in _SCALARS:
        return "numpy_scalar", {"dtype": value.dtype.str, "data": value.tobytes()}
    if type(value) is not numpy.ndarray:
        return None
    shape = list(value.shape)
    if value.dtype.kind == "O":
        return "numpy_objects", {"shape": shape, "items": value.ravel().tolist()}
    return "numpy_array", {"dtype": value.dtype.str, "shape": shape, "data": value.tobytes()}


def _structured(value: Any, numpy: Any) -> Call | None:
    if value.dtype.hasobject:
        return None
    kind = "records" if isinstance(value, numpy.recarray) else "array" if isinstance(value, numpy.ndarray) else "scalar"
    file = io.BytesIO()
    numpy.save(file, numpy.asarray(value), allow_pickle=False)
    return "numpy_structured", {"data": file.getvalue(), "kind": kind}


def _pandas(value: Any, pandas: Any) -> Call | None:
    if isinstance(value, pandas.Index):
        return _index(value, pandas)
    if isinstance(value, pandas.Series):
        parts = {"values": value.tolist(), "dtype": _dtype(value.dtype, pandas), "index": value.index}
        return "pandas_series", {**parts, "name": value.name}
    if isinstance(value, pandas.DataFrame):
        columns = [value.iloc[:, place] for place in range(value.shape[1])]
        values, dtypes = [each.tolist() for each in columns], [_dtype(each.dtype, pandas) for each in columns]
        return "pandas_frame", {"columns": value.columns, "index": value.index, "values": values, "dtypes": dtypes}
    if isinstance(value, pandas.CategoricalDtype):
        return "pandas_categories", {"values": value.categories, "ordered": bool(value.ordered)}
    if isinstance(value, pandas.api.extensions.ExtensionArray):
        return "pandas_array", {"values": value.tolist(), "dtype": _dtype(value.dtype, pandas)}
    return _pandas_scalar(value, pandas)


def _pandas_scalar(value: Any, pandas: Any) -> Call | None:
    if value is pandas.NaT or value is pandas.NA:
        return "pandas_missing", {"name": "NaT" if value is pandas.NaT else "NA"}
    if isinstance(value, pandas.Timestamp):
        return "pandas_timestamp", {"text": value.isoformat(), "zone": None if value.tz is None else str(value.tz)}
    if isinstance(value, pandas.Timedelta):
        return "pandas_timedelta", {"value": int(value.as_unit("ns").value)}
    if isinstance(value, pandas.Period):
        return "pandas_period", {"ordinal": value.ordinal, "frequency": value.freqstr}
    if isinstance(value, pandas.Interval):
        return "pandas_interval", {"left": value.left, "right": value.right, "closed": value.closed}
    return None


def _index(value: Any, pandas: Any) -> Call:
    if isinstance(value, pandas.RangeIndex):
        return "pandas_range", {"start": value.start, "stop": value.stop, "step": value.step, "name": value.name}
    if isinstance(value, pandas.MultiIndex):
        levels = [value.get_level_values(place) for place in range(value.nlevels)]
        return "pandas_multi_index", {"levels": levels, "names": list(value.names)}
    parts = {"values": value.tolist(), "dtype": _dtype(value.dtype, pandas), "name": value.name}
    return "pandas_index", parts


def _dtype(dtype: Any, pandas: Any) -> object:
    """Return a value that rebuilds the dtype: its name, except for categories, which the name does not contain."""
    return dtype if isinstance(dtype, pandas.CategoricalDtype) else str(dtype)
