"""Every recording is compared with Runstead's responses by a test, or has a reason for not being compared.

A recording counts as compared if a test of this folder reads it: the name is taken from the call in the test's
source, with each of the test's parameters.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from .expected_differences import NOT_SERVED
from .transcript import FOLDER

_READERS = ("read_transcript", "read_socket")


def compared() -> set[str]:
    found: set[str] = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        if file != Path(__file__):
            module = importlib.import_module(f"{__package__}.{file.stem}")
            for name, value in vars(module).items():
                if name.startswith("test_") and inspect.isfunction(value):
                    found |= set(_read_by(value))
    return found


def _read_by(test: Callable[..., Any]) -> Iterator[str]:
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(test)))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _READERS:
            name = compile(ast.Expression(node.args[0]), test.__name__, "eval")
            yield from (eval(name, test.__globals__, dict(values)) for values in _parameters(test))


def _parameters(test: Callable[..., Any]) -> Iterator[Mapping[str, Any]]:
    """Every set of parameter values of the test."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    choices = []
    for names, values in (mark.args for mark in marks):
        keys = names.split(",") if isinstance(names, str) else names
        keys = [key.strip() for key in keys]
        choices.append([dict(zip(keys, one if len(keys) > 1 else (one,), strict=True)) for one in values])
    for chosen in itertools.product(*choices):
        yield {name: value for one in chosen for name, value in one.items()}


def test_every_recording_is_compared() -> None:
    there = {file.stem for file in FOLDER.glob("*.txt")}
    assert len(there) > 60
    assert there - compared() - set(NOT_SERVED) == set()
    assert compared() - there == set()
    assert not compared() & set(NOT_SERVED), "it is served: compare it"


@pytest.mark.parametrize("name", NOT_SERVED)
async def test_unserved_routes_are_not_found(name: str, client: httpx.AsyncClient) -> None:
    asked = re.findall(r"^### (GET|POST|DELETE) (/\S*)", (FOLDER / f"{name}.txt").read_text(), re.MULTILINE)
    asked = [(method, path) for method, path in asked if not path.startswith("/assistants")]
    assert asked
    for method, path in asked:
        response = await client.request(method, path, json={} if method == "POST" else None)
        assert response.status_code == 404, path
        assert isinstance(response.json()["detail"], str), path
