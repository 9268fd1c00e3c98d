"""Law 11: no field is accepted in silence: it has its effect, or the request is refused with a clear error.

Whether each effect is the right one is for the tests of each field; that somebody reads it at all is shown here.
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


# When the first test asks: not in every process that only collects this one.
@cache
def attributes_read(*folders: str) -> frozenset[str]:
    """Every attribute that the code in these folders reads, by name."""
    found: set[str] = set()
    for folder in folders:
        for file in (HOUSE / folder).rglob("*.py"):
            found.update(_attributes(ast.parse(file.read_text())))
    return frozenset(found)


def _attributes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr


# The kernel, what executes for it, and what streams of it; the wire, which fills these fields in, is no reader of them.
KERNEL = ("runtime", "infra", "gateway")


@pytest.mark.parametrize("shape", [RunSpec, RunScope, RunCommand, CheckpointRef, RunLimits])
def test_every_field_that_the_kernel_is_given_is_read_by_it(shape: Any) -> None:
    assert {field.name for field in fields(shape)} <= attributes_read(*KERNEL)


def test_every_field_of_a_request_is_read() -> None:
    assert set(RunCreate.model_fields) <= attributes_read(".")


def test_every_setting_is_read() -> None:
    assert set(Settings.model_fields) <= attributes_read(".")
