"""Read the rows of one page of a list, as many as its budget of bytes has room for."""

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
    """Return the rows of ``statement``, which has a limit, or the first of them that fit. Sizes are asked for first."""
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
    # Characters, of text: what is not ASCII counts for less than its bytes.
    return func.coalesce(func.length(column, type_=Integer()), 0, type_=Integer())
