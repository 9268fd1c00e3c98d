"""Law 11: no field is ignored silently: it has its effect, or the request is refused with a clear error.

The tests of each field check its effect; here, every field must be read by some code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import runstead
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import CheckpointRef, RunCommand, RunScope, RunSpec
from runstead.settings import Settings
from runstead.wire.runs import RunCreate

HOUSE = Path(runstead.__file__).parent


# At the first test: not in every process that only collects it.
@cache
def attributes_read(*folders: str) -> frozenset[str]:
    """All attribute names that the code in these folders reads."""
    found: set[str] = set()
    for folder in folders:
        for file in (HOUSE / folder).rglob("*.py"):
            found.update(_attributes(ast.parse(file.read_text())))
    return frozenset(found)


def _attributes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr


# The kernel, its executor, and its streams; the wire fills these fields in, and does not count as a reader.
KERNEL = ("runtime", "infra", "gateway")


@pytest.mark.parametrize("shape", [RunSpec, RunScope, RunCommand, CheckpointRef, RunLimits])
def test_every_field_of_the_kernel_input_is_read(shape: Any) -> None:
    assert {field.name for field in fields(shape)} <= attributes_read(*KERNEL)


def test_every_field_of_a_request_is_read() -> None:
    assert set(RunCreate.model_fields) <= attributes_read(".")


def test_every_setting_is_read() -> None:
    assert set(Settings.model_fields) <= attributes_read(".")
