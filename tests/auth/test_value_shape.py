"""Log lines describe the shape of a handler's result, without its content."""

from __future__ import annotations

from typing import Any

import pytest

from runstead.runtime.value_shape import value_shape


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (7, "7"),
        (None, "None"),
        ("secret", "a text of 6 characters"),
        (b"secret", "a bytes"),
        ({"owner": "secret", "n": 1.5}, "{'owner': a text of 6 characters, 'n': 1.5}"),
        ({"$or": [{"a": "secret"}, True]}, "{'$or': [{'a': a text of 6 characters}, True]}"),
        ([[[[["secret"]]]]], "[[[[a list]]]]"),
        (list(range(12)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"),
    ],
)
def test_shape_of_a_handler_result_contains_no_values(value: Any, shape: str) -> None:
    assert value_shape(value) == shape
