"""Read the rows of one page of a list, limited by a budget of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, LargeBinary, Select, func
from sqlalchemy import Text as AnyText

from runstead.runtime.page_budget import PageBudget

from .column_types import is_of


def rows_of_page(connection: Connection, statement: Select[Any], budget: PageBudget | None) -> Sequence[Any]:
    """Return the rows of ``statement``, or the first of them that fit into ``budget``.

    ``statement`` must have a limit. The sizes are read first.
    """
    if budget is None:
        return connection.execute(statement).all()
    columns = [
        column
        for column in statement.selected_columns
        if is_of(column.type, AnyText) or is_of(column.type, LargeBinary)
    ]
    sizes = connection.execute(statement.with_only_columns(reduce(add, map(_length, columns)))).scalars()
    return connection.execute(statement.limit(budget.fitting(sizes))).all()


def _length(column: ColumnElement[Any]) -> ColumnElement[int]:
    # For text these are characters, so that non-ASCII text counts less than its bytes.
    return func.coalesce(func.length(column, type_=Integer()), 0, type_=Integer())
