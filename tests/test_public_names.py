"""The names of the top-level package: complete, typed, and imported on first use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import runstead

HEAVY = ("langgraph", "langchain_core", "fastapi", "sqlalchemy", "pydantic")


@pytest.mark.parametrize("name", runstead.__all__)
def test_public_name_is_the_object_of_its_own_module(name: str) -> None:
    found = getattr(runstead, name)
    if name != "__version__":
        assert found.__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Aplication'"):
        _ = runstead.Aplication  # type: ignore[attr-defined]


def test_import_of_the_package_imports_nothing_heavy() -> None:
    code = (
        "import json, sys, runstead; names = dir(runstead); "
        f"print(json.dumps([sorted(set({HEAVY!r}) & set(sys.modules)), 'Application' in names]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], True]
