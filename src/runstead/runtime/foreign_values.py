"""Conversion of numpy and pandas values to simpler ones for JSON. Neither library is imported unless a value needs it.

A data frame becomes a list of records, a series a list of values; a missing value becomes None.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Final

import orjson

_LIBRARIES: Final = ("numpy", "pandas")


def is_foreign(value: object) -> bool:
    """Return whether ``value`` belongs to numpy or pandas, or to a class derived from one of theirs."""
    return any(base.__module__.partition(".")[0] in _LIBRARIES for base in type(value).__mro__)


def simplified(value: object) -> object:
    """Return a foreign value as a plain Python value, whose parts may need further conversion. Unknown values become
    text."""
    numpy, pandas = (sys.modules.get(name) for name in _LIBRARIES)
    if pandas is not None and _is_of(value, "pandas"):
        return _of_pandas(value, pandas)
    return _of_numpy(value, numpy) if numpy is not None else str(value)


def _is_of(value: object, library: str) -> bool:
    return any(base.__module__.partition(".")[0] == library for base in type(value).__mro__)


def _of_numpy(value: Any, numpy: Any) -> object:
    if not isinstance(value, (numpy.ndarray, numpy.generic)):
        return str(value)
    if value.dtype.kind in "biuf" and not isinstance(value, numpy.ma.MaskedArray):
        with contextlib.suppress(TypeError):
            # Fast, and with as many digits as the float's size has. Not for dates: orjson writes NaT as a date.
            plain = value if isinstance(value, numpy.generic) else numpy.asarray(value, order="C")
            return orjson.Fragment(orjson.dumps(plain, option=orjson.OPT_SERIALIZE_NUMPY))
    if value.dtype.kind in "Mm":
        # In nanoseconds, `tolist` would return numbers.
        value = value.astype(f"{value.dtype.kind}8[us]")
    plain = value.tolist()
    # A long double has no plain Python equivalent; a structured value names its fields.
    if isinstance(plain, numpy.generic):
        return float(plain) if plain.dtype.kind == "f" else str(plain)
    if value.dtype.names is None:
        return plain
    return _named(plain, value.dtype.names)


def _named(plain: Any, names: tuple[str, ...]) -> Any:
    return [_named(each, names) for each in plain] if isinstance(plain, list) else dict(zip(names, plain, strict=True))


def _distinct(names: list[str]) -> list[str]:
    """Return unique column names: a repeated name gets a number, as pandas does when it reads such columns from a
    file."""
    made: list[str] = []
    for name in names:
        new, number = name, 0
        while new in made or (number and new in names):
            number += 1
            new = f"{name}.{number}"
        made.append(new)
    return made


def _of_pandas(value: Any, pandas: Any) -> object:
    if value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, pandas.Timestamp):
        return value.isoformat()
    if isinstance(value, pandas.Timedelta):
        return value.total_seconds()
    if isinstance(value, pandas.DataFrame):
        names = _distinct([str(name) for name in value.columns])
        columns = [value.iloc[:, number].tolist() for number in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(value, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
        return list(value)
    return str(value)
