"""Values of numpy and pandas, and complex numbers, rebuilt from what `serde` keeps of them.

Checkpoints name these functions, so that none of them may be renamed. They execute nothing of what they are given.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def complex_number(real: float, imag: float) -> complex:
    return complex(real, imag)


def numpy_scalar(dtype: str, data: bytes) -> Any:
    numpy = import_module("numpy")

    return numpy.frombuffer(data, dtype=numpy.dtype(dtype))[0]


def numpy_array(dtype: str, shape: list[int], data: bytes) -> Any:
    numpy = import_module("numpy")

    return numpy.frombuffer(data, dtype=numpy.dtype(dtype)).reshape(shape).copy()


def numpy_objects(shape: list[int], items: list[Any]) -> Any:
    numpy = import_module("numpy")

    array = numpy.empty(len(items), dtype=object)
    for place, item in enumerate(items):
        array[place] = item
    return array.reshape(shape)


def pandas_missing(name: str) -> Any:
    pandas = import_module("pandas")

    return pandas.NaT if name == "NaT" else pandas.NA


def pandas_timestamp(text: str, zone: str | None) -> Any:
    pandas = import_module("pandas")

    moment = pandas.Timestamp(text)
    return moment if zone is None else moment.tz_convert(zone)


def pandas_timedelta(value: int) -> Any:
    pandas = import_module("pandas")

    return pandas.Timedelta(value, unit="ns")


def pandas_range(start: int, stop: int, step: int, name: Any) -> Any:
    pandas = import_module("pandas")

    return pandas.RangeIndex(start, stop, step, name=name)


def pandas_index(values: list[Any], dtype: str, name: Any) -> Any:
    pandas = import_module("pandas")

    return pandas.Index(values, dtype=dtype, name=name)


def pandas_series(values: list[Any], dtype: str, index: Any, name: Any) -> Any:
    pandas = import_module("pandas")

    return pandas.Series(values, dtype=dtype, index=index, name=name)


def pandas_frame(columns: Any, index: Any, values: list[list[Any]], dtypes: list[str]) -> Any:
    pandas = import_module("pandas")

    parts = zip(values, dtypes, strict=True)
    series = {place: pandas.Series(each, dtype=dtype, index=index) for place, (each, dtype) in enumerate(parts)}
    frame = pandas.DataFrame(series, index=index)
    frame.columns = columns
    return frame
