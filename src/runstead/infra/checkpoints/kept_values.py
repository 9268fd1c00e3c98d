"""Rebuild values of numpy and pandas, complex numbers and exceptions from the form in which `serde` stores them.

Stored checkpoints name these functions, so none of them may be renamed. They never execute their arguments.
"""

from __future__ import annotations

import builtins
import io
from importlib import import_module
from typing import Any


def complex_number(real: float, imag: float) -> complex:
    return complex(real, imag)


def exception(name: str, module: str, base: str, text: str) -> BaseException:
    """Return an exception that looks like the stored one: of a new class of its name that extends ``base``."""
    parent = getattr(builtins, base, Exception)
    if not (isinstance(parent, type) and issubclass(parent, BaseException)):
        parent = Exception
    kind = type(name, (parent,), {"__module__": module, "__str__": lambda _: text, "__init__": lambda *_: None})
    made: BaseException = kind(text)
    return made


def numpy_scalar(dtype: str, data: bytes) -> object:
    numpy = import_module("numpy")

    return numpy.frombuffer(data, dtype=numpy.dtype(dtype))[0]


def numpy_array(dtype: str, shape: list[int], data: bytes) -> object:
    numpy = import_module("numpy")

    return numpy.frombuffer(data, dtype=numpy.dtype(dtype)).reshape(shape).copy()


def numpy_structured(data: bytes, kind: str) -> object:
    """Rebuild a structured value. ``data`` is in numpy's file format; ``kind`` is array, records or scalar."""
    numpy = import_module("numpy")

    array = numpy.load(io.BytesIO(data), allow_pickle=False)
    if kind == "scalar":
        return array[()]
    return array.view(numpy.recarray) if kind == "records" else array


def numpy_masked(data: object, mask: object, fill: object) -> object:
    numpy = import_module("numpy")

    return numpy.ma.MaskedArray(data, mask=mask, fill_value=fill)


def numpy_masked_constant() -> object:
    return import_module("numpy").ma.masked


def numpy_objects(shape: list[int], items: list[Any]) -> object:
    numpy = import_module("numpy")

    array = numpy.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        array[place] = item
    return array.reshape(shape)


def pandas_missing(name: str) -> object:
    pandas = import_module("pandas")

    return pandas.NaT if name == "NaT" else pandas.NA


def pandas_timestamp(text: str, zone: str | None) -> object:
    pandas = import_module("pandas")

    moment = pandas.Timestamp(text)
    return moment if zone is None else moment.tz_convert(zone)


def pandas_timedelta(value: int) -> object:
    pandas = import_module("pandas")

    return pandas.Timedelta(value, unit="ns")


def pandas_period(ordinal: int, frequency: str) -> object:
    return import_module("pandas").Period(ordinal=ordinal, freq=frequency)


def pandas_interval(left: object, right: object, closed: str) -> object:
    return import_module("pandas").Interval(left, right, closed=closed)


def pandas_categories(values: object, ordered: bool) -> object:
    """Return the dtype of categorical values."""
    return import_module("pandas").CategoricalDtype(values, ordered=ordered)


def pandas_array(values: list[Any], dtype: object) -> object:
    return import_module("pandas").array(values, dtype=dtype)


def pandas_multi_index(levels: list[object], names: list[Any]) -> object:
    return import_module("pandas").MultiIndex.from_arrays(levels, names=names)


def pandas_range(start: int, stop: int, step: int, name: object) -> object:
    pandas = import_module("pandas")

    return pandas.RangeIndex(start, stop, step, name=name)


def pandas_index(values: list[Any], dtype: object, name: object) -> object:
    pandas = import_module("pandas")

    return pandas.Index(values, dtype=dtype, name=name)


def pandas_series(values: list[Any], dtype: object, index: object, name: object) -> object:
    pandas = import_module("pandas")

    return pandas.Series(values, dtype=dtype, index=index, name=name)


def pandas_frame(columns: object, index: object, values: list[list[Any]], dtypes: list[object]) -> object:
    pandas = import_module("pandas")

    parts = zip(values, dtypes, strict=True)
    series = {place: pandas.Series(each, dtype=dtype, index=index) for place, (each, dtype) in enumerate(parts)}
    frame = pandas.DataFrame(series, index=index)
    frame.columns = columns
    return frame
